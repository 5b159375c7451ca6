"""Loading batches: the same ones with any number of threads, from any start, on any number of hosts."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny

from inspose_jax.config import Machine
from inspose_jax.data import coco, pipeline
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.skeletons import COCO
from inspose_jax.training.sharding import host_rows

SOURCE = pipeline.InMemory(DrawnPeople(tiny.CONFIG.data.scene, "train", 0, 7))


def run(start=0, stop=9, threads=2, rows=slice(None)):
    config = replace(tiny.CONFIG, machine=Machine(num_threads=threads))
    plan = pipeline.make_plan(SOURCE, config, train=True, batch_size=4)
    return list(pipeline.batches(SOURCE, plan, config, start, stop, rows))


@pytest.fixture(scope="module")
def straight():
    return run()


def equal(first, second):
    return all((a == b).all() for a, b in zip(first, second, strict=True))


def test_the_number_of_threads_does_not_change_the_batches(straight):
    assert all(equal(a, b) for a, b in zip(straight, run(threads=5), strict=True))


def test_starting_at_a_later_step_gives_the_same_batches(straight):
    assert all(equal(a, b) for a, b in zip(straight[5:], run(start=5), strict=True))


@pytest.mark.parametrize("num_hosts", [1, 2, 3, 8])
def test_over_an_epoch_the_hosts_share_every_global_batch_and_see_every_image_once(num_hosts):
    # 55 images, tall and wide ones, in batches of 24 of one shape each
    source = pipeline.Images([np.full((64 - 16 * (i % 2), 48 + 16 * (i % 2), 3), i, np.uint8) for i in range(55)], COCO)
    config = replace(tiny.CONFIG, data=replace(tiny.CONFIG.data, train_images="all", shapes=((64, 48), (48, 64))))

    def epoch(threads, rows):
        threaded = replace(config, machine=Machine(num_threads=threads))
        plan = pipeline.make_plan(source, threaded, train=True, batch_size=24)
        return list(pipeline.batches(source, plan, threaded, 0, plan.steps_per_epoch, rows))

    whole = epoch(2, slice(None))
    assert len(whole) == 4  # 28 and 27 images of the two shapes
    hosts = [epoch(1 + host % 4, host_rows(24, host, num_hosts)) for host in range(num_hosts)]
    for batch, *parts in zip(whole, *hosts, strict=True):
        assert all(len(part.image) == 24 // num_hosts for part in parts)
        assert equal([np.concatenate(fields) for fields in zip(*parts, strict=True)], batch)
    seen = np.concatenate([part.image[part.is_real, 0, 0, 0] for host in hosts for part in host])
    assert sorted(seen.tolist()) == list(range(55))


def test_flipped_images_are_mirrored(straight):
    plan = pipeline.make_plan(SOURCE, tiny.CONFIG, train=True, batch_size=4)
    for batch, step in zip(straight, (plan[i] for i in range(9)), strict=True):
        for image, index, mirrored in zip(batch.image, step.index, step.flip, strict=True):
            if index >= 0:
                original = SOURCE[int(index)].image
                np.testing.assert_array_equal(image, original[:, ::-1] if mirrored else original)


@pytest.mark.parametrize(("train_images", "number"), [("labelled", 2), ("people", 3), ("all", 7)])
def test_training_takes_the_images_that_the_config_says(train_images, number):
    source = pipeline.InMemory(SOURCE)
    source.is_labelled, source.has_people = np.arange(7) < 2, np.arange(7) < 3
    config = replace(tiny.CONFIG, data=replace(tiny.CONFIG.data, train_images=train_images))
    assert pipeline.make_plan(source, config, train=True, batch_size=1).steps_per_epoch == number
    assert pipeline.make_plan(source, config, train=False, batch_size=1).steps_per_epoch == 7


def test_scale_is_the_resized_size_over_the_original_one():
    config = replace(tiny.CONFIG, data=replace(tiny.CONFIG.data, short_side=(32, 48)))
    plan = pipeline.make_plan(SOURCE, config, train=True, batch_size=7)
    (batch,) = pipeline.batches(SOURCE, plan, config, 0, 1)
    assert batch.size.max() <= 48
    np.testing.assert_allclose(batch.scale, batch.size[:, ::-1] / 64)


def test_the_hash_of_the_labels_changes_if_a_joint_is_moved(tmp_path):
    source = DrawnPeople(tiny.CONFIG.data.scene, "test", 0, 3)
    coco.write_folder(tmp_path / "a", (source[i] for i in range(3)), COCO, 0.5)
    path = tmp_path / "a/annotations.json"

    def fingerprints():
        read = coco.CocoFolder(tmp_path / "a/images", path, COCO, 0.5)
        return pipeline.fingerprint(read), read.labels_hash()

    before = fingerprints()
    assert before == fingerprints()
    truth = json.loads(path.read_text())
    person = next(person for person in truth["annotations"] if person["num_keypoints"])
    at = 3 * next(k for k in range(17) if person["keypoints"][3 * k + 2])
    person["keypoints"][at] += 1
    path.write_text(json.dumps(truth))
    after = fingerprints()
    assert after[0] == before[0]  # early runs stored this one
    assert after[1] != before[1]
    drawn = [DrawnPeople(tiny.CONFIG.data.scene, "train", seed, 3).labels_hash() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert pipeline.InMemory(source).labels_hash() == source.labels_hash() != ""

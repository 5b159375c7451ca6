"""Loading batches: the same ones with any number of threads, from any start, on any number of hosts."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny

from inspose_jax.config import Augmentation, Machine
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


FIVE = ((32, 64), (48, 64), (64, 32), (64, 48), (64, 64))
EVERYTHING = Augmentation(30.0, (0.8, 1.2), 0.1, (0.7, 1.5), 0.1, 0.2, 0.3, 20.0)


class ManySizes(pipeline.Images):
    """55 images of five shapes, each of one colour, with a joint in the middle."""

    def __init__(self):
        super().__init__([np.full((*FIVE[i % 5], 3), 4 * i, np.uint8) for i in range(55)], COCO)

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        height, width = FIVE[index % 5]
        keypoints = np.zeros((1, 17, 3), np.float32)
        keypoints[0, 0] = width / 2, height / 2, 2
        box, area = np.array([[4, 4, width - 4, height - 4]], np.float32), np.array([99], np.float32)
        return sample._replace(keypoints=keypoints, boxes_xyxy=box, area=area, is_crowd=np.zeros(1, bool))


@pytest.fixture(scope="module", params=[Augmentation(), EVERYTHING], ids=["paper", "everything"])
def many(request):
    """Batches of 24 over images of five shapes; a function of threads, rows, first and last step; their number."""
    source, data = ManySizes(), replace(tiny.CONFIG.data, train_images="all", shapes=FIVE, short_side=(24, 64))
    config = replace(tiny.CONFIG, data=replace(data, augmentation=request.param))

    def batches(threads=2, rows=slice(None), start=0, stop=None):
        threaded = replace(config, machine=Machine(num_threads=threads))
        plan = pipeline.make_plan(source, threaded, train=True, batch_size=24)
        return list(pipeline.batches(source, plan, threaded, start, stop or 2 * plan.steps_per_epoch, rows))

    return source, pipeline.make_plan(source, config, train=True, batch_size=24), batches, batches()


@pytest.mark.parametrize("num_hosts", [1, 2, 3, 4, 8])
def test_the_hosts_share_every_global_batch_of_five_shapes(many, num_hosts):
    _, _, batches, whole = many
    hosts = [batches(1 + host % 4, host_rows(24, host, num_hosts)) for host in range(num_hosts)]
    for batch, *parts in zip(whole, *hosts, strict=True):
        assert all(len(part.image) == 24 // num_hosts for part in parts)
        assert equal([np.concatenate(fields) for fields in zip(*parts, strict=True)], batch)


def test_over_an_epoch_nothing_is_lost_or_comes_twice_and_all_shapes_occur(many):
    source, plan, _, whole = many
    epoch = [plan[step] for step in range(plan.steps_per_epoch)]
    index = np.concatenate([step.index for step in epoch])
    assert sorted(index[index >= 0].tolist()) == list(range(len(source)))
    assert {step.shape for step in epoch} == set(FIVE)
    for step, batch in zip(epoch, whole, strict=False):
        assert batch.image.shape[1:3] == step.shape
        np.testing.assert_array_equal(batch.is_real, step.index >= 0)
        np.testing.assert_array_equal(batch.size, step.resized)


@pytest.mark.parametrize("num_hosts", [1, 3, 8])
def test_a_run_resumes_at_any_step_on_any_number_of_hosts(many, num_hosts):
    _, _, batches, whole = many
    for start in range(len(whole)):
        host = start % num_hosts
        rows = host_rows(24, host, num_hosts)
        for batch, part in zip(whole[start:], batches(3, rows, start, min(start + 2, len(whole))), strict=False):
            assert equal([field[rows] for field in batch], part)


def test_a_spot_of_light_stays_on_its_joint_through_the_whole_pipeline():
    """With every change of geometry at once, over several epochs: the joint lies where the image is brightest."""

    class Spots(ManySizes):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            height, width = FIVE[index % 5]
            rows, columns = np.mgrid[:height, :width] + 0.5
            x, y = np.random.default_rng(index).uniform(10, 22, 2)
            light = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)[..., None]
            sample.keypoints[0, 9] = x, y, 2  # the left wrist
            return sample._replace(image=np.rint(120 + 135 * light).repeat(3, -1).astype(np.uint8))

    geometry = replace(EVERYTHING, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
    data = replace(tiny.CONFIG.data, train_images="all", shapes=FIVE, short_side=(32, 32), augmentation=geometry)
    source, config = Spots(), replace(tiny.CONFIG, data=data)
    plan, seen = pipeline.make_plan(source, config, train=True, batch_size=8), 0
    for step, batch in enumerate(pipeline.batches(source, plan, config, 0, 30)):
        for b in np.flatnonzero(batch.is_real):
            joint = 10 if plan[step].flip[b] else 9  # a mirrored left wrist is a right one
            x, y, visibility = batch.keypoints[b, 0, joint]
            height, width = batch.size[b]
            assert not batch.keypoints[b, 0, 19 - joint].any()
            if visibility and 6 < x < width - 6 and 6 < y < height - 6:
                light = np.maximum(batch.image[b, ..., 2].astype(float) - 150, 0)
                rows, columns = np.mgrid[: light.shape[0], : light.shape[1]] + 0.5
                centre = (light * columns).sum() / light.sum(), (light * rows).sum() / light.sum()
                np.testing.assert_allclose((x, y), centre, atol=0.2)
                seen += 1
    assert seen > 50


def test_the_random_changes_of_an_image_follow_from_seed_epoch_and_index_alone():
    config = replace(tiny.CONFIG, data=replace(tiny.CONFIG.data, augmentation=EVERYTHING))
    step = pipeline.make_plan(SOURCE, config, train=True, batch_size=4)[0]

    def first(**fields):
        return pipeline.load_batch(SOURCE, step._replace(**fields), config, slice(1)).image

    np.testing.assert_array_equal(first(), first(index=step.index[[0, 2, 1, 3]]))  # whoever else is in the batch
    for fields in ({"seed": (0, 1)}, {"seed": (1, 0)}):
        assert (first(**fields) != first()).any()


@pytest.mark.parametrize(
    "field",
    ["rotation", "scale", "translation", "large_scale_jitter", "brightness", "contrast", "saturation", "hue"],
)
def test_each_change_alone_reaches_the_batch_and_differs_between_images(field):
    image = SOURCE[0].image
    source = pipeline.Images([image] * 8, COCO)
    alone = Augmentation(**{field: getattr(EVERYTHING, field)})
    data = replace(tiny.CONFIG.data, train_images="all", flip=0.0, augmentation=alone)
    config = replace(tiny.CONFIG, data=data)
    batch = pipeline.load_batch(source, pipeline.make_plan(source, config, train=True, batch_size=8)[0], config)
    assert len({one.tobytes() for one in batch.image}) == 8
    assert all((one != image).any() for one in batch.image)


def test_nothing_is_drawn_at_random_when_a_model_is_tested():
    config = replace(tiny.CONFIG, data=replace(tiny.CONFIG.data, augmentation=EVERYTHING))
    (batch,) = pipeline.batches(SOURCE, pipeline.make_plan(SOURCE, config, train=False, batch_size=7), config, 0, 1)
    np.testing.assert_array_equal(batch.image, np.stack([SOURCE[i].image for i in range(7)]))


def test_the_scale_of_a_batch_is_that_of_the_image_and_not_of_its_crop():
    config = replace(
        tiny.CONFIG, data=replace(tiny.CONFIG.data, augmentation=Augmentation(large_scale_jitter=(2.0, 2.0)))
    )
    plan = pipeline.make_plan(SOURCE, config, train=True, batch_size=7)
    (batch,) = pipeline.batches(SOURCE, plan, config, 0, 1)
    assert (batch.size == 64).all()
    assert (batch.scale == 2).all()


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

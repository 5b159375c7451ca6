"""Evaluation of a dataset: it scores exactly what the predictor returns for the images."""

import tarfile
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

import inspose_jax
from inspose_jax import config
from inspose_jax.data import coco, pipeline
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.evaluation import coco_ap, evaluator
from inspose_jax.predictor import BATCH, Predictor
from inspose_jax.skeletons import COCO

CONFIG = replace(
    tiny.CONFIG,
    model=tiny.model(score_threshold=0.0, nms_threshold=0.9),
    data=replace(tiny.CONFIG.data, long_side=96, shapes=((64, 64), (64, 96))),
)
WIDE = {3, 4, 11, 12, 13}
TALL = 6  # fits no shape at the test size, so it is shrunk


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(CONFIG, tiny.variables(CONFIG.model))


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = [(64, 96) if i in WIDE else (130, 70) if i == TALL else (64, 64) for i in range(BATCH + 7)]
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def test_evaluation_finds_what_the_predictor_finds_in_the_order_of_the_source(predictor, images):
    source = pipeline.Images(images, COCO)
    source.image_ids = 100 + np.arange(len(images))[::-1]
    expected = []
    for image_id, people in zip(source.image_ids.tolist(), predictor(images, threshold=0.0), strict=True):
        assert len(people) > 0
        expected += people.to_coco(image_id)
    assert evaluator.find_all(predictor, source) == expected


def test_an_evaluation_scores_what_was_found_by_the_labels_of_the_source(predictor):
    drawn = DrawnPeople(CONFIG.data.scene, "test", 0, 4, CONFIG.data.joint_pixel_offset)
    truth = coco.ground_truth_of((drawn[i] for i in range(4)), COCO, CONFIG.data.joint_pixel_offset)
    for source in (drawn, pipeline.InMemory(drawn)):
        assert source.ground_truth() == truth
        statistics, results = evaluator.evaluate(predictor, source)
        assert results == evaluator.find_all(predictor, drawn) != []
        assert statistics == coco_ap.keypoint_ap(truth, results, COCO)


def test_a_model_with_a_box_head_gets_the_twelve_box_statistics_too():
    with_boxes = replace(CONFIG, model=config.replace(CONFIG.model, box_head=True))
    drawn = DrawnPeople(CONFIG.data.scene, "test", 0, 4, CONFIG.data.joint_pixel_offset)
    statistics, results = evaluator.evaluate(Predictor(with_boxes, tiny.variables(with_boxes.model)), drawn)
    assert next(iter(statistics)) == "AP"
    boxes = coco_ap.box_ap(drawn.ground_truth(), results)
    assert len(boxes) == 12
    assert {f"box {name}": value for name, value in boxes.items()}.items() <= statistics.items()
    table = coco_ap.table({**statistics, "box AR100": 0.625}).splitlines()
    assert (len(table), table[2]) == (5, "boxes:")
    assert "0.625" in table[4]


def test_boxes_equal_to_the_annotated_ones_have_box_ap_one_whatever_their_joints():
    drawn = DrawnPeople(CONFIG.data.scene, "test", 0, 4, CONFIG.data.joint_pixel_offset)
    truth = drawn.ground_truth()
    found = [
        {"image_id": one["image_id"], "category_id": 1, "keypoints": [0.0] * 51, "bbox": one["bbox"], "score": 0.9}
        for one in truth["annotations"]
    ]
    assert coco_ap.box_ap(truth, found)["AP"] == pytest.approx(1)
    found[0]["bbox"] = [0.0, 0.0, 1.0, 1.0]
    assert coco_ap.box_ap(truth, found)["AP"] < 1
    assert coco_ap.keypoint_ap(truth, found, COCO)["AP"] < 0.1


def test_evaluation_compiles_at_most_two_programs_per_shape(predictor, images):
    fresh = Predictor(CONFIG, predictor.variables)
    shapes = []
    fresh.poses = lambda variables, image, size: shapes.append(image.shape) or predictor.poses(variables, image, size)
    evaluator.find_all(fresh, pipeline.Images([*images, images[0]], COCO))
    fresh(images[0])
    assert set(shapes) == {(BATCH, 64, 64, 3), (BATCH, 64, 96, 3), (1, 64, 64, 3)}


def test_images_in_a_batch_have_the_people_that_each_has_alone(tmp_path):
    """Of a trained model: with random weights, nearly all people are tied."""
    with tarfile.open(Path(__file__).parents[1] / "formats/1/run.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    trained = inspose_jax.load(tmp_path / "run")
    drawn = DrawnPeople(trained.config.data.scene, "test", 0, BATCH, trained.config.data.joint_pixel_offset)
    images = [drawn[i].image for i in range(BATCH)]
    together = trained(images, threshold=0.0)
    assert sum(map(len, together)) > BATCH
    for image, found in zip(images, together, strict=True):
        alone = trained(image, threshold=0.0)
        assert len(found) == len(alone)
        np.testing.assert_allclose(found.keypoints, alone.keypoints, rtol=0, atol=1e-3)
        for name in ("scores", "class_scores"):
            np.testing.assert_allclose(getattr(found, name), getattr(alone, name), rtol=0, atol=1e-6)


@pytest.mark.parametrize("num_devices", [3, 8])
def test_dividing_the_batches_over_devices_gives_the_same_people(predictor, images, num_devices):
    divided = Predictor(CONFIG, predictor.variables, jax.local_devices()[:num_devices])
    rows = set()

    def poses(variables, image, size):
        found = divided_poses(variables, image, size)
        rows.update((len(image), shard.data.shape[0]) for shard in found.scores.addressable_shards)
        assert len(found.scores.addressable_shards) == num_devices
        return found

    divided_poses, divided.poses = divided.poses, poses
    source = pipeline.Images([image for i, image in enumerate(images) if i not in WIDE - {3}], COCO)  # one alone
    single, several = (evaluator.find_all(model, source) for model in (predictor, divided))
    assert rows == ({(9, 3), (3, 1)} if num_devices == 3 else {(8, 1)})  # images in all, and on each device
    assert [found["image_id"] for found in several] == [found["image_id"] for found in single]
    for name in ("keypoints", "score", "bbox"):
        np.testing.assert_allclose(
            [found[name] for found in several], [found[name] for found in single], rtol=1e-5, atol=1e-3
        )


def test_the_trial_runs_only_the_largest_batch(predictor, images):
    fresh = Predictor(CONFIG, predictor.variables)
    shapes = []
    fresh.poses = lambda variables, image, size: shapes.append(image.shape) or predictor.poses(variables, image, size)
    fresh.try_largest(pipeline.Images([*images, images[0]], COCO))
    assert shapes == [(BATCH, 64, 96, 3)]


@pytest.mark.parametrize("num_processes", [2, 3, 8])
def test_the_shares_of_any_number_of_processes_make_up_the_whole(predictor, images, num_processes):
    source = pipeline.Images(images, COCO)
    shares = [evaluator.find_share(predictor, source, process, num_processes) for process in range(num_processes)]
    everything = evaluator.find_share(predictor, source, 0, 1)
    assert sorted(i for share in shares for i in share) == list(range(len(images)))  # each exactly once
    assert {i: results for share in shares for i, results in share.items()} == everything
    assert sum(len(share) > 0 for share in shares) == min(num_processes, 3)  # a whole step is the least

"""The ten statistics on results with known values."""

import copy
import sys
from dataclasses import replace

import numpy as np
import pytest
import tiny

from inspose_jax.data import coco
from inspose_jax.evaluation import coco_ap
from inspose_jax.skeletons import COCO
from inspose_jax.structures import Sample


def truth_and_results():
    """Two images: one medium person; a large person, one without joints and a crowd."""
    crowd = tiny.person(100, 20, 190, 60)
    people = [[tiny.person(10, 10, 60, 60)], [tiny.person(20, 20, 190, 190), np.zeros((17, 3), np.float32), crowd]]
    samples = []
    for i, keypoints in enumerate(people):
        number = len(keypoints)
        area = np.array([2500.0] if i == 0 else [20000.0, 400.0, 3600.0], np.float32)
        is_crowd = np.arange(number) == 2
        boxes = np.tile(np.array([[0, 0, 50, 50]], np.float32), (number, 1))
        image = np.zeros((200, 200, 3), np.uint8)
        samples.append(Sample(image, np.stack(keypoints), boxes, area, is_crowd, i))
    truth = coco.ground_truth_of(samples, COCO, 0.5)
    results = [
        {"image_id": a["image_id"], "category_id": 1, "keypoints": a["keypoints"], "score": 0.9}
        for a in truth["annotations"]
        if a["num_keypoints"] and not a["iscrowd"]
    ]
    return truth, results


def test_perfect_results_score_one_and_people_without_joints_do_not_count():
    truth, results = truth_and_results()
    assert list(coco_ap.keypoint_ap(truth, results, COCO).values()) == pytest.approx([1.0] * 10)


def test_no_results_score_zero_and_an_absent_size_class_minus_one():
    truth, _ = truth_and_results()
    assert coco_ap.keypoint_ap(truth, [], COCO)["AP"] == 0
    only_medium = coco_ap.keypoint_ap(truth, [], COCO, image_ids=[0])
    assert (only_medium["APM"], only_medium["APL"]) == (0, -1)


def test_a_shift_lowers_oks_as_computed_by_hand():
    truth, results = truth_and_results()
    shift, sigma2 = 3.0, (2 * np.array(COCO.oks_sigmas)) ** 2
    oks = np.exp(-(shift**2) / (2 * sigma2 * 2500)).mean()
    keypoints = np.array(results[0]["keypoints"]).reshape(17, 3) + np.array([shift, 0, 0])
    results[0]["keypoints"] = keypoints.ravel().tolist()
    passed = np.arange(0.5, 0.96, 0.05) <= oks
    assert 0 < passed.sum() < 10
    assert coco_ap.keypoint_ap(truth, results, COCO, image_ids=[0])["AP"] == pytest.approx(passed.mean())


def test_no_more_than_twenty_detections_of_an_image_count():
    truth, results = truth_and_results()
    far = [{**copy.deepcopy(results[0]), "keypoints": [190, 5, 1] * 17, "score": 0.95} for _ in range(20)]
    before = copy.deepcopy(far)
    assert coco_ap.keypoint_ap(truth, [*far, *results], COCO, image_ids=[0])["AR"] == 0
    assert far == before  # the caller's objects are not changed
    assert coco_ap.keypoint_ap(truth, [*far[:19], *results], COCO, image_ids=[0])["AR"] == 1


def test_images_are_grouped_by_their_labelled_people():
    truth, results = truth_and_results()
    assert coco_ap.ap_by_number_of_people(truth, results, COCO) == pytest.approx({1: 1.0})


def test_fields_that_the_statistics_do_not_read_may_hold_anything_and_are_kept():
    truth, results = truth_and_results()
    truth["annotations"][0] |= {"segmentation": "unknown", "score": "high"}
    truth["images"][0] |= {"file_name": None, "date_captured": 2013}
    truth["categories"][0]["skeleton"] = "none"
    before = copy.deepcopy((truth, results))
    assert coco_ap.keypoint_ap(truth, results, COCO)["AP"] == pytest.approx(1)
    assert (truth, results) == before


def random_case(seed):
    """A few images with people, crowds, people without joints, and results that are near, far, tied or too many."""
    rng = np.random.default_rng(seed)
    number_of_joints = int(rng.integers(1, 30))
    sigmas = COCO.oks_sigmas if number_of_joints == 17 else tuple(rng.uniform(0.02, 0.12, number_of_joints).tolist())
    names = tuple(f"joint {k}" for k in range(number_of_joints))
    skeleton = replace(COCO, keypoint_names=names, limbs=(), flip_pairs=(), oks_sigmas=sigmas)
    images = [{"id": int(i), "height": 400, "width": 400} for i in rng.choice(1000, rng.integers(1, 6), replace=False)]
    people, results = [], []
    for image in images:
        for _ in range(rng.integers(0, 6)):
            side = rng.choice([20.0, 60.0, 150.0])  # small, medium, large
            place = rng.uniform(0, 250, 2)
            joints = np.concatenate(
                [place + rng.uniform(0, side, (number_of_joints, 2)), np.zeros((number_of_joints, 1))], 1
            )
            joints[:, 2] = rng.choice([0, 1, 2], number_of_joints) * (rng.random() > 0.2)
            joints *= joints[:, 2:] > 0
            person = {
                "id": len(people) + 1,
                "image_id": image["id"],
                "category_id": 1,
                "keypoints": joints.round(2).ravel().tolist(),
                "num_keypoints": int((joints[:, 2] > 0).sum()),
                "area": side**2,
                "bbox": [*place.tolist(), side, side],
                "iscrowd": int(rng.random() < 0.15),
            }
            people.append(person)
        if rng.random() < 0.2:
            continue  # nobody is found in this one
        mine = [person for person in people if person["image_id"] == image["id"]]
        for _ in range(rng.integers(0, 35)):
            joints = rng.uniform(0, 400, (number_of_joints, 3))
            if mine and rng.random() < 0.8:
                near = np.array(mine[rng.integers(len(mine))]["keypoints"]).reshape(-1, 3)
                joints = near + rng.normal(0, rng.choice([0.0, 2.0, 20.0]), near.shape)
            score = round(rng.random(), 1)  # so that many are tied
            entry = {"image_id": image["id"], "category_id": 1, "keypoints": joints.ravel().tolist(), "score": score}
            results.append(entry)
    truth = {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}
    some = [image["id"] for image in images[: len(images) // 2]] if rng.random() < 0.3 else None
    return truth, [] if rng.random() < 0.05 else results, skeleton, some or None


@pytest.fixture
def by_pycocotools(monkeypatch):
    """A function that computes with pycocotools although hotcoco is installed."""
    pytest.importorskip("hotcoco", reason="hotcoco is not installed: pip install hotcoco")
    assert coco_ap.library()[0].startswith("hotcoco ")

    def compute(*case):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "hotcoco", None)
            assert coco_ap.library()[0].startswith("pycocotools ")
            return coco_ap.keypoint_ap(*case)

    return compute


def test_hotcoco_and_pycocotools_agree_to_the_last_bit(by_pycocotools):
    found = []
    for seed in range(200):
        case = random_case(seed)
        fast = coco_ap.keypoint_ap(*case)
        assert fast == by_pycocotools(*case), seed
        found.append(fast["AP"])
    assert len({value for value in found if 0 < value < 1}) > 100  # they ask something
    assert min(found) == -1


def test_hotcoco_and_pycocotools_agree_on_real_labels(by_pycocotools, coco_real):
    annotations = coco_real / "annotations/person_keypoints_train.json"
    truth = coco.CocoFolder(coco_real / "train", annotations, COCO, 0.5).ground_truth()
    rng = np.random.default_rng(0)
    results = [
        {
            "image_id": person["image_id"],
            "category_id": 1,
            "keypoints": (np.array(person["keypoints"]) + rng.normal(0, 3, 51)).tolist(),
            "score": float(rng.random()),
        }
        for person in truth["annotations"]
    ]
    fast = coco_ap.keypoint_ap(truth, results, COCO)
    assert fast == by_pycocotools(truth, results, COCO)
    assert 0.1 < fast["AP"] < 0.9


def test_over_no_images_there_is_nothing_to_score():
    truth, results = truth_and_results()
    assert coco_ap.keypoint_ap(truth, results, COCO, image_ids=[]) == dict.fromkeys(coco_ap.NAMES, -1)

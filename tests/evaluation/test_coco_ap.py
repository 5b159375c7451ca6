"""The ten statistics on answers that are known beforehand."""

import copy

import numpy as np
import pytest
import tiny

from inspose_jax.data import coco
from inspose_jax.evaluation import coco_ap
from inspose_jax.skeletons import COCO
from inspose_jax.structures import Sample


def truth_and_results():
    """Two pictures: one medium person; a large person, one without joints and a crowd."""
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


def test_no_more_than_twenty_detections_of_a_picture_count():
    truth, results = truth_and_results()
    far = [{**copy.deepcopy(results[0]), "keypoints": [190, 5, 1] * 17, "score": 0.95} for _ in range(20)]
    before = copy.deepcopy(far)
    assert coco_ap.keypoint_ap(truth, [*far, *results], COCO, image_ids=[0])["AR"] == 0
    assert far == before  # what the caller holds stays as it is
    assert coco_ap.keypoint_ap(truth, [*far[:19], *results], COCO, image_ids=[0])["AR"] == 1


def test_pictures_are_grouped_by_their_labelled_people():
    truth, results = truth_and_results()
    assert coco_ap.ap_by_number_of_people(truth, results, COCO) == pytest.approx({1: 1.0})

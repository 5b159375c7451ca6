"""Non-maximum suppression: the greedy result, no effect of padding, idempotence, and OKS as COCO has it."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspose_jax import geometry, nms
from inspose_jax.skeletons import COCO

BOXES = jnp.array([[0.0, 0, 10, 10], [0.0, 0, 10, 8], [0.0, 0, 10, 6.5], [50.0, 50, 60, 60]])
IOU = geometry.box_iou(BOXES, BOXES)


def test_better_boxes_suppress_overlapping_ones():
    # IoU: 0-1 .8, 0-2 .65, 1-2 .8125
    assert nms.keep(IOU, jnp.ones(4, bool), 0.6).tolist() == [True, False, False, True]


def test_a_suppressed_box_suppresses_nobody():
    assert nms.keep(IOU, jnp.ones(4, bool), 0.7).tolist() == [True, False, True, True]


def test_a_box_that_is_no_candidate_neither_survives_nor_suppresses():
    assert nms.keep(IOU, jnp.array([False, True, True, False]), 0.6).tolist() == [False, True, False, False]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_survivors_survive_again(seed):
    corner = np.random.default_rng(seed).uniform(0, 20, (12, 2))
    boxes = jnp.asarray(np.concatenate([corner, corner + 10], 1), jnp.float32)
    kept = nms.keep(geometry.box_iou(boxes, boxes), jnp.ones(12, bool), 0.3)
    np.testing.assert_array_equal(nms.keep(geometry.box_iou(boxes, boxes), kept, 0.3), kept)


def test_the_best_are_taken_and_the_number_of_picks_is_no_more_than_there_are():
    scores = jnp.array([0.9, 0.8, 0.7, 0.6])
    picks = nms.suppress(IOU, scores, jnp.ones(4, bool), 0.6, 4)
    assert (int(picks.number), picks.index[:2].tolist()) == (2, [0, 3])
    np.testing.assert_allclose(picks.scores[:2], [0.9, 0.6])
    picks = nms.suppress(IOU, scores, jnp.ones(4, bool), 0.6, 1)
    assert (int(picks.number), picks.index.tolist()) == (1, [0])


def test_oks_between_poses_is_that_of_the_coco_tool():
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO as CocoFile
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(0)
    poses = (rng.uniform(0, 60, (6, 1, 2)) + rng.normal(0, 15, (6, 17, 2))).astype(np.float32)
    poses[1:3] = poses[0] + rng.normal(0, 4, (2, 17, 2))  # otherwise everybody is far from everybody
    people = []
    for number, pose in enumerate(poses):
        (x0, y0), (x1, y1) = pose.min(0).tolist(), pose.max(0).tolist()
        flat = np.concatenate([pose, np.full((17, 1), 2)], 1).ravel().tolist()
        about = {"id": number + 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "num_keypoints": 17}
        people.append({**about, "keypoints": flat, "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)})
    truth, detected = CocoFile(), CocoFile()
    for file in (truth, detected):
        file.dataset = {"images": [{"id": 1}], "annotations": people, "categories": [{"id": 1, "name": "person"}]}
        file.createIndex()
    for person in people:
        person["score"] = 1 - 0.1 * person["id"]
    tool = COCOeval(truth, detected, "keypoints")
    tool._prepare()
    expected = tool.computeOks(1, 1).T  # of detection j with person i
    found = np.asarray(nms.pose_oks(jnp.asarray(poses), COCO.oks_sigmas))
    assert 0.05 < expected[0, 1] < 0.95
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)

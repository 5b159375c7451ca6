"""Labels as arrays: a file is good to them exactly when no rule for its entries is broken, and nothing is lost."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspose_jax.data import annotations, labels
from inspose_jax.skeletons import COCO
from inspose_jax.structures import Sample

PAIR = COCO.subset("nose", "left_wrist")
PERSON = {"id": 5, "image_id": 3, "category_id": 1, "keypoints": [3, 4, 2, 0, 0, 0], "bbox": [1, 2, 3, 4], "area": 6.5}
GOOD = {
    "images": [
        {"id": 9, "file_name": "b.jpg", "height": 6, "width": 8},
        {"id": 3, "file_name": "in/a.jpg", "height": 7, "width": 5},
    ],
    "annotations": [
        PERSON,
        {**PERSON, "id": "x", "image_id": 9, "iscrowd": 1, "num_keypoints": 1},
        {"id": 7, "image_id": 3, "category_id": 1, "bbox": [0.5, 0, 0, 2.25], "area": 0, "keypoints": []},
    ],
    "categories": [{"id": 1, "name": "person"}],
}
ODD = [
    None, True, False, 0, 1, -1, 3, 2**31, 2**63, 10**400, 1.0, 0.5, -0.5, 1e9, -1e12, float("nan"), float("inf"),
    "", "3", "../a.jpg", "/a.jpg", "a\0", "a/..b.jpg", [], [1], [1, 2, 3, 4], [1, 2, -3, 4], [1, 2, True, 4],
    [1, "2", 3, 4], [1, 2, float("nan"), 4], [3, 4, 2, 0, 0, 10**400], [3, 4, 2, 0, 0, None], [1, 2, 0, 3, 4, 0],
    {}, {"a": 1},
]  # fmt: skip


def faults(content):
    return [fault for *_, found in annotations.check_entries(content, PAIR) for fault in found]


@given(
    kind=st.sampled_from(["images", "annotations"]),
    index=st.integers(0, 2),
    field=st.sampled_from([*PERSON, "iscrowd", "num_keypoints", "file_name", "height", "width", None]),
    value=st.sampled_from([*ODD, "(none)"]),
)
@settings(max_examples=1500, deadline=None)
def test_arrays_and_rules_agree_on_what_is_wrong(kind, index, field, value):
    content = copy.deepcopy(GOOD)
    entries = content[kind]
    if field is None:
        entries[index % len(entries)] = value
    elif value == "(none)":
        entries[index % len(entries)].pop(field, None)
    else:
        entries[index % len(entries)][field] = value
    assert (labels.labels_of(content, 2) is None) == bool(faults(content)), faults(content)


def test_people_are_sorted_by_image_and_keep_their_order():
    made = labels.labels_of(GOOD, 2, with_segmentations=True)
    assert made is not None
    assert made.image_ids.tolist() == [3, 9]
    assert made.file_names == ["in/a.jpg", "b.jpg"]
    assert made.sizes.tolist() == [[7, 5], [6, 8]]
    assert [made.people(i) for i in range(2)] == [slice(0, 2), slice(2, 3)]
    assert made.boxes_xywh[:2].tolist() == [[1, 2, 3, 4], [0.5, 0, 0, 2.25]]
    assert made.is_crowd.tolist() == [False, False, True]
    assert made.is_labelled().tolist() == [True, False]
    assert made.has_people().tolist() == [True, True]
    assert made.segmentations == [None] * 3
    one = {**GOOD, "images": [*GOOD["images"], {"id": 1, "file_name": "c.jpg", "height": 1, "width": 1}]}
    empty = labels.labels_of(one, 2)
    assert empty is not None
    assert (empty.people(0), empty.has_people().tolist()) == (slice(0, 0), [False, True, True])


def test_samples_are_sorted_too_and_their_joints_become_indices_of_pixels():
    def sample(image_id, *joints):
        number = len(joints)
        boxes = np.tile(np.array([1, 2, 4, 7], np.float32), (number, 1))
        area, is_crowd = np.full(number, image_id, np.float32), np.arange(number) == 1
        keypoints = np.array(joints, np.float32).reshape(-1, 2, 3)
        return Sample(np.zeros((6, 8, 3), np.uint8), keypoints, boxes, area, is_crowd, image_id)

    people = [[[3.5, 4.504, 2], [0, 0, 0]], [[1, 2, 1], [5, 5, 2]]]
    made = labels.of_samples(iter([sample(9, *people), sample(4), sample(3, people[0])]), 2, 0.5)
    assert made.image_ids.tolist() == [3, 4, 9]
    assert made.file_names[2] == "000000000009.jpg"
    assert [made.people(i) for i in range(3)] == [slice(0, 1), slice(1, 1), slice(1, 3)]
    assert made.keypoints[1].tolist() == [[3, 4, 2], [0, 0, 0]]
    assert made.boxes_xywh[0].tolist() == [1, 2, 3, 5]
    assert (made.area.tolist(), made.is_crowd.tolist()) == ([3, 9, 9], [False, False, True])
    nobody = labels.ground_truth(labels.of_samples([sample(5)], 2, 0.5))
    assert (len(nobody["images"]), nobody["annotations"]) == (1, [])


@pytest.mark.parametrize(("x", "kind"), [(3.5, np.float32), (3.1, np.float64)])
def test_the_content_of_the_file_comes_back_exactly(x, kind):
    content = copy.deepcopy(GOOD)
    content["annotations"][0]["keypoints"][0] = x
    made = labels.labels_of(content, 2)
    assert made is not None
    assert made.keypoints.dtype == kind
    truth = labels.ground_truth(made)
    assert {image["id"]: image for image in truth["images"]} == {image["id"]: image for image in content["images"]}
    people = content["annotations"][0], content["annotations"][2], content["annotations"][1]
    for number, (ours, theirs) in enumerate(zip(truth["annotations"], people, strict=True), start=1):
        joints = theirs["keypoints"] or [0] * 6
        crowd = theirs.get("iscrowd", 0)
        counted = sum(v > 0 for v in joints[2::3])
        filled = {"id": number, "category_id": 1, "keypoints": joints, "iscrowd": crowd, "num_keypoints": counted}
        assert ours == {**theirs, **filled}
    json.dumps(truth)

"""Coordinates that are not pixels, or in another order, are reported once for the whole file; valid ones never."""

import copy
import json

import numpy as np
import pytest
from PIL import Image

from inspose_jax.config import Scene
from inspose_jax.data import check, coco, coordinates, image_facts
from inspose_jax.data.annotations import Dataset
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.skeletons import COCO


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("drawn") / "set"
    source = DrawnPeople(Scene(size=64), "test", 0, 30)
    coco.write_folder(out, (source[i] for i in range(30)), COCO, 0.5)
    return out


def faults(images, truth, change):
    truth = copy.deepcopy(truth)
    sizes = {image["id"]: (image["width"], image["height"]) for image in truth["images"]}
    for person in truth["annotations"]:
        joints = np.array(person["keypoints"], float).reshape(17, 3)
        person["keypoints"], person["bbox"] = (
            value.ravel().tolist() for value in change(joints, np.array(person["bbox"]), sizes[person["image_id"]])
        )
    return found(images, truth)


def found(images, truth):
    """The messages of the errors and warnings."""
    dataset = Dataset(truth, images, COCO)
    facts = image_facts.read(check.files_of(dataset), 2)
    return [one.message for one in check.faults(dataset, facts) if one.severity != "remark"]


CHANGES = {
    "right": (lambda joints, box, size: (joints, box), []),
    "fractions": (
        lambda joints, box, size: (joints / [*size, 1], box / [*size, *size]),
        ["all labelled joints lie within 0..1", "all boxes lie within 0..1"],
    ),
    "joints in fractions": (
        lambda joints, box, size: (joints / [*size, 1], box),
        ["all labelled joints lie within 0..1"],
    ),
    "y before x": (
        lambda joints, box, size: (joints[:, [1, 0, 2]], box),
        ["x and y of the joints or of the boxes seem to be exchanged"],
    ),
    "y before x in boxes": (
        lambda joints, box, size: (joints, box[[1, 0, 3, 2]]),
        ["x and y of the joints or of the boxes seem to be exchanged"],
    ),
    "y before x in both": (
        lambda joints, box, size: (joints[:, [1, 0, 2]], box[[1, 0, 3, 2]]),
        ["x and y of the joints or of the boxes seem to be exchanged"],
    ),
    "corners for centres": (
        lambda joints, box, size: (joints, box - [*box[2:] / 2, 0, 0]),
        ["people have over a third of their joints outside their own box; are the boxes' corners and centres,"],
    ),
    "corners": (
        lambda joints, box, size: (joints, np.concatenate([box[:2], box[:2] + box[2:]])),
        ["boxes seem to be corners, x0, y0, x1, y1; write x, y, width, height"],
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_fault_of_all_coordinates_is_named_in_one_line(folder, name):
    change, lines = CHANGES[name]
    if name == "y before x in both":  # in these square images it only looks as if people were lying
        lines = ["people have their feet to the right of their head; are they lying,"]
    messages = faults(folder / "images", json.loads((folder / "annotations.json").read_text()), change)
    assert len(messages) == len(lines), messages
    assert all(line in message for message, line in zip(messages, lines, strict=True))


@pytest.mark.parametrize("name", CHANGES)
def test_a_fault_of_all_coordinates_is_named_in_real_labels(coco_real, name):
    change, lines = CHANGES[name]
    truth = json.loads((coco_real / "annotations/person_keypoints_val.json").read_text())
    messages = faults(coco_real / "val", truth, change)
    assert len(messages) == len(lines), messages
    assert all(line in message for message, line in zip(messages, lines, strict=True))


UPRIGHT = np.array([[0, 0], *[[dx, 0.1 + 0.9 * i / 7] for i in range(8) for dx in (-0.1, 0.1)]])  # feet at the end


def labels_of(people):
    """`Labels` of people in images of 640 x 480: joints as x, y, and boxes, by default just around them."""
    entries = []
    for joints, *box in people:
        low, high = joints.min(0), joints.max(0)
        keypoints = np.concatenate([joints, np.full((17, 1), 2.0)], 1).ravel().tolist()
        entries.append((keypoints, box[0] if box else [*low, *(high - low)], (480, 640)))
    return coordinates.stack(entries, 17)


def standing(x, feet, height=200):
    return UPRIGHT * height + [x, feet - height]


@pytest.mark.parametrize("num_others", [0, 500])
def test_a_few_ankles_just_below_the_image_do_not_mean_exchanged_axes(num_others):
    below = [(standing(60 + 100 * i, 485 + 2 * i),) for i in range(3)]
    others = [(standing(50 + i % 400, 300 + i % 170),) for i in range(num_others)]
    assert coordinates.findings(labels_of(below + others)) == []
    far_below = [(standing(60 + 100 * i, 560),) for i in range(3)]
    assert not num_others or coordinates.findings(labels_of(far_below + others)) == []


def test_people_who_all_lie_in_the_same_direction_are_not_a_fault():
    lying = [(standing(240, 400 + 5 * i)[:, ::-1],) for i in range(6)]  # heads left
    assert coordinates.findings(labels_of(lying)) == []


def test_joints_outside_are_named_beside_a_finding_that_does_not_explain_them(tmp_path):
    """Boxes as corners, and one person whose feet are below the image."""
    Image.new("RGB", (640, 480)).save(tmp_path / "a.png")
    people = []
    for i in range(12):
        joints = standing(400 + i, 500 if i == 3 else 470)
        keypoints = np.concatenate([joints, np.full((17, 1), 2)], 1).ravel().tolist()
        box = [*joints.min(0).tolist(), *joints.max(0).tolist()]
        people.append({"id": i, "image_id": 1, "category_id": 1, "bbox": box, "area": 99, "keypoints": keypoints})
    truth = {
        "images": [{"id": 1, "file_name": "a.png", "height": 480, "width": 640}],
        "annotations": people,
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.keypoint_names)}],
    }
    first, second = found(tmp_path, truth)
    assert first.startswith("boxes seem to be corners")
    assert second == "a labelled joint lies outside the image: left_ankle, right_ankle"

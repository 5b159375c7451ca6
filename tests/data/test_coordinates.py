"""Numbers that are no pixels, or stand in another order, are named once for the whole file; right ones never."""

import copy
import json

import numpy as np
import pytest

from inspose_jax.config import Scene
from inspose_jax.data import check, coco
from inspose_jax.data.drawn_people import DrawnPeople
from inspose_jax.skeletons import COCO


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("drawn") / "set"
    source = DrawnPeople(Scene(size=64), "test", 0, 30)
    coco.write_folder(out, (source[i] for i in range(30)), COCO, 0.5)
    return out


def faults(images, truth, tmp_path, change):
    truth = copy.deepcopy(truth)
    sizes = {image["id"]: (image["width"], image["height"]) for image in truth["images"]}
    for person in truth["annotations"]:
        joints = np.array(person["keypoints"], float).reshape(17, 3)
        person["keypoints"], person["bbox"] = (
            value.ravel().tolist() for value in change(joints, np.array(person["bbox"]), sizes[person["image_id"]])
        )
    (tmp_path / "a.json").write_text(json.dumps(truth))
    return check.faults(images, tmp_path / "a.json", COCO)


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
    "y before x": (lambda joints, box, size: (joints[:, [1, 0, 2]], box), ["x and y seem to be exchanged"]),
    "y before x in boxes": (lambda joints, box, size: (joints, box[[1, 0, 3, 2]]), ["x and y seem to be exchanged"]),
    "y before x in both": (
        lambda joints, box, size: (joints[:, [1, 0, 2]], box[[1, 0, 3, 2]]),
        ["x and y seem to be exchanged"],
    ),
    "corners": (
        lambda joints, box, size: (joints, np.concatenate([box[:2], box[:2] + box[2:]])),
        ["boxes seem to be corners, x0, y0, x1, y1; write x, y, width, height"],
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_fault_of_all_coordinates_is_named_in_one_line(folder, tmp_path, name):
    change, lines = CHANGES[name]
    found = faults(folder / "images", json.loads((folder / "annotations.json").read_text()), tmp_path, change)
    assert len(found) == len(lines), found
    assert all(fault.startswith(line) for fault, line in zip(found, lines, strict=True))


@pytest.mark.parametrize("name", CHANGES)
def test_so_it_is_in_real_labels(coco_real, tmp_path, name):
    change, lines = CHANGES[name]
    truth = json.loads((coco_real / "annotations/person_keypoints_val.json").read_text())
    found = faults(coco_real / "val", truth, tmp_path, change)
    assert len(found) == len(lines), found
    assert all(fault.startswith(line) for fault, line in zip(found, lines, strict=True))

"""The check of a COCO folder names each fault once, and finds none in a valid folder."""

import json

import pytest
from PIL import Image

from inspose_jax.data import check
from inspose_jax.skeletons import COCO


@pytest.fixture
def valid(tmp_path):
    """One image, 8 wide and 6 high, with one person in it."""
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    joints = [7, 5, 2, *[0] * 48]
    person = {"id": 1, "image_id": 2, "bbox": [1, 2, 3, 4], "area": 5, "keypoints": joints, "category_id": 1}
    image = {"id": 2, "file_name": "a.png", "height": 6, "width": 8}
    category = {"id": 1, "name": "person", "keypoints": list(COCO.keypoint_names)}
    return {"images": [image], "annotations": [person], "categories": [category]}


def faults(tmp_path, content):
    (tmp_path / "truth.json").write_text(json.dumps(content))
    return check.faults(tmp_path, tmp_path / "truth.json", COCO)


def test_a_valid_folder_has_no_fault(tmp_path, valid):
    assert faults(tmp_path, valid) == []
    del valid["annotations"][0]["keypoints"]
    valid["annotations"].append({**valid["annotations"][0], "id": 3, "keypoints": [8, 6, 1, *[0] * 48]})
    assert faults(tmp_path, valid) == []  # a person without joints, and a joint on the last corner


@pytest.mark.parametrize(
    ("person", "message"),
    [
        ({"bbox": [1, 2, -3, 4]}, "annotation 1: bbox is [1, 2, -3, 4], not x, y, width, height"),
        ({"bbox": [1, 2, 3]}, "annotation 1: bbox is [1, 2, 3], not x, y, width, height"),
        ({"area": float("nan")}, "annotation 1: area is NaN, not a number of pixels"),
        ({"keypoints": [float("nan"), 5, 2, *[0] * 48]}, "annotation 1: keypoints are not all finite and below 1e9"),
        ({"keypoints": [5, 7, 2, *[0] * 48]}, "annotation 1: a labelled joint lies outside the image"),
        ({"keypoints": [-1, 3, 2, *[0] * 48]}, "annotation 1: a labelled joint lies outside the image"),
        ({"num_keypoints": 2}, "annotation 1: num_keypoints is 2, but 1 are labelled"),
        ({"area": "5"}, 'annotation 1: area is "5", not a number of pixels'),
        ({"bbox": None}, "annotation 1: bbox is null, not x, y, width, height"),
        ({"image_id": [2]}, "annotation 1: image_id is [2], not an image's id"),
        ({"category_id": 2}, "annotation 1: category_id is 2, not 1, the person category"),
        ({"category_id": True}, "annotation 1: category_id is true, not a category's id"),
        ({"keypoints": None}, "annotation 1: keypoints are null, not a list of numbers"),
        (
            {"keypoints": ["x"] * 51},
            f"annotation 1: keypoints are {str(['x'] * 51)[:39]}…, not a list of numbers".replace("'", '"'),
        ),
        ({"iscrowd": "no"}, 'annotation 1: iscrowd is "no", not 0 or 1'),
        ({"num_keypoints": -1}, "annotation 1: num_keypoints is -1, not a number of labelled joints"),
        ({"area": 10**400}, f"annotation 1: area is 1{'0' * 38}…, not a number of pixels"),
        ({"keypoints": [1e300, 5, 2, *[0] * 48]}, "annotation 1: keypoints are not all finite and below 1e9"),
        ({"area": 0}, "annotation 1: area is 0; OKS divides by it"),
        ({"image_id": 3}, "annotation 1: its image 3 is not listed in `images`"),
        ({"iscrowd": 1}, "no person has a labelled joint"),
        ({"keypoints": [0] * 51}, "no person has a labelled joint"),
    ],
)
def test_a_fault_in_an_annotation_is_the_only_one_reported(tmp_path, valid, person, message):
    valid["annotations"][0].update(person)
    assert faults(tmp_path, valid) == [message]


def test_faults_of_the_lists_are_named(tmp_path, valid):
    valid["annotations"] *= 2
    assert faults(tmp_path, valid) == ["annotation 1: another annotation has the same id"]
    valid["annotations"] = valid["annotations"][:1]
    valid["images"].append({"id": 3, "file_name": "a.png", "width": 8})
    assert faults(tmp_path, valid) == ["image 3: no height"]
    valid["images"][1] = {"id": 3, "file_name": 5, "height": "6", "width": 0}
    valid["annotations"].append(1)
    assert faults(tmp_path, valid) == [
        "image 3: file_name is 5, not a file's name in the folder of images",
        'image 3: height is "6", not a number of pixels',
        "image 3: width is 0, not a number of pixels",
        "annotation ?: 1 is not an object with fields",
    ]


def test_a_damaged_image_is_named(tmp_path, valid):
    (tmp_path / "a.png").write_bytes(b"no image")
    (fault,) = faults(tmp_path, valid)
    assert fault.startswith("image 2: ")
    assert "not an image that can be read" in fault


def test_missing_folders_and_files_are_named(tmp_path, valid):
    faults(tmp_path, valid)
    with pytest.raises(FileNotFoundError, match="no such folder of images"):
        check.faults(tmp_path / "none", tmp_path / "truth.json", COCO)
    with pytest.raises(FileNotFoundError, match="no such annotation file"):
        check.faults(tmp_path, tmp_path / "none.json", COCO)

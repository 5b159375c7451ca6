"""COCO folders: read according to COCO, read back after writing, refused with one line."""

import gc
import json

import checked
import numpy as np
import pytest
from PIL import Image

from inspose_jax.config import Scene
from inspose_jax.data import annotations, coco
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.errors import UserError
from inspose_jax.evaluation import coco_ap
from inspose_jax.skeletons import COCO


def read(folder, annotations=None):
    return coco.CocoFolder(folder / "images", annotations or folder / "annotations.json", COCO, 0.5)


def test_written_samples_are_read_back(folder):
    drawn, source = DrawnPeople(Scene(size=64, num_people=(1, 3)), "test", 0, 4), read(folder)
    for i in range(4):
        before, after = drawn[i], source[i]
        np.testing.assert_allclose(after.keypoints, before.keypoints, atol=0.0051)  # rounded to 2 decimals
        np.testing.assert_array_equal(after.boxes_xyxy, before.boxes_xyxy)
        assert np.abs(after.image.astype(int) - before.image).mean() < 8  # JPEG
    assert checked.faults(folder / "images", folder / "annotations.json", COCO) == []


def test_a_joint_of_the_file_is_the_index_of_a_pixel(folder):
    truth = json.loads((folder / "annotations.json").read_text())
    person = next(a for a in truth["annotations"] if a["num_keypoints"])
    row = read(folder)[person["image_id"]]
    flat = np.array(person["keypoints"]).reshape(17, 3)
    ours = row.keypoints[
        [a["id"] for a in truth["annotations"] if a["image_id"] == person["image_id"]].index(person["id"])
    ]
    labelled = flat[:, 2] > 0
    np.testing.assert_allclose(ours[labelled, :2], flat[labelled, :2] + 0.5, atol=1e-4)
    assert not ours[~labelled].any()


def test_limbs_are_written_as_coco_counts_from_one(folder):
    (category,) = json.loads((folder / "annotations.json").read_text())["categories"]
    names = category["keypoints"]
    assert [names[a - 1] for a in category["skeleton"][0]] == ["left_ankle", "left_knee"]


def test_no_garbage_is_searched_for_while_annotations_are_parsed_and_prepared(folder, tmp_path, monkeypatch):
    # Counting searches would tell nothing of parsing alone: since Python 3.12 none begins inside a function in C.
    enabled = []
    for module, name in (
        (annotations.msgspec.json, "decode"),
        (annotations.categories, "find_person"),
        (coco, "refuse_missing"),
    ):
        original = getattr(module, name)

        def watched(*args, original=original, **named):
            enabled.append(gc.isenabled())
            return original(*args, **named)

        monkeypatch.setattr(module, name, watched)
    read(folder)
    assert enabled == [False, False, False]
    assert gc.isenabled()
    broken = tmp_path / "labels.json"
    broken.write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        annotations.parsed(broken)
    assert gc.isenabled(), "a refusal too leaves the collector as it was"


@pytest.fixture
def by_hand(tmp_path):
    """Two images 8 wide and 6 high, listed backwards: number 2 has a person, number 5 only a labelled crowd."""
    joints = [3, 4, 1, 7, 7, 0, *[0] * 45]
    person = {"id": 1, "image_id": 2, "bbox": [1, 2, 3, 4], "area": 5, "keypoints": joints, "category_id": 1}
    crowd = {**person, "id": 2, "image_id": 5, "iscrowd": 1}
    images = [{"id": i, "file_name": f"{i}.jpg", "height": 6, "width": 8} for i in (5, 2)]
    category = {"id": 1, "name": "person", "keypoints": list(COCO.keypoint_names)}
    content = {"images": images, "annotations": [crowd, person], "categories": [category]}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    (tmp_path / "images").mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: a viewer would show it rotated by 90 degrees
    Image.new("RGB", (8, 6), (200, 40, 40)).save(tmp_path / "images" / "2.jpg", exif=turned)
    Image.new("RGB", (8, 6)).save(tmp_path / "images" / "5.jpg")
    return tmp_path


def test_a_folder_is_read_according_to_coco(by_hand):
    with pytest.warns(UserWarning, match="1 of 2 images have an EXIF orientation other than 1; 1 stay as stored"):
        source = read(by_hand)
    assert source.image_ids.tolist() == [2, 5]
    assert source.sizes.tolist() == [[6, 8], [6, 8]]
    assert source.is_labelled.tolist() == [True, False]  # nothing is learnt from a crowd
    assert source.has_people.tolist() == [True, True]
    one, crowd = source[0], source[1]
    assert one.keypoints[0, :2].tolist() == [[3.5, 4.5, 1], [0, 0, 0]]
    assert one.boxes_xyxy.tolist() == [[1, 2, 4, 6]]
    assert one.area.tolist() == [5]
    assert (one.is_crowd.tolist(), crowd.is_crowd.tolist()) == ([False], [True])
    assert one.image.shape == (6, 8, 3)  # the stored pixels, which the labels refer to
    np.testing.assert_allclose(one.image[3, 4], [200, 40, 40], atol=8)  # red, through JPEG


def test_an_annotation_of_id_0_counts_as_any_other(folder, tmp_path):
    """pycocotools ignores a match with it; perfect results must give an AP of 1 nevertheless."""

    def from_zero(truth):
        for number, person in enumerate(truth["annotations"]):
            person["id"] = number

    truth = read(folder, damage(folder, tmp_path, from_zero)).ground_truth()
    results = [{**person, "score": 1.0} for person in truth["annotations"] if person["num_keypoints"]]
    assert coco_ap.keypoint_ap(truth, results, COCO)["AP"] == pytest.approx(1)


def test_images_that_cannot_be_read_are_refused(by_hand):
    Image.new("RGB", (8, 6)).save(by_hand / "images" / "2.jpg")
    source = read(by_hand)
    (by_hand / "images" / "2.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match="not an image that can be read"):
        source[0]
    (by_hand / "images" / "2.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="no such image"):
        source[0]
    with pytest.raises(FileNotFoundError, match="no such folder of images"):
        coco.CocoFolder(by_hand / "gone", by_hand / "annotations.json", COCO, 0.5)


def damage(folder, tmp_path, change):
    truth = json.loads((folder / "annotations.json").read_text())
    changed = change(truth) or truth
    path = tmp_path / "spoilt.json"
    path.write_text(json.dumps(changed))
    return path


def without_keypoints(truth):
    truth["annotations"] = [{k: v for k, v in a.items() if k != "keypoints"} for a in truth["annotations"]]
    return truth


def without_labels(truth):
    for person in truth["annotations"]:
        person["keypoints"] = [0] * 51
    return truth


def too_short(truth):
    truth["annotations"][0]["keypoints"] = [1, 2, 2]
    return truth


def other_size(truth):
    for image in truth["images"]:
        image["height"] = 65
    return truth


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_keypoints, "no annotation has `keypoints`"),
        (without_labels, "no person has a labelled joint"),
        (too_short, "3 numbers for keypoints; coco needs 51"),
        (lambda truth: truth["annotations"][0].update(bbox=None), "annotation 1: bbox is null, not x, y"),
        (
            lambda truth: truth["images"][0].update(id=2**63),
            "image 9223372036854775808: id is 9223372036854775808, not",
        ),
        (lambda truth: truth["images"][0].update(file_name="gone.jpg"), "gone.jpg: no such image"),
        (lambda truth: {"annotations": []}, "no list `images`"),
        (lambda truth: {"images": []}, "no list `annotations`"),
    ],
)
def test_an_invalid_file_is_refused_with_its_fault(folder, tmp_path, change, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read(folder, damage(folder, tmp_path, change))


def test_images_of_another_size_than_annotated_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="64 x 64 pixels, but its annotation says 65 x 64"):
        read(folder, damage(folder, tmp_path, other_size))[0]
    with pytest.raises(FileNotFoundError, match="no such annotation file"):
        read(folder, tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"images": [')
    with pytest.raises(ValueError, match="not JSON"):
        read(folder, tmp_path / "half.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, i: a.update(keypoints=[1] * 50), "50 numbers"),
        (
            lambda a, i: a.update(keypoints=[1, 1, 3] * 17),
            "must be 0, 1 or 2, but nose has 3, left_eye has 3, right_eye has 3, ..",
        ),
        (lambda a, i: a.update(keypoints=[900, 1, 2] * 17, num_keypoints=17), "outside the image"),
        (lambda a, i: a.update(num_keypoints=99), "num_keypoints is 99"),
        (lambda a, i: a.update(area=0), "area is 0"),
        (lambda a, i: a.update(image_id=77), "image 77 is not listed in `images`"),
        (lambda a, i: (a.pop("bbox"), a.pop("keypoints")), "no bbox"),
        (lambda a, i: i.update(width=9), "the file has"),
        (lambda a, i: i.update(file_name="gone.jpg"), "no such image"),
    ],
)
def test_every_planted_fault_is_named(folder, tmp_path, change, message):
    def plant(truth):
        change(truth["annotations"][0], truth["images"][0])
        return truth

    found = checked.faults(folder / "images", damage(folder, tmp_path, plant), COCO)
    assert any(message in fault for fault in found), found


def test_the_real_images_are_read_without_a_fault(coco_real):
    for split, people in (("train", 349), ("val", 72)):
        annotations = coco_real / "annotations" / f"person_keypoints_{split}.json"
        assert checked.faults(coco_real / split, annotations, COCO) == []
        source = coco.CocoFolder(coco_real / split, annotations, COCO, 0.5)
        labelled = sum(
            (((joints[..., 2] > 0).any(-1)) & ~crowd).sum()
            for joints, _, _, crowd in map(source.people, range(len(source)))
        )
        assert labelled == people

"""The joint names in `categories`: joints are sorted or refused by them, and other categories are left out."""

import json
import re

import checked
import numpy as np
import pytest
from PIL import Image

from inspose_jax.data import annotations, categories, check, coco, image_facts
from inspose_jax.errors import Note
from inspose_jax.evaluation import coco_ap
from inspose_jax.skeletons import COCO

POSETRACK = ["nose", "head_bottom", "head_top", *COCO.keypoint_names[3:]]


@pytest.fixture
def changed(folder, tmp_path):
    """A function that applies a change to the content of the file and returns the changed file."""

    def write(change):
        truth = json.loads((folder / "annotations.json").read_text())
        change(truth)
        (tmp_path / "changed.json").write_text(json.dumps(truth))
        return tmp_path / "changed.json"

    return write


def read(folder, annotations):
    return coco.CocoFolder(folder / "images", annotations, COCO, 0.5)


def sort_by_name(truth, spelt=lambda name: name):
    """Joints in alphabetic order, names and values alike, as an annotation tool may write them."""
    names = truth["categories"][0]["keypoints"]
    order = sorted(range(17), key=names.__getitem__)
    truth["categories"][0]["keypoints"] = [spelt(names[k]) for k in order]
    for person in truth["annotations"]:
        person["keypoints"] = np.array(person["keypoints"]).reshape(17, 3)[order].ravel().tolist()


@pytest.mark.parametrize("spelt", [str, str.upper, lambda name: name.replace("_", " "), lambda n: n.replace("_", "-")])
def test_joints_in_another_order_are_sorted_by_their_names(folder, changed, spelt):
    original = read(folder, folder / "annotations.json")
    annotations = changed(lambda truth: sort_by_name(truth, spelt))
    with pytest.warns(Note, match=r"changed.json: its joints are in another order than coco's; they are sor"):
        source = read(folder, annotations)
    for ours, other in zip(original, source, strict=False):
        np.testing.assert_array_equal(ours.keypoints, other.keypoints)
    with pytest.warns(Note, match="another order") as warned:
        assert checked.faults(folder / "images", annotations, COCO) == []
    assert len(warned) == 1
    # What is found comes in our order: results that are right in the original file are right in this one.
    results = [{**person, "score": 1.0} for person in original.ground_truth()["annotations"] if person["num_keypoints"]]
    assert coco_ap.keypoint_ap(source.ground_truth(), results, COCO)["AP"] == pytest.approx(1)


@pytest.mark.filterwarnings("ignore:.*(another order|15 of its 17 joints)")
def test_a_skeleton_may_leave_out_joints_of_the_file(folder, changed):
    """In its own order; who has none of its joints is there without joints, and a row of another length is named."""
    few, original = COCO.subset("right_wrist", "nose"), read(folder, folder / "annotations.json")
    with pytest.warns(
        Note, match=r"15 of its 17 joints are not those of coco_2: left out are left_eye, right_eye, left_"
    ):
        source = coco.CocoFolder(folder / "images", folder / "annotations.json", few, 0.5)
    for ours, other in zip(source, original, strict=True):
        np.testing.assert_array_equal(ours.keypoints, other.keypoints[:, [10, 0]])
    for ours, other in zip(source.ground_truth()["annotations"], original.ground_truth()["annotations"], strict=True):
        assert ours["num_keypoints"] == sum(v > 0 for v in (other["keypoints"][32], other["keypoints"][2]))
    short = changed(lambda truth: truth["annotations"][0].update(keypoints=[1, 2, 2] * 2))
    (fault,) = [one for one in checked.faults(folder / "images", short, few) if "error" in str(one)]
    assert "6 numbers for keypoints; the 17 joints of the file are 51" in str(fault)


FEW = COCO.subset("nose", "left_shoulder", "right_shoulder")
PEOPLE, TOES = list(COCO.keypoint_names), [*COCO.keypoint_names, "toe"]
DOG, HAND = ["nose", "left_shoulder", "right_shoulder", "tail"], ["thumb"]


@pytest.mark.parametrize(
    ("others", "skeleton", "expected"),
    [
        ([DOG], FEW, "2 categories have coco_3's keypoints"),
        ([HAND], FEW, ""),
        ([HAND], COCO, ""),
        ([DOG[:3]], FEW, "other"),  # which has no others
        ([TOES], COCO, ""),  # people of the file have no others
    ],
)
@pytest.mark.filterwarnings("ignore:.*(joints are not those|other categories|another order|as the person category)")
def test_of_several_categories_one_has_the_joints_of_a_smaller_skeleton(folder, others, skeleton, expected):
    """Whatever their order."""
    for flip in (1, -1):
        truth = json.loads((folder / "annotations.json").read_text())
        listed = [{"id": 1, "name": "person", "keypoints": PEOPLE}]
        listed += [{"id": 2 + i, "name": "other", "keypoints": names} for i, names in enumerate(others)]
        truth["categories"] = listed[::flip]
        if expected.startswith("2"):
            with pytest.raises(ValueError, match=expected):
                categories.find_person(truth, folder, skeleton)
        else:
            found = categories.find_person(truth, folder, skeleton)
            assert found.category_id == (2 if expected else 1)


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (POSETRACK, 'joint 2 is "head_bottom", "left_eye" is missing; give a file with coco\'s 17 joints'),
        (["nose", *COCO.keypoint_names[:16]], 'joint 2 is "nose" again, "right_ankle" is missing'),
        (list(COCO.keypoint_names[1:]), '"nose" is missing'),
        ([*COCO.keypoint_names[:16], "neck"], 'joint 17 is "neck", "right_ankle" is missing; give'),
    ],
)
def test_other_joints_are_refused_with_the_first_that_differs(folder, changed, names, line):
    annotations = changed(lambda truth: truth["categories"][0].update(keypoints=names))
    for use in (read, lambda folder, path: checked.faults(folder / "images", path, COCO)):
        with pytest.raises(ValueError, match=r'category "person" .id 1. has other joints than coco: ') as error:
            use(folder, annotations)
        assert line in str(error.value)


@pytest.mark.parametrize("given", ["absent", None, [], [{"id": 1, "name": "person"}]])
def test_joints_without_names_are_assumed_to_be_in_our_order_with_a_warning(folder, changed, given):
    def change(truth):
        truth["categories"] = given
        if given == "absent":
            del truth["categories"]

    annotations = changed(change)
    with pytest.warns(Note, match="`categories` names no joints; they are assumed to be in coco") as warned:
        source = read(folder, annotations)
    assert len(warned) == 1
    np.testing.assert_array_equal(source[0].keypoints, read(folder, folder / "annotations.json")[0].keypoints)


def test_a_category_of_any_name_and_id_with_our_joints_is_the_person_category(folder, changed):
    def change(truth):
        truth["categories"][0].update(id=7, name="worker")
        for person in truth["annotations"]:
            person["category_id"] = 7

    annotations = changed(change)
    with pytest.warns(Note, match=r'changed.json: category "worker" .id 7. is used as the person category'):
        source = read(folder, annotations)
    results = [{**person, "score": 1.0} for person in source.ground_truth()["annotations"] if person["num_keypoints"]]
    assert {result["category_id"] for result in results} == {1}  # COCO's, as in all results
    assert coco_ap.keypoint_ap(source.ground_truth(), results, COCO)["AP"] == pytest.approx(1)


def car(truth, **fields):
    """Two annotations of another listed category."""
    truth["categories"].insert(0, {"id": 3, "name": "car"})
    template = {"image_id": 0, "category_id": 3, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}
    truth["annotations"] += [{**template, "id": 900 + i, **fields} for i in range(2)]


def test_annotations_of_other_categories_are_left_out_and_counted(folder, changed):
    annotations = changed(car)
    line = r'changed.json: 2 annotations of other categories are left out .*"car" .id 3.: 2'
    with pytest.warns(Note, match=line):
        source = read(folder, annotations)
    assert len(source[0].boxes_xyxy) == len(read(folder, folder / "annotations.json")[0].boxes_xyxy)
    with pytest.warns(Note, match=line):
        assert checked.faults(folder / "images", annotations, COCO) == []


def test_an_annotation_of_another_category_with_joints_is_a_fault(folder, changed):
    annotations = changed(lambda truth: car(truth, keypoints=[3, 3, 2] * 17))
    assert checked.faults(folder / "images", annotations, COCO) == [
        f"error: annotation {i} (000000000000.jpg): category_id is 3, not 1, the person category" for i in (900, 901)
    ]


def test_of_several_categories_with_joints_the_one_with_ours_is_the_person_category(folder, changed):
    def change(truth):
        car(truth, keypoints=[3, 3, 2] * 5)
        truth["categories"][0].update(name="dog", keypoints=["nose", "tail", "left_paw", "right_paw", "back"])
        sort_by_name({"categories": truth["categories"][1:], "annotations": truth["annotations"][:-2]})

    annotations = changed(change)
    with pytest.warns(Note, match=r"changed\.json") as warned:
        source = read(folder, annotations)
    sort, left_out = [str(warning.message) for warning in warned]
    assert "another order" in sort
    assert '2 annotations of other categories are left out ("dog" (id 3): 2)' in left_out
    for ours, other in zip(read(folder, folder / "annotations.json"), source, strict=False):
        np.testing.assert_array_equal(ours.keypoints, other.keypoints)
    with pytest.warns(Note, match=r"changed\.json") as warned:
        assert checked.faults(folder / "images", annotations, COCO) == []
    assert len(warned) == 2


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        (
            [
                {"id": 1, "name": "person", "keypoints": list(COCO.keypoint_names)},
                {"id": 2, "name": "player", "keypoints": list(COCO.keypoint_names[::-1])},
            ],
            r'2 categories have coco\'s keypoints: "person" .id 1., "player" .id 2.; leave only the one for people',
        ),
        (
            [{"id": 1, "name": "cat", "keypoints": ["ear"]}, {"id": 2, "name": "dog", "keypoints": ["tail"]}],
            r'category "cat" .id 1. has other joints than coco: joint 1 is "ear"',
        ),
        ({"1": "person"}, "`categories` is not a list"),
        (["person"], "an entry of `categories` has no whole number as its id"),
        ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "two categories have the id 1"),
        ([{"id": 1, "name": "person", "keypoints": {"nose": 1}}], "its keypoints are not a list of names"),
    ],
)
def test_categories_that_cannot_be_understood_are_refused(folder, changed, categories, message):
    annotations = changed(lambda truth: truth.update(categories=categories))
    with pytest.raises(ValueError, match=message):
        read(folder, annotations)


def test_image_ids_of_eleven_digits_are_read_and_scored(folder, changed):
    def change(truth):
        for entry in truth["images"]:
            entry["id"] += 10_034_180_000
        for person in truth["annotations"]:
            person["image_id"] += 10_034_180_000

    source = read(folder, changed(change))
    assert source[0].image_id == source.image_ids[0] == 10_034_180_000
    results = [{**person, "score": 1.0} for person in source.ground_truth()["annotations"] if person["num_keypoints"]]
    assert coco_ap.keypoint_ap(source.ground_truth(), results, COCO)["AP"] == pytest.approx(1)


def test_labels_belong_to_the_rotated_image_if_its_size_says_so(folder, tmp_path):
    """Three images stored 8 wide and 6 high, to be shown 6 wide and 8 high; the JSON of two has the size as shown."""
    (tmp_path / "images").mkdir()
    turn = Image.Exif()
    turn[0x0112] = 6  # the first row of the file is at the right
    stored = np.zeros((6, 8, 3), np.uint8)
    stored[0] = 255
    sizes = {1: (8, 6), 2: (8, 6), 3: (6, 8)}
    for number in sizes:
        stored[3:] = 10 * number  # no two are copies
        Image.fromarray(stored).save(tmp_path / f"images/{number}.png", exif=turn)
    images = [{"id": i, "file_name": f"{i}.png", "height": h, "width": w} for i, (h, w) in sizes.items()]
    joints = [3, 4, 2, *[0] * 48]
    person = {"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4], "area": 5, "keypoints": joints, "category_id": 1}
    category = {"id": 1, "name": "person", "keypoints": list(COCO.keypoint_names)}
    content = {"images": images, "annotations": [person], "categories": [category]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    line = "3 of 3 images have an EXIF orientation other than 1; 2 are rotated accordingly, .*; 1 stay as stored"
    with pytest.warns(UserWarning, match=line):
        source = read(tmp_path, tmp_path / "a.json")
    assert source.sizes.tolist() == [list(sizes[i]) for i in (1, 2, 3)]
    assert [source[i].image.shape[:2] for i in range(3)] == list(sizes.values())
    assert source[0].image[:, -1].min() == 255
    np.testing.assert_array_equal(source[2].image, stored)
    dataset = annotations.read(tmp_path / "images", tmp_path / "a.json", COCO)
    found = check.faults(dataset, image_facts.read(check.files_of(dataset), 1))
    assert [one.kind for one in found] == ["exif-orientation", "without-people"]
    assert re.match(line, found[0].message)

"""A dataset with one fault of each kind: each is found once, and the repaired file has none of them."""

import copy
import json
import re
import shutil
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from inspose_jax.data import check, image_facts, repair
from inspose_jax.data.annotations import Dataset
from inspose_jax.data.coco import CocoFolder
from inspose_jax.skeletons import COCO

HEIGHT, WIDTH = 24, 32


class Kind(NamedTuple):
    """A kind of fault: how it comes into image and person `i` of a good dataset, what is found, and what --fix does."""

    break_it: Callable[[dict[str, Any], int, Any], object]  # content, i, folder
    severity: str
    kind: str
    entry: str
    text: str  # of the message
    done: list[str]  # the changes that concern the image or person, in part


def image(**fields):
    return lambda content, i, folder: content["images"][i].update(fields)


def person(**fields):
    return lambda content, i, folder: content["annotations"][i].update(fields)


def joints(*first, number=17):
    """Keypoints with these numbers first; all others as they are in a good person, the last joint unlabelled."""
    good = [x for k in range(number - 1) for x in (4 + k, 3 + k, 2)] + [0, 0, 0]
    return [*first, *good[len(first) :]]


def path(content, i, folder):
    return folder / content["images"][i]["file_name"]


def truncated(content, i, folder):
    path(content, i, folder).write_bytes(path(content, i, folder).read_bytes()[:-20])


def copied(content, i, folder):
    """Image i is a copy of the next one, with the same labels."""
    shutil.copy(path(content, i + 1, folder), path(content, i, folder))


def copied_pixels(content, i, folder):
    """Image i is another file of the next one's pixels, without people; that of i is now elsewhere."""
    content["images"][i]["file_name"] = f"{i}.bmp"
    Image.open(path(content, i + 1, folder)).save(path(content, i, folder))
    content["annotations"][i] |= {"image_id": content["images"][i + 1]["id"], "keypoints": joints(5)}


def other_labels(content, i, folder):
    copied(content, i, folder)
    content["annotations"][i]["bbox"] = [1, 1, 20, 20]


def leaked(content, i, folder):
    (folder / "val").mkdir(exist_ok=True)
    shutil.copy(path(content, i, folder), folder / "val/x.png")


def again(kind, **fields):
    return lambda content, i, folder: content[kind].append({**content[kind][i], **fields})


ID, NEXT = "image {image} ", "image {next} "
PERSON = "annotation {person} "
KINDS = {
    "truncated": Kind(truncated, "error", "file", "image", "not an image that can be read", [ID + "; with 1 ann"]),
    "no image": Kind(
        lambda content, i, folder: path(content, i, folder).write_text("<html>"),
        *("error", "file", "image", "not an image that can be read", [ID + "; with 1 annotation"]),
    ),
    "missing": Kind(
        lambda content, i, folder: path(content, i, folder).unlink(),
        *("error", "file", "image", "no such image", [ID + "no such image; check the path; with 1 annotation"]),
    ),
    "size": Kind(image(height=25), "error", "size", "image", "the file has (24, 32), but", [ID + "the file has"]),
    "name": Kind(image(file_name="../a.png"), "error", "entry", "image", "file_name is", [ID + "file_name is"]),
    "listed twice": Kind(again("images"), "error", "entry", "image", "another image has the same", [ID + "listed tw"]),
    "copy": Kind(copied, "warning", "copy", "image", "the same file as image", [NEXT + "a copy of image"]),
    "copy without people": Kind(
        copied_pixels, "error", "copy-with-other-labels", "image", "the same pixels as image", [ID + "a copy of image"]
    ),
    "other labels": Kind(
        other_labels,
        *("error", "copy-with-other-labels", "image", "the same file as image"),
        [ID + "copies with different labels", NEXT + "copies with different labels"],
    ),
    "leak": Kind(leaked, "error", "leak", "image", "the same file as ", [ID + "the same file as "]),
    "outside": Kind(
        person(keypoints=joints(5, 3, 2, 5, 30, 2), num_keypoints=16),
        *("error", "joint-outside", "annotation", "outside the image: left_eye"),
        [PERSON + "now unlabelled: left_eye"],
    ),
    "at (0, 0)": Kind(
        person(keypoints=joints(5, 3, 2, 0, 0, 2), num_keypoints=16),
        *("warning", "joint-at-origin", "annotation", "joints that are missing: left_eye"),
        [PERSON + "now unlabelled: left_eye"],
    ),
    "box": Kind(
        person(bbox=[5, 5, 0, 9]),
        "warning",
        "no-box",
        "annotation",
        "[5, 5, 0, 9] has no area",
        [PERSON + "its box is"],
    ),
    "NaN": Kind(
        person(keypoints=joints(float("nan"))),
        *("error", "entry", "annotation", "not all finite", [PERSON + "its keypoints cannot be used"]),
    ),
    "wrong K": Kind(
        person(keypoints=[1, 1, 2] * 14),
        *("error", "entry", "annotation", "42 numbers for keypoints", [PERSON + "its keypoints cannot be used"]),
    ),
    "visibility": Kind(
        person(keypoints=joints(4, 3, 3)),
        *("error", "visibility", "annotation", "or 2, but nose has 3", [PERSON + "now unlabelled: nose"]),
    ),
    "number": Kind(
        person(num_keypoints=3),
        *(
            "warning",
            "num-keypoints",
            "annotation",
            "num_keypoints is 3, but 16 are",
            [PERSON + "num_keypoints is now 16"],
        ),
    ),
    "area": Kind(
        person(area=0),
        "error",
        "entry",
        "annotation",
        "area is 0; OKS",
        [PERSON + "its area is now 0.53 x the area of the box"],
    ),
    "bad box": Kind(
        person(bbox=[5, 5, -2, 9]), "error", "entry", "annotation", "bbox is [5, 5, -2, 9]", [PERSON + "its box is now"]
    ),
    "crowd": Kind(person(iscrowd="no"), "error", "entry", "annotation", "iscrowd is", [PERSON + "iscrowd is now 1"]),
    "same person": Kind(again("annotations"), "error", "entry", "annotation", "the same id", [PERSON + "listed twice"]),
    "same id": Kind(
        again("annotations", keypoints=joints(5)),
        "error",
        "entry",
        "annotation",
        "the same id",
        [PERSON + "its id is now "],
    ),
    "twice": Kind(
        again("annotations", id=2000, area=50),
        *("warning", "person-twice", "annotation", "the same joints as annotation {person}"),
        ["annotation 2000 the same joints as annotation {person}"],
    ),
    "no joints, no box": Kind(
        person(bbox=[40, 5, 3, 9], keypoints=[0] * 51, num_keypoints=0),
        *("warning", "no-box", "annotation", "no area inside", [PERSON + "it has neither joints nor a box"]),
    ),
    "category": Kind(
        person(category_id=7), "error", "entry", "annotation", "category_id is 7", [PERSON + "its category is not 1"]
    ),
    "not listed": Kind(
        person(image_id=7), "error", "entry", "annotation", "its image 7 is not listed", [PERSON + "not listed"]
    ),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder and the content of a dataset: three images for each kind, one person in each."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    images, people = [], []
    for i in range(3 * len(KINDS)):
        pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        images.append({"id": 100 + i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH})
        people.append(
            {"id": 1000 + i, "image_id": 100 + i, "category_id": 1, "bbox": [3, 2, 18, 18], "area": 99}
            | {"keypoints": joints(), "num_keypoints": 16, "iscrowd": 0}
        )
    category = {"id": 1, "name": "person", "keypoints": list(COCO.keypoint_names)}
    return folder, {"info": {"year": 2026}, "images": images, "annotations": people, "categories": [category]}


class Broken(NamedTuple):
    """A dataset and what the check found."""

    dataset: Dataset
    facts: Any
    others: Any
    found: list[check.Fault]


def broken(good, tmp_path, *names):
    """A copy of the good dataset, with each fault in three images and people of its own."""
    source, content = good
    folder, content = tmp_path / "images", copy.deepcopy(content)
    shutil.copytree(source, folder)
    for name in names:
        KINDS[name].break_it(content, 3 * list(KINDS).index(name), folder)
    dataset = Dataset(content, folder, COCO)
    facts = image_facts.read(check.files_of(dataset), 2)
    others = image_facts.read(image_facts.on_disk(sorted(folder.glob("val/*"))), 1)
    return Broken(dataset, facts, others, check.faults(dataset, facts, others))


def ids(name):
    i = 3 * list(KINDS).index(name)
    return {"image": 100 + i, "next": 101 + i, "person": 1000 + i}


def is_of(fault, name):
    """Whether a fault is the one that is expected of this kind."""
    kind, i = KINDS[name], 3 * list(KINDS).index(name)
    # Of two copies the later one is named.
    own = i + 1 if name in ("copy", "copy without people", "other labels") else i
    place = own if fault.index is not None and fault.index < 3 * len(KINDS) else fault.index
    identity = 2000 if name == "twice" else (100 if kind.entry == "image" else 1000) + own
    text = kind.text.format(**ids(name))
    return fault[:5] == (kind.severity, kind.kind, kind.entry, place, identity) and text in fault.message


LAST = "warning: joint right_ankle is never labelled; the model cannot learn it"


def test_the_good_dataset_has_no_fault_but_the_joint_that_is_never_labelled(good, tmp_path):
    assert [fault.line() for fault in broken(good, tmp_path).found] == [LAST]


def test_each_kind_of_fault_is_found_once_and_nothing_else(good, tmp_path):
    found = [fault for fault in broken(good, tmp_path, *KINDS).found if fault.entry != "dataset"]
    assert len(found) == len(KINDS), [fault.line() for fault in found]
    for name in KINDS:
        assert sum(is_of(fault, name) for fault in found) == 1, name
    severities = [fault.severity for fault in found]
    assert severities == sorted(severities)  # errors come first


def test_the_repaired_dataset_passes_and_can_be_trained_on(good, tmp_path):
    dataset, facts, others, found = broken(good, tmp_path, *KINDS)
    before = copy.deepcopy(dataset.content)
    clean, changes, errors = repair.repaired(dataset, facts, others, found)
    np.testing.assert_equal(dataset.content, before)  # NaN equals NaN here
    assert errors == []
    left = check.faults(clean, facts, others)
    assert {fault.kind for fault in left} == {"joint-never-labelled", "without-people"}
    lines = [change.line() for change in changes]
    for name, kind in KINDS.items():
        for wanted in kind.done:
            who, _, what = wanted.format(**ids(name)).partition(" ")
            number, _, what = what.partition(" ")
            matching = [line for line in lines if re.search(rf": {who} {number}\b", line) and what in line]
            assert len(matching) == 1, (name, wanted, lines)
    assert len(lines) == sum(len(kind.done) for kind in KINDS.values())
    number = ids("listed twice")["image"]
    assert f"dropped: image {number} ({number - 100}.png): listed twice" in lines  # and its people stay
    (tmp_path / "clean.json").write_text(json.dumps(clean.content))
    source = CocoFolder(dataset.images, tmp_path / "clean.json", COCO, 0.5)
    dropped = (
        sum(change.action == "dropped" and change.entry == "image" for change in changes) - 1
    )  # one was there twice
    assert len(source) == 3 * len(KINDS) - dropped
    for index in range(len(source)):
        source[index]
    assert clean.content["info"] == dataset.content["info"]


def test_good_entries_stay_as_they_are(good, tmp_path):
    dataset, facts, others, found = broken(good, tmp_path)
    clean, changes, errors = repair.repaired(dataset, facts, others, found)
    assert (changes, errors) == ([], [])
    assert clean.content["images"] == dataset.content["images"]
    assert clean.content["annotations"] == dataset.content["annotations"]
    assert clean.content["categories"][0]["keypoints"] == list(COCO.keypoint_names)
    assert clean.content["categories"][0]["skeleton"][0] == [16, 14]


def test_what_is_wrong_with_a_person_is_replaced_by_what_the_rest_says(good, tmp_path):
    dataset, facts, others, found = broken(good, tmp_path, "outside", "bad box", "area", "wrong K", "visibility")
    clean, _, errors = repair.repaired(dataset, facts, others, found)
    assert errors == []
    people = {person["id"]: person for person in clean.content["annotations"]}
    outside = people[ids("outside")["person"]]
    assert outside["keypoints"] == joints(5, 3, 2, 0, 0, 0)
    assert people[ids("visibility")["person"]]["keypoints"] == joints(0, 0, 0)
    assert people[ids("bad box")["person"]]["bbox"] == [4, 3, 16, 16]  # joints in the pixels (4, 3) to (19, 18)
    assert people[ids("area")["person"]]["area"] == pytest.approx(0.53 * 18 * 18)
    wrong = people[ids("wrong K")["person"]]
    assert (wrong["keypoints"], wrong["num_keypoints"], wrong["bbox"]) == ([0] * 51, 0, [3, 2, 18, 18])


def test_two_images_with_one_id_are_both_dropped(good, tmp_path):
    dataset, facts, others, _ = broken(good, tmp_path)
    dataset.content["images"][1]["id"] = 100
    found = check.faults(dataset, facts, others)
    clean, changes, errors = repair.repaired(dataset, facts, others, found)
    assert [(change.entry, change.id, change.file) for change in changes[:2]] == [
        ("image", 100, "0.png"),
        ("image", 100, "1.png"),
    ]
    assert [change.line() for change in changes[2:]] == ["dropped: annotation 1001: its image is not listed"]
    assert errors == []
    assert not {100, 101} & {person["image_id"] for person in clean.content["annotations"]}


def test_what_concerns_the_whole_file_is_not_repaired(good, tmp_path):
    dataset, facts, others, _ = broken(good, tmp_path)
    for person in dataset.content["annotations"]:
        person["keypoints"] = [number / 40 if k % 3 < 2 else number for k, number in enumerate(person["keypoints"])]
    found = check.faults(dataset, facts, others)
    *_, errors = repair.repaired(dataset, facts, others, found)
    assert [error.kind for error in errors] == ["coordinates"]


def test_that_no_image_is_left_is_an_error_that_remains(good, tmp_path):
    dataset, facts, others, _ = broken(good, tmp_path)
    for image in dataset.content["images"]:
        image["height"] = 99
    found = check.faults(dataset, facts, others)
    clean, _, errors = repair.repaired(dataset, facts, others, found)
    assert [error.kind for error in errors] == ["no-joints"]
    assert clean.content["images"] == []

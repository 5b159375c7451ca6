"""List every fault of a dataset that would stop a training run or silently spoil it, each once, by severity."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from inspose_jax.data import annotations as annotation_file
from inspose_jax.data import coordinates, copies, image_facts, orientation
from inspose_jax.data.annotations import Dataset
from inspose_jax.data.category_skeleton import NO_FLIP, OTHER_SIDE, flip_pairs, words_of
from inspose_jax.data.image_facts import ImageFacts
from inspose_jax.data.orientation import UNCLEAR
from inspose_jax.data.values import LEFT_OUT, NO_IMAGE, NOT_READ, READ_FROM, is_inside
from inspose_jax.errors import NotFound
from inspose_jax.skeletons import Skeleton

SEVERITIES = ("error", "warning", "remark")
FEWEST_PEOPLE = 20  # with labelled joints, before a joint that none of them has is worth a warning
LABELLED_AS_DISPLAYED = ("CVAT", "Label Studio")  # tools in which people are labelled in the image as displayed
LEFT_OUT_MESSAGE = f"left out, since by its EXIF orientation it is {UNCLEAR}; save it upright to use it"
OUTSIDE, NO_BOX, OTHER_LABELS, TWICE = "joint-outside", "no-box", "copy-with-other-labels", "person-twice"  # kinds

Facts = Mapping[Path, ImageFacts]


class Fault(NamedTuple):
    """A fault of a dataset.

    An error would stop training or evaluation, or make the model learn something wrong; a warning names what is
    probably not meant; a remark is only worth knowing.
    """

    severity: Literal["error", "warning", "remark"]
    kind: str  # a stable name for programs
    entry: Literal["image", "annotation", "dataset"]  # what has the fault
    index: int | None  # its place in the list `images` or `annotations`; None for the dataset
    id: Any  # as the file gives it; None for the dataset, or if there is none
    file: str  # the name of the image's file; empty if unknown
    message: str
    read_from: str = ""  # the file and line that the entry was read from, if it does not stand in a COCO file

    def line(self) -> str:
        """The fault on one line."""
        what = "" if self.entry == "dataset" else f"{name_of(self.entry, self.id, self.file, self.read_from)}: "
        return f"{self.severity}: {what}{self.message}"


class Entries(NamedTuple):
    """The well-formed entries of a file, by their index, and the faults of the others."""

    images: dict[int, dict[str, Any]]
    annotations: dict[int, dict[str, Any]]
    by_id: dict[Any, dict[str, Any]]  # the well-formed images
    faults: list[Fault]


def files_of(dataset: Dataset) -> image_facts.Files:
    """The image files that a dataset lists, each once, except those with a name that is none."""
    entries = (entry for entry in dataset.content["images"] if isinstance(entry, dict))
    names = (entry["file_name"] for entry in entries if is_inside(entry.get("file_name")))
    return image_facts.on_disk(dataset.images / name for name in names)


def refuse_without_images(files: image_facts.Files, name: Path) -> None:
    """Raise NotFound if none of the image files of a dataset is there, since then their folder is at fault."""
    if files and not any(path.is_file() for path in files):
        raise NotFound(
            f"{name}: none of the images that it lists ({len(files)}) is there, such as {next(iter(files))}; put them "
            f"there, or give their folder with --images and the labels with --annotations"
        )


def faults(dataset: Dataset, facts: Facts, others: Facts | None = None) -> list[Fault]:
    """Every fault of a dataset of any kind, errors first, in the order of the file; empty for a good one.

    `facts` are those of its image files (`files_of`, read by `image_facts`), and `others` the images of other splits,
    which this one must not contain.
    """
    content, images, skeleton, tool = dataset
    entries = well_formed(content, skeleton)
    known = {index: facts[images / entry["file_name"]] for index, entry in entries.images.items()}
    labels = labels_of_people(entries, skeleton)
    about_all = coordinates.findings(labels)
    explained = {OUTSIDE} if any(finding.explains_outside for finding in about_all) else set()
    explained |= {NO_BOX} if about_all else set()
    found = entries.faults
    for index, entry in entries.images.items():
        wrong = file_faults(entry, known[index], is_as_displayed=tool in LABELLED_AS_DISPLAYED)
        found += [about("image", index, entry, entry, *what) for what in wrong]
    for path in content.get(LEFT_OUT, ()):
        found.append(Fault("warning", "exif-orientation", "image", None, None, path, LEFT_OUT_MESSAGE, path))
    for path in content.get(NO_IMAGE, ()):
        message = "its image is not there, or is of a kind that is not read; its people are lost"
        found.append(Fault("warning", "label-without-image", "image", None, None, path, message, path))
    found += copy_faults(content, entries, known)
    found += leaks(entries, known, others or {})
    for index, entry in entries.annotations.items():
        image = entries.by_id.get(entry["image_id"])
        wrong = label_faults(entry, size_of(image) if image else None, skeleton)
        found += [about("annotation", index, entry, image, *what) for what in wrong if what[1] not in explained]
    found += [about_dataset("error", "coordinates", finding.line) for finding in about_all]
    found += flip_faults(skeleton, "flip_pairs" in content["categories"][0])
    found += never_labelled(labels, skeleton, any(one.severity == "error" for one in found))
    if not about_all and (remark := coordinates.remark(labels, skeleton)):
        found.append(about_dataset("warning", "posture", remark))
    if not about_all and (remark := coordinates.beside_boxes(labels)):
        found.append(about_dataset("warning", "joints-beside-boxes", remark))
    found += twice_in_an_image(entries)
    faulty = {one.index for one in found if one.entry == "image" and one.kind in ("file", "exif-orientation")}
    headers = [(known[i].header, size_of(entry)) for i, entry in entries.images.items() if i not in faulty]
    if remark := orientation.remark(headers, len(headers)):
        found.append(about_dataset("remark", "exif-orientation", remark))
    found += without_people(content, entries)
    return sorted(found, key=lambda one: (SEVERITIES.index(one.severity), one.entry != "dataset"))


def well_formed(content: dict[str, Any], skeleton: Skeleton) -> Entries:
    """Sort out the entries of a file that break a rule of annotation files."""
    found = Entries({}, {}, {}, [])
    malformed: list[tuple[Literal["image", "annotation"], int, Any, list[str]]] = []
    for number, (kind, entry, wrong) in enumerate(annotation_file.check_entries(content, skeleton)):
        is_image = kind == "image"
        index = number if is_image else number - len(content["images"])
        if wrong:
            malformed.append(("image" if is_image else "annotation", index, entry, wrong))
        elif is_image:
            found.images[index] = found.by_id[entry["id"]] = entry
        else:
            found.annotations[index] = entry
    for kind, index, entry, wrong in malformed:  # only now are the images of all annotations known
        image = entry if kind == "image" else found.by_id.get(field_of(entry, "image_id"))
        fault = "file" if kind == "image" and field_of(entry, NOT_READ) else "entry"
        found.faults.extend(about(kind, index, entry, image, "error", fault, message) for message in wrong)
    return found


def about(
    kind: Literal["image", "annotation"], index: int, entry: Any, image: Any, severity: Any, fault: str, message: str
) -> Fault:
    """A fault of an entry; `image` is the entry of its image, None if there is none."""
    file = image.get("file_name") if isinstance(image, dict) else None
    identity = entry.get("id") if isinstance(entry, dict) else None
    file = file if isinstance(file, str) else ""
    return Fault(severity, fault, kind, index, identity, file, message, read_from(entry))


def read_from(entry: Any) -> str:
    """The file and line that an entry was read from; empty for one of a COCO file."""
    return str(field_of(entry, READ_FROM) or "")


def field_of(entry: Any, name: str) -> int | str | None:
    """The id or text in a field of an entry, which may be any JSON; None if there is none."""
    identity = entry.get(name) if isinstance(entry, dict) else None
    return identity if isinstance(identity, int | str) and not isinstance(identity, bool) else None


def size_of(image: dict[str, Any]) -> tuple[int, int]:
    """The (height, width) of an image entry."""
    return image["height"], image["width"]


def name_of(entry: str, identity: Any, file: str, read_from: str) -> str:
    """How a line names an entry: `annotation 7 (a.jpg)`, or where it was `read_from`, such as `a.txt, line 3`."""
    if read_from:
        return read_from
    shown = "?" if identity is None else annotation_file.shortened(identity)
    return f"{entry} {shown} ({file})" if file else f"{entry} {shown}"


def about_dataset(severity: Any, kind: str, message: str) -> Fault:
    """A fault of the dataset as a whole."""
    return Fault(severity, kind, "dataset", None, None, "", message)


def labels_of_people(entries: Entries, skeleton: Skeleton) -> coordinates.Labels:
    """The labels of all people but crowds, as arrays."""
    people = [
        (person.get("keypoints") or [], person["bbox"], size_of(entries.by_id[person["image_id"]]))
        for person in entries.annotations.values()
        if person["image_id"] in entries.by_id and not person.get("iscrowd")
    ]
    return coordinates.stack(people, skeleton.num_keypoints)


def file_faults(entry: dict[str, Any], facts: ImageFacts, is_as_displayed: bool) -> Iterable[tuple[str, str, str]]:
    """Severity, kind and message of the faults of a well-formed image entry's file.

    `is_as_displayed` tells whether people were labelled in the image as it is displayed.
    """
    if facts.fault:
        yield "error", "file", facts.fault
    elif size_of(entry) not in facts.sizes():
        yield "error", "size", f"the file has {facts.size}, but the JSON says {size_of(entry)} (height, width)"
    elif is_as_displayed and orientation.displayed_size(facts.header) is None:
        message = f"was labelled as displayed, but is read as stored, since by its EXIF orientation it is {UNCLEAR}"
        yield "error", "exif-orientation", f"{message}; save it upright"


def copy_faults(content: dict[str, Any], entries: Entries, known: dict[int, ImageFacts]) -> Iterable[Fault]:
    """The images that are in the dataset twice."""
    twice = copies.within(known.items())
    labels = labels_by_image(content) if twice else {}
    for index, (first, what) in twice.items():
        entry, original = entries.images[index], entries.images[first]
        name = f"{what} as image {original['id']} ({original['file_name']})"
        if labels[entry["id"]] == labels[original["id"]]:
            yield about("image", index, entry, entry, "warning", "copy", f"{name}; it counts twice")
        else:
            message = f"{name}, with other labels; who is labelled in only one of them is background in the other"
            yield about("image", index, entry, entry, "error", OTHER_LABELS, message)


def leaks(entries: Entries, known: dict[int, ImageFacts], others: Facts) -> Iterable[Fault]:
    """The images that are in another split too."""
    elsewhere = copies.by_content(others.items())
    for index, entry in entries.images.items():
        if match := copies.same(known[index], elsewhere):
            message = f"{match[1]} as {match[0]}, in another split; a split must not contain another's images"
            yield about("image", index, entry, entry, "error", "leak", message)


def labels_by_image(content: dict[str, Any]) -> dict[Any, list[str]]:
    """What is labelled in each image, by its id, so that two images can be compared."""
    found: dict[Any, list[str]] = defaultdict(list)
    for entry in content["annotations"]:
        if (image_id := field_of(entry, "image_id")) is not None:
            fields = {name: entry.get(name) for name in ("keypoints", "bbox", "iscrowd")}
            found[image_id].append(json.dumps(fields))
    for labels in found.values():
        labels.sort()
    return found


def label_faults(
    person: dict[str, Any], size: tuple[int, int] | None, skeleton: Skeleton
) -> Iterable[tuple[str, str, str]]:
    """Severity, kind and message of the faults of a well-formed annotation; `size` is (height, width), if known."""
    joints = np.array(person.get("keypoints") or [], float).reshape(-1, 3)
    if wrong := visibility_fault(joints, skeleton):
        yield "error", "visibility", wrong
    if size is not None and (outside := skeleton.names_of(are_outside(joints, size))):
        yield "error", OUTSIDE, f"a labelled joint lies outside the image: {outside}"
    if missing := skeleton.names_of(are_at_origin(joints)):
        yield "warning", "joint-at-origin", f"labelled at (0, 0), where tools put joints that are missing: {missing}"
    if size is not None and not has_area(person["bbox"], size):
        yield "warning", NO_BOX, f"its box {annotation_file.shortened(person['bbox'])} has no area inside the image"
    labelled = int((joints[:, 2] > 0).sum())
    if person.get("num_keypoints", labelled) != labelled:
        yield "warning", "num-keypoints", f"num_keypoints is {person['num_keypoints']}, but {labelled} are labelled"


def has_visibility(joints: np.ndarray) -> np.ndarray:
    """bool[K]: which of the joints f[K,3] have a visibility of 0, 1 or 2."""
    visibility = joints[:, 2]
    return (visibility == 0) | (visibility == 1) | (visibility == 2)


def visibility_fault(joints: np.ndarray, skeleton: Skeleton) -> str:
    """Which of the joints f[K,3] have a wrong visibility, as text; empty if none has."""
    names = skeleton.keypoint_names
    wrong = [f"{names[k]} has {joints[k, 2]:g}" for k in np.flatnonzero(~has_visibility(joints)).tolist()]
    return f"visibility must be 0, 1 or 2, but {', '.join(wrong[:3])}{', ..' * (len(wrong) > 3)}" if wrong else ""


def are_outside(joints: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """bool[K]: which of the joints f[K,3] are labelled, but outside an image of this (height, width)."""
    # Allow half a pixel: some files count from pixel centres, some from pixel corners.
    return (joints[:, 2] > 0) & ((joints[:, :2] < -0.5) | (joints[:, :2] > size[::-1])).any(1)


def are_at_origin(joints: np.ndarray) -> np.ndarray:
    """bool[K]: which of the joints f[K,3] are labelled at (0, 0) exactly, where hardly ever a joint is."""
    return (joints[:, 2] > 0) & (joints[:, :2] == 0).all(1)


def has_area(box: Sequence[int | float], size: tuple[int, int]) -> bool:
    """Whether a box (x, y, width, height) covers a part of an image of this (height, width)."""
    x, y, width, height = box
    return min(x + width, size[1]) > max(x, 0) and min(y + height, size[0]) > max(y, 0)


def twice_in_an_image(entries: Entries) -> Iterable[Fault]:
    """The people with labelled joints who are annotated twice in the same image."""
    first: dict[tuple[Any, ...], Any] = {}
    for index, person in entries.annotations.items():
        numbers = person.get("keypoints") or []
        joints = tuple((k, *numbers[k : k + 3]) for k in range(0, len(numbers), 3) if numbers[k + 2] > 0)
        if not joints:
            continue
        before = first.setdefault((person["image_id"], joints), person)
        if before is not person:
            name = name_of("annotation", before["id"], "", read_from(before))
            message = f"the same joints as {name}; the person counts twice"
            image = entries.by_id.get(person["image_id"])
            yield about("annotation", index, person, image, "warning", TWICE, message)


def flip_faults(skeleton: Skeleton, are_stated: bool) -> Iterable[Fault]:
    """What the names of the joints say about the flip pairs: in a mirrored image a left joint becomes a right one.

    That there are no pairs is suspicious unless the data states it and names its joints: with joints that are only
    numbered, Roboflow states it whether or not they have sides.
    """
    names, order = skeleton.keypoint_names, skeleton.flip_order
    pairs = flip_pairs(names)
    sides_are_named = False
    for joint, other in pairs:
        if order[joint] != other:
            now = "none" if order[joint] == joint else names[order[joint]]
            message = f"the flip partner of {names[joint]} is {now}, not {names[other]}"
            yield about_dataset("error", "flip", f"{message}; correct the flip pairs, or train with {NO_FLIP}")
    for joint in set(range(len(names))) - {joint for pair in pairs for joint in pair}:
        if order[joint] == joint and OTHER_SIDE.keys() & words_of(names[joint]):
            message = f"joint {names[joint]} has no partner on the other side; flips would mix up the sides"
            yield about_dataset("warning", "flip", message)
            sides_are_named = True
    if len(names) > 1 and not (skeleton.flip_pairs or pairs or sides_are_named):
        message = "no two joints change places in a mirrored image; if some are left and right of the same, flips would"
        remedy = (
            "mix up the sides: name them so, write their pairs to flip_pairs (COCO) or flip_idx (YOLO), or train with"
        )
        are_named = len({tuple(word for word in words_of(name) if not word.isdigit()) for name in names}) > 1
        severity = "remark" if are_stated and are_named else "warning"
        yield about_dataset(severity, "flip", f"{message} {remedy} {NO_FLIP}")


def never_labelled(labels: coordinates.Labels, skeleton: Skeleton, has_errors: bool) -> Iterable[Fault]:
    """Joints that nobody has, or that nobody has any at all; the latter only if no other error may explain it."""
    is_labelled = labels.keypoints[..., 2] > 0
    if not is_labelled.any():
        if not has_errors:
            yield about_dataset("error", "no-joints", "no person has a labelled joint")
    elif is_labelled.any(1).sum() >= FEWEST_PEOPLE:
        for joint in np.flatnonzero(~is_labelled.any(0)).tolist():
            message = f"joint {skeleton.keypoint_names[joint]} is never labelled; the model cannot learn it"
            yield about_dataset("warning", "joint-never-labelled", message)


def without_people(content: dict[str, Any], entries: Entries) -> Iterable[Fault]:
    """The share of images in which nobody is annotated."""
    with_people = {field_of(entry, "image_id") for entry in content["annotations"]}
    empty = len(entries.by_id.keys() - with_people)
    if empty:
        share = f"{empty} of {len(entries.by_id)} images ({empty / len(entries.by_id):.0%})"
        message = f"{share} have no people; recipes train on such images only with --config.data.train-images all"
        yield about_dataset("remark", "without-people", message)

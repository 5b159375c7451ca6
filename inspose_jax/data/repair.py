"""Repair a dataset in which the check finds faults: drop or change only what is unambiguous, and say what and why."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from inspose_jax.data import check, copies, person_repair
from inspose_jax.data.annotations import Dataset
from inspose_jax.data.category_skeleton import SIGMA
from inspose_jax.data.check import Facts, Fault, field_of, size_of
from inspose_jax.data.values import LEFT_OUT, NO_IMAGE, NOT_READ, READ_FROM
from inspose_jax.skeletons import PRESETS, Skeleton


class Change(NamedTuple):
    """What was done to one entry, and why."""

    action: Literal["dropped", "changed"]
    entry: Literal["image", "annotation"]
    id: Any  # as the file gives it
    file: str  # the name of the image's file; empty if unknown
    reason: str
    read_from: str = ""  # as in `Fault`

    def line(self) -> str:
        """The change on one line."""
        return f"{self.action}: {check.name_of(self.entry, self.id, self.file, self.read_from)}: {self.reason}"


def repaired(
    dataset: Dataset, facts: Facts, others: Facts, found: Sequence[Fault]
) -> tuple[Dataset, list[Change], list[Fault]]:
    """The dataset without the faults that the check `found`, every change that was made, and the errors that remain.

    The input stays as it is; the other arguments are those of `check.faults`.  What concerns the whole file remains,
    such as exchanged coordinates, and so does that nobody is left.
    """
    content, images, skeleton, _ = dataset
    dropped = images_to_drop(content, images, facts, found)
    number_of_people = Counter(field_of(entry, "image_id") for entry in content["annotations"])
    kept = {entry["id"]: entry for index, entry in enumerate(content["images"]) if index not in dropped}
    gone = {field_of(content["images"][index], "id") for index in dropped} - kept.keys()
    changes = []
    for index, reason in sorted(dropped.items()):
        entry = content["images"][index]
        identity, file = field_of(entry, "id"), entry.get("file_name") if isinstance(entry, dict) else ""
        number = number_of_people[identity] if identity in gone and identity is not None else 0
        reason += f"; with {number} annotation{'s' * (number > 1)}" if number else ""
        file = file if isinstance(file, str) else ""
        changes.append(Change("dropped", "image", identity, file, reason, check.read_from(entry)))
    people, of_people = repaired_people(content, kept, gone, skeleton, found)
    category = {
        **content["categories"][0],
        "name": "person" if skeleton.name in PRESETS else skeleton.name,
        "keypoints": list(skeleton.keypoint_names),
        "skeleton": [[first + 1, second + 1] for first, second in skeleton.limbs],
    }
    if skeleton.flip_pairs:
        category["flip_pairs"] = [list(pair) for pair in skeleton.flip_pairs]
    if skeleton not in PRESETS.values() and set(skeleton.oks_sigmas) != {SIGMA}:  # not what a reader assumes
        category["sigmas"] = list(skeleton.oks_sigmas)
    lists = {"images": list(kept.values()), "annotations": people, "categories": [category]}
    changes += [
        Change("dropped", "image", None, path, check.LEFT_OUT_MESSAGE, path) for path in content.get(LEFT_OUT, ())
    ]
    clean = Dataset(
        {name: value for name, value in content.items() if name not in (LEFT_OUT, NO_IMAGE)} | lists, images, skeleton
    )
    left = [one for one in check.faults(clean, facts, others) if one.severity == "error"]
    return clean, changes + of_people, left


def images_to_drop(content: dict[str, Any], images: Path, facts: Facts, found: Sequence[Fault]) -> dict[int, str]:
    """The index of every image to drop, with the reason."""
    entries, reasons = content["images"], {}
    groups: dict[Any, list[int]] = defaultdict(list)
    for index, entry in enumerate(entries):
        groups[field_of(entry, "id")].append(index)
    for identity, group in groups.items():
        if identity is None or len(group) == 1:
            continue
        if all(entries[index] == entries[group[0]] for index in group):
            reasons |= dict.fromkeys(group[1:], "listed twice")
        else:
            reasons |= dict.fromkeys(group, "another image has the same id, so it is unknown whose people are whose")
    for one in found:
        if one.entry == "image" and one.severity == "error" and one.kind != check.OTHER_LABELS:
            reasons.setdefault(one.index, one.message)
    left = [(i, facts[images / entry["file_name"]]) for i, entry in enumerate(entries) if i not in reasons]
    return reasons | copies_to_drop(content, copies.within(left))


def copies_to_drop(content: dict[str, Any], found: dict[int, copies.Copy]) -> dict[int, str]:
    """Of images with the same content keep the first that has people; none, if the labels of two differ."""
    groups: dict[int, list[int]] = defaultdict(list)
    for index, copy in found.items():
        groups[copy.first].append(index)
    labels = check.labels_by_image(content) if groups else {}
    entries, reasons = content["images"], {}
    for first, others in groups.items():
        group = [first, *others]
        with_people = [index for index in group if labels.get(entries[index]["id"])]
        best = with_people[0] if with_people else first
        if any(labels[entries[index]["id"]] != labels[entries[best]["id"]] for index in with_people):
            reasons |= dict.fromkeys(group, "copies with different labels, and nothing says which are right")
        else:
            reason = f"a copy of image {entries[best]['id']} ({entries[best]['file_name']})"
            reasons |= {index: reason for index in group if index != best}
    return reasons


def repaired_people(
    content: dict[str, Any], kept: dict[Any, dict[str, Any]], gone: set[Any], skeleton: Skeleton, found: Sequence[Fault]
) -> tuple[list[dict[str, Any]], list[Change]]:
    """The annotations of the `kept` images, by id, repaired where the check found a fault, and what was done.

    Nothing is said about those of the images that are `gone`.
    """
    faulty = {one.index for one in found if one.entry == "annotation"}
    twice = {one.index: one.message for one in found if one.kind == check.TWICE}
    category_id = content["categories"][0]["id"]
    ids = [entry.get("id") for entry in content["annotations"] if isinstance(entry, dict)]
    last = max((identity for identity in ids if type(identity) is int), default=0)
    before: dict[Any, dict[str, Any]] = {}  # everybody who is kept, by id, as in the input
    people, changes = [], []
    for index, entry in enumerate(content["annotations"]):
        image_id, identity = field_of(entry, "image_id"), field_of(entry, "id")
        if image_id is not None and image_id in gone:
            continue
        person, done = entry, []
        if index in faulty:
            reason = twice.get(index) or reason_to_drop(entry, kept, category_id)
            if identity in before and before[identity] == entry:
                reason = "listed twice"
            if reason:
                person, done = None, [reason]
            else:
                person, done = person_repair.repaired(entry, size_of(kept[image_id]), skeleton)
            if person and (identity is None or identity in before):
                last += 1
                person["id"] = last
                done.append(f"its id is now {last}")
            file = kept[image_id]["file_name"] if image_id in kept else ""
            action = "changed" if person else "dropped"
            changes += [Change(action, "annotation", identity, file, reason, check.read_from(entry)) for reason in done]
        if person:  # who stands in the new file from now on
            people.append({name: value for name, value in person.items() if name != READ_FROM})
            before[person["id"]] = entry
    return people, changes


def reason_to_drop(entry: Any, kept: dict[Any, dict[str, Any]], category_id: int) -> str:
    """Why an annotation cannot be that of a person in a `kept` image; empty if it can."""
    if not isinstance(entry, dict):
        return "not an object with fields"
    if field_of(entry, "image_id") not in kept:
        return "its image is not listed"
    if NOT_READ in entry and "bbox" not in entry:
        return entry[NOT_READ]
    if field_of(entry, "category_id") != category_id:
        return f"its category is not {category_id}, the person category"
    return ""

"""Find the person category of a COCO file and the order of its joints."""

import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from inspose_jax.errors import UserError
from inspose_jax.skeletons import Skeleton

PERSON_ID = 1  # COCO's own


class Person(NamedTuple):
    """What `categories` says about people."""

    category_id: int
    order: tuple[int, ...]  # for each joint of our skeleton, its index in the file
    remarks: tuple[str, ...]  # what the user should know, one line each


def find_person(content: dict[str, Any], path: Path, skeleton: Skeleton) -> Person:
    """Find the one category that has the joints of `skeleton`, in any order; raises UserError if there is none.

    If no category names its joints, they are assumed to be in the order of the skeleton, and the category is the one
    shared by all annotations with keypoints, or COCO's own id 1 if they do not share one.
    """
    listed = listed_categories(content, path)
    with_joints = [category for category in listed if category.get("keypoints")]
    if len(with_joints) > 1:  # such as people and animals
        ours = [category for category in with_joints if has_joints_of(category, skeleton)]
        if len(ours) > 1:
            raise UserError(
                f"{path}: {len(ours)} categories have {skeleton.name}'s keypoints: {', '.join(map(title, ours))}; "
                f"leave only the one for people in the file"
            )
        with_joints = ours or with_joints[:1]
    as_is = tuple(range(skeleton.num_keypoints))
    if not with_joints:
        people = filter(has_keypoints, content["annotations"])
        used = {person["category_id"] for person in people if is_id(person.get("category_id"))}
        if not used:  # nobody has joints, which is reported elsewhere
            return Person(PERSON_ID, as_is, ())
        (category_id,) = used if len(used) == 1 else (PERSON_ID,)
        unlisted = {"id": category_id, "name": "person"}
        found = next((category for category in listed if category["id"] == category_id), unlisted)
        remarks = [f"`categories` names no joints; they are assumed to be in {skeleton.name}'s order"]
        order = as_is
    else:
        (found,) = with_joints
        category_id, order, remarks = found["id"], joint_order(found, path, skeleton), []
        if order != as_is:
            remarks.append(
                f"its joints are in another order than {skeleton.name}'s; they are sorted by name, and results are in "
                f"{skeleton.name}'s order"
            )
    if simplified(str(found.get("name"))) != "person":
        remarks.append(f"category {title(found)} is used as the person category")
    return Person(category_id, order, tuple(f"{path}: {remark}" for remark in remarks))


def listed_categories(content: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """The entries of `categories`, empty if the file has none; raises UserError if one of them is malformed."""
    listed = content.get("categories") or []
    if not isinstance(listed, list):
        raise UserError(f"{path}: `categories` is not a list; is it a COCO annotation file?")
    seen = set()
    for entry in listed:
        if not isinstance(entry, dict) or not is_id(entry.get("id")):
            raise UserError(f"{path}: an entry of `categories` has no whole number as its id; give it one")
        if entry["id"] in seen:
            raise UserError(f"{path}: two categories have the id {entry['id']}; give each its own")
        seen.add(entry["id"])
        names = entry.get("keypoints") or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(
                f"{path}: category {title(entry)}: its keypoints are not a list of names; write them as COCO does"
            )
    return listed


def has_joints_of(category: dict[str, Any], skeleton: Skeleton) -> bool:
    """Whether a category has exactly the joints of the skeleton, in any order."""
    return sorted(map(simplified, category["keypoints"])) == sorted(map(simplified, skeleton.keypoint_names))


def joint_order(category: dict[str, Any], path: Path, skeleton: Skeleton) -> tuple[int, ...]:
    """The index in the category of each joint of the skeleton; raises UserError naming the first that differs."""
    names = [simplified(name) for name in category["keypoints"]]
    ours = [simplified(name) for name in skeleton.keypoint_names]
    foreign = [i for i, name in enumerate(names) if name not in ours or name in names[:i]]
    missing = [name for name, wanted in zip(skeleton.keypoint_names, ours, strict=True) if wanted not in names]
    if foreign or missing:
        what = []
        if foreign:
            first = category["keypoints"][foreign[0]]
            what.append(f'joint {foreign[0] + 1} is "{first}"' + " again" * (names[foreign[0]] in ours))
        if missing:
            what.append(f'"{missing[0]}" is missing')
        raise UserError(
            f"{path}: category {title(category)} has other joints than {skeleton.name}: {', '.join(what)}; give a "
            f"file with {skeleton.name}'s {skeleton.num_keypoints} joints"
        )
    return tuple(names.index(name) for name in ours)


def keep_people(content: dict[str, Any], person: Person, num_keypoints: int, path: Path) -> tuple[str, ...]:
    """Reorder everybody's joints and drop annotations of other listed categories, in place.

    Returns one line that counts the dropped annotations, or nothing.  An annotation of another category that has
    non-zero joints is kept, so that `check_entries` reports it as a fault, unless its category lists joints of its own.
    Malformed entries are kept for the same reason.
    """
    if person.order != tuple(range(num_keypoints)):
        for entry in content["annotations"]:
            joints = entry.get("keypoints") if isinstance(entry, dict) else None
            if isinstance(joints, list) and len(joints) == 3 * num_keypoints:
                entry["keypoints"] = [number for k in person.order for number in joints[3 * k : 3 * k + 3]]
    listed = {category["id"]: category for category in content.get("categories") or []}
    others = listed.keys() - {person.category_id}
    left_out = Counter()

    def is_left_out(entry: Any) -> bool:
        is_other = isinstance(entry, dict) and is_id(entry.get("category_id")) and entry["category_id"] in others
        return is_other and (bool(listed[entry["category_id"]].get("keypoints")) or not has_keypoints(entry))

    kept = []
    for entry in content["annotations"]:
        if is_left_out(entry):
            left_out[entry["category_id"]] += 1
        else:
            kept.append(entry)
    if not left_out or not any(map(has_keypoints, kept)):  # nobody would be left, which the caller reports
        return ()
    content["annotations"] = kept
    which = ", ".join(f"{title(listed[number])}: {count}" for number, count in left_out.most_common(3))
    more = ", .." * (len(left_out) > 3)
    return (f"{path}: {left_out.total()} annotations of other categories are left out ({which}{more})",)


def has_keypoints(entry: Any) -> bool:
    """Whether an annotation has `keypoints` that are not all zero."""
    joints = entry.get("keypoints") if isinstance(entry, dict) else None
    return bool(joints) and (not isinstance(joints, list) or any(joints))


def is_id(value: Any) -> bool:
    """Whether the value is a non-negative whole number that fits an i64; some datasets' image ids have 11 digits."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def simplified(name: str) -> str:
    """A joint's name without the details that tools write differently: letter case, spaces, `_` and `-`."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def title(category: dict[str, Any]) -> str:
    """How a message names a category."""
    return f'"{category.get("name", "?")}" (id {category["id"]})'

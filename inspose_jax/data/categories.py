"""Find the category of a COCO file whose people are used, its skeleton, and the order of its joints."""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from inspose_jax.data import category_skeleton
from inspose_jax.data.values import NOT_READ, is_id
from inspose_jax.errors import UserError, did_you_mean
from inspose_jax.skeletons import COCO, PRESETS, Skeleton, is_named_as, simplified

PERSON_ID = 1  # COCO's own
SAID_WITHOUT_NAMES = {"flip_pairs", "sigmas", "skeleton"}  # what a category may say of joints that it does not name


class Person(NamedTuple):
    """What `categories` says about people, or whoever has the joints."""

    category_id: int
    skeleton: Skeleton
    order: tuple[int, ...]  # for each joint of the skeleton, its index in the file
    num_in_file: int  # joints, of which the skeleton may leave out some
    remarks: tuple[str, ...]  # what the user should know, one line each
    states_pairs: bool  # whether it says itself which joints change places in a mirrored image


def find_person(content: dict[str, Any], path: Path, skeleton: Skeleton | None, name: str = "") -> Person:
    """Find the category of `name`, or else the one category that has the joints of `skeleton`, in any order.

    It may have more joints, which are left out; one that has no others comes first.

    Without a `skeleton`, it is the only one with joints, whose skeleton is a preset's if the names are, else its own.
    If no category names its joints, they are assumed to be in the order of the skeleton, and the category is the one
    shared by all annotations with keypoints, or COCO's own id 1 if they do not share one.  Raises UserError if there is
    no such category, or more than one.
    """
    listed = listed_categories(content, path)
    if name:
        chosen = named_category(listed, name, path)
        refuse_without_joints(chosen, listed, content, path)
        return person_in(chosen, content, path, skeleton)
    with_joints = [category for category in listed if category.get("keypoints")]
    if len(with_joints) > 1:
        with_joints = [the_one_with_joints(with_joints, content, path, skeleton)]
    if with_joints:
        return person_in(with_joints[0], content, path, skeleton)
    used = used_ids(content)
    if not used:  # nobody has joints, which is reported elsewhere
        return person_in({"id": PERSON_ID, "name": "person"}, content, path, skeleton or COCO)._replace(remarks=())
    (category_id,) = used if len(used) == 1 else (PERSON_ID,)
    unlisted = {"id": category_id, "name": "person"}
    found = next((category for category in listed if category["id"] == category_id), unlisted)
    return person_in(found, content, path, skeleton)


def named_category(listed: list[dict[str, Any]], name: str, path: Path) -> dict[str, Any]:
    """The category of exactly this name, or of one with the same letters; of several, the one that lists joints.

    Raises UserError if there is none, or if it is not clear which.
    """
    found = [category for category in listed if str(category.get("name")) == name]
    found = found or [one for one in listed if simplified(str(one.get("name"))) == simplified(name)]
    if len(found) > 1:  # Roboflow lists the project too, without joints, and it may be named like the class
        found = [category for category in found if category.get("keypoints")] or found
    if len(found) != 1:
        known = [str(category.get("name")) for category in listed]
        fault = (
            f"{len(found)} categories are named {name}; give them different names"
            if found
            else (
                f'no category is named "{name}"; '
                + did_you_mean(name, known, f"there are {', '.join(known) or 'none'}")
            )
        )
        raise UserError(f"{path}: {fault}")
    return found[0]


def refuse_without_joints(
    chosen: dict[str, Any], listed: list[dict[str, Any]], content: dict[str, Any], path: Path
) -> None:
    """Raise UserError if the chosen category has no labelled joints, but others have."""
    used = used_ids(content)
    if used and chosen["id"] not in used:
        others = [title(category) for category in listed if category["id"] in used]
        known = ", ".join(others[:5]) + ", .." * (len(others) > 5)
        remedy = (
            f"{known} ha{'ve' if len(others) > 1 else 's'}" if others else "only categories that are not listed have"
        )
        raise UserError(f"{path}: category {title(chosen)} has no labelled joints; {remedy}")


def the_one_with_joints(
    with_joints: list[dict[str, Any]], content: dict[str, Any], path: Path, skeleton: Skeleton | None
) -> dict[str, Any]:
    """Of several categories with joints, such as people and animals, the one to use; UserError if that is not clear."""
    if skeleton is None:
        used = used_ids(content)
        ours = [category for category in with_joints if category["id"] in used]
        if len(ours) != 1:
            raise UserError(
                f"{path}: {len(with_joints)} categories have keypoints: {', '.join(map(title, with_joints[:5]))}"
                f"{', ..' * (len(with_joints) > 5)}; choose one with --category NAME"
            )
        return ours[0]
    ours = [category for category in with_joints if is_named_as(category["keypoints"], skeleton)]
    if not ours:  # with more joints
        wanted = set(map(simplified, skeleton.keypoint_names))
        ours = [category for category in with_joints if wanted <= set(map(simplified, category["keypoints"]))]
    if len(ours) > 1:
        raise UserError(
            f"{path}: {len(ours)} categories have {skeleton.name}'s keypoints: {', '.join(map(title, ours))}; "
            f"leave only the one for people in the file, or choose it with --category NAME"
        )
    return (ours or with_joints)[0]


def person_in(found: dict[str, Any], content: dict[str, Any], path: Path, skeleton: Skeleton | None) -> Person:
    """The skeleton, order and remarks for a category; raises UserError if its joints are not those of `skeleton`."""
    remarks: list[str] = []
    if not found.get("keypoints") and skeleton is None and not SAID_WITHOUT_NAMES.isdisjoint(found):
        names = assumed_skeleton(content, found["id"]).keypoint_names
        remarks.append(f"`categories` names no joints; they are called {names[0]} to {names[-1]}")
        found = {**found, "keypoints": list(names)}
    if not found.get("keypoints"):
        skeleton = skeleton or assumed_skeleton(content, found["id"])
        order = tuple(range(skeleton.num_keypoints))
        whose = f"assumed to be in {skeleton.name}'s order"
        if skeleton == category_skeleton.numbered(skeleton.num_keypoints):
            remedy = f"name them, or train with {category_skeleton.NO_FLIP}"
            whose = f"numbered, and none change places in a mirrored image: {remedy}"
        remarks.append(f"`categories` names no joints; they are {whose}")
    else:
        category_skeleton.check_flip_pairs(found, f"{path}: category {title(found)}")
        category_skeleton.check_sigmas(found, f"{path}: category {title(found)}")
        skeleton = skeleton or category_skeleton.preset_of(found)
        if skeleton is None:
            skeleton, about = category_skeleton.skeleton_of(found, f"{path}: category {title(found)}")
            order = tuple(range(skeleton.num_keypoints))
            remarks.append(
                f"category {title(found)} has {skeleton.num_keypoints} joints of its own: {'; '.join(about)}"
            )
        else:
            order = joint_order(found, path, skeleton)
            remarks += category_skeleton.not_used(found, skeleton)
    num_in_file = len(found.get("keypoints") or order)
    if len(order) < num_in_file:
        others = [name for k, name in enumerate(found["keypoints"]) if k not in order]
        shown = ", ".join(others[:3]) + ", .." * (len(others) > 3)
        remarks.append(
            f"{len(others)} of its {num_in_file} joints are not those of {skeleton.name}: left out are {shown}"
        )
    if order != tuple(sorted(order)):
        remarks.append(
            f"its joints are in another order than {skeleton.name}'s; they are sorted by name, and results are in "
            f"{skeleton.name}'s order"
        )
    if skeleton in PRESETS.values() and simplified(str(found.get("name"))) != "person":
        remarks.append(f"category {title(found)} is used as the person category")
    return Person(found["id"], skeleton, order, num_in_file, tuple(remarks), "flip_pairs" in found)


def assumed_skeleton(content: dict[str, Any], category_id: int) -> Skeleton:
    """The skeleton of joints that have no names: COCO's if there are 17, else joints with numbers."""
    of_category = (
        one for one in content["annotations"] if has_keypoints(one) and one.get("category_id") == category_id
    )
    joints = next((person["keypoints"] for person in of_category if isinstance(person["keypoints"], list)), [])
    number = len(joints) // 3
    return COCO if number in (0, COCO.num_keypoints) else category_skeleton.numbered(number)


def used_ids(content: dict[str, Any]) -> set[int]:
    """The categories of all annotations that have joints."""
    people = filter(has_keypoints, content["annotations"])
    return {person["category_id"] for person in people if is_id(person.get("category_id"))}


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


def joint_order(category: dict[str, Any], path: Path, skeleton: Skeleton) -> tuple[int, ...]:
    """The index in the category of each joint of the skeleton; raises UserError if it lacks one, or has one twice."""
    if tuple(category["keypoints"]) == skeleton.keypoint_names:
        return tuple(range(skeleton.num_keypoints))
    names = [simplified(name) for name in category["keypoints"]]
    ours = [simplified(name) for name in skeleton.keypoint_names]
    again = [i for i, name in enumerate(names) if name in names[:i]]
    missing = [name for name, wanted in zip(skeleton.keypoint_names, ours, strict=True) if wanted not in names]
    if again or missing:
        what = []
        if foreign := again or [i for i, name in enumerate(names) if name not in ours]:
            first = category["keypoints"][foreign[0]]
            what.append(f'joint {foreign[0] + 1} is "{first}"' + " again" * bool(again))
        if missing:
            what.append(f'"{missing[0]}" is missing')
        raise UserError(
            f"{path}: category {title(category)} has other joints than {skeleton.name}: {', '.join(what)}; give a "
            f"file with {skeleton.name}'s {skeleton.num_keypoints} joints, or in training --skeleton data"
        )
    return tuple(names.index(name) for name in ours)


def keep_people(content: dict[str, Any], person: Person, is_chosen: bool) -> tuple[str, ...]:
    """Reorder everybody's joints, without those that are not the skeleton's, and drop other categories, in place.

    Returns one line that counts the dropped annotations, or nothing.  An annotation of another category that has
    non-zero joints is kept, so that `check_entries` reports it as a fault, unless its category lists joints of its own
    or the user has chosen the person's (`is_chosen`).  Malformed entries are kept for the same reason.
    """
    if person.order != tuple(range(person.num_in_file)):
        for entry in content["annotations"]:
            joints = entry.get("keypoints") if isinstance(entry, dict) else None
            if not isinstance(joints, list) or not joints:
                continue
            if len(joints) == 3 * person.num_in_file:
                entry["keypoints"] = [number for k in person.order for number in joints[3 * k : 3 * k + 3]]
                if len(person.order) < person.num_in_file:
                    entry.pop("num_keypoints", None)  # of all joints
            else:
                needed = f"the {person.num_in_file} joints of the file are {3 * person.num_in_file}"
                entry[NOT_READ] = f"{len(joints)} numbers for keypoints; {needed} (x, y, visibility each)"
    listed = {category["id"]: category for category in content.get("categories") or []}
    others = listed.keys() - {person.category_id}
    left_out = Counter()

    def is_left_out(entry: Any) -> bool:
        is_other = isinstance(entry, dict) and is_id(entry.get("category_id")) and entry["category_id"] in others
        return is_other and (
            is_chosen or bool(listed[entry["category_id"]].get("keypoints")) or not has_keypoints(entry)
        )

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
    return (f"{left_out.total()} annotations of other categories are left out ({which}{more})",)


def has_keypoints(entry: Any) -> bool:
    """Whether an annotation has `keypoints` that are not all zero."""
    joints = entry.get("keypoints") if isinstance(entry, dict) else None
    return bool(joints) and (not isinstance(joints, list) or any(joints))


def title(category: dict[str, Any]) -> str:
    """How a message names a category."""
    return f'"{category.get("name", "?")}" (id {category["id"]})'

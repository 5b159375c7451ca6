"""Repair a person's entry: what is wrong with it is replaced by what the rest of the entry says.

A joint that is surely wrong becomes unlabelled.  The person stays in the file if at all possible, at least as a region
that training ignores, since whoever is missing there is learnt as background.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from inspose_jax.data import check, missing_fields
from inspose_jax.data.values import NOT_READ, is_box, is_number
from inspose_jax.skeletons import Skeleton


def repaired(
    entry: dict[str, Any], size: tuple[int, int], skeleton: Skeleton
) -> tuple[dict[str, Any] | None, list[str]]:
    """A person without faults, and what was changed; or None, and the reason why the person must be dropped.

    `size` is the (height, width) of the image.
    """
    person, done = {name: value for name, value in entry.items() if name != NOT_READ}, []
    joints = usable_joints(entry.get("keypoints", []), skeleton)
    if joints is None:
        joints = np.zeros((skeleton.num_keypoints, 3))
        done.append("its keypoints cannot be used, so its joints are now unlabelled")
    else:
        wrong = check.are_outside(joints, size) | check.are_at_origin(joints) | ~check.has_visibility(joints)
        if names := skeleton.names_of(wrong):
            joints[wrong] = 0
            done.append(f"now unlabelled: {names}")
    if done:
        person["keypoints"] = [int(number) if number.is_integer() else number for number in joints.ravel().tolist()]
    labelled = joints[joints[:, 2] > 0, :2]
    if person.get("num_keypoints", len(labelled)) != len(labelled):
        person["num_keypoints"] = len(labelled)
        done = done or [f"num_keypoints is now {len(labelled)}"]
    if not is_box(person.get("bbox")) or not check.has_area(person["bbox"], size):
        found = missing_fields.taken_from_others("bbox", person, size)
        if not found:
            return None, ["it has neither joints nor a box with an area inside the image"]
        person["bbox"], origin = found
        done.append(f"its box is now {origin}")
    area: Any = person.get("area")
    is_good = is_number(area) and (area > 0 or (area == 0 and not len(labelled)))
    if not is_good and (found := missing_fields.taken_from_others("area", person, size)):
        person["area"], origin = found
        done.append(f"its area is now {origin}")
    crowd = person.get("iscrowd", 0)
    if not isinstance(crowd, int) or crowd not in (0, 1):
        person["iscrowd"] = 1
        done.append("iscrowd is now 1, so that it is ignored, as it may be a crowd")
    return person, done


def usable_joints(keypoints: Any, skeleton: Skeleton) -> Float[np.ndarray, "K 3"] | None:
    """The joints of an entry, all zero if it has none; None if they are no finite numbers, or too few or too many."""
    if not isinstance(keypoints, list) or not all(map(is_number, keypoints)):
        return None
    if len(keypoints) not in (0, 3 * skeleton.num_keypoints):
        return None
    return np.array(keypoints or [0] * (3 * skeleton.num_keypoints), float).reshape(-1, 3)

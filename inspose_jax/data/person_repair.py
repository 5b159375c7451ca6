"""Repair a person's entry: what is wrong with it is replaced by what the rest of the entry says.

A joint that is surely wrong becomes unlabelled.  The person stays in the file if at all possible, at least as a region
that training ignores, since whoever is missing there is learnt as background.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from inspose_jax.data import annotations as annotation_file
from inspose_jax.data import check
from inspose_jax.skeletons import Skeleton

AREA_OF_BOX = 0.53  # the share of a person's box that their mask covers, on average over people in COCO


def repaired(
    entry: dict[str, Any], size: tuple[int, int], skeleton: Skeleton
) -> tuple[dict[str, Any] | None, list[str]]:
    """A person without faults, and what was changed; or None, and the reason why the person must be dropped.

    `size` is the (height, width) of the image.
    """
    person, done = dict(entry), []
    joints = usable_joints(entry.get("keypoints", []), skeleton)
    if joints is None:
        joints = np.zeros((skeleton.num_keypoints, 3))
        done.append("its keypoints cannot be used, so its joints are now unlabelled")
    elif (wrong := check.are_outside(joints, size) | ~check.has_visibility(joints)).any():
        joints[wrong] = 0
        names = ", ".join(skeleton.keypoint_names[joint] for joint in np.flatnonzero(wrong))
        done.append(f"now unlabelled: {names}")
    if done:
        person["keypoints"] = [int(number) if number.is_integer() else number for number in joints.ravel().tolist()]
    labelled = joints[joints[:, 2] > 0, :2]
    if person.get("num_keypoints", len(labelled)) != len(labelled):
        person["num_keypoints"] = len(labelled)
        done = done or [f"num_keypoints is now {len(labelled)}"]
    if not annotation_file.is_box(person.get("bbox")) or not check.has_area(person["bbox"], size):
        if not len(labelled):
            return None, ["it has neither joints nor a box with an area inside the image"]
        person["bbox"] = box_around(labelled, size)
        done.append("its box is now the one around its joints")
    area: Any = person.get("area")
    if not annotation_file.is_number(area) or area < 0 or (area == 0 and len(labelled)):
        person["area"] = AREA_OF_BOX * person["bbox"][2] * person["bbox"][3]
        done.append(f"its area is now {AREA_OF_BOX} x that of its box")
    crowd = person.get("iscrowd", 0)
    if not isinstance(crowd, int) or crowd not in (0, 1):
        person["iscrowd"] = 1
        done.append("iscrowd is now 1, so that it is ignored, as it may be a crowd")
    return person, done


def usable_joints(keypoints: Any, skeleton: Skeleton) -> Float[np.ndarray, "K 3"] | None:
    """The joints of an entry, all zero if it has none; None if they are no finite numbers, or too few or too many."""
    if not isinstance(keypoints, list) or not all(map(annotation_file.is_number, keypoints)):
        return None
    if len(keypoints) not in (0, 3 * skeleton.num_keypoints):
        return None
    return np.array(keypoints or [0] * (3 * skeleton.num_keypoints), float).reshape(-1, 3)


def box_around(points: Float[np.ndarray, "n 2"], size: tuple[int, int]) -> list[float]:
    """The box (x, y, width, height) around points, of at least a pixel inside an image of this (height, width)."""
    height, width = size
    low = np.clip(points.min(0), 0, [width - 1, height - 1])
    return [*low.tolist(), *np.maximum(points.max(0) - low, 1).tolist()]

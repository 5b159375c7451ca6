"""Whether the numbers of an annotated set are pixels, x before y, and boxes x, y, width, height: its statistics tell.

A file in which they are something else is well formed, entry by entry; it is seen only over all of them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from inspose_jax.skeletons import Skeleton

FEWEST = 3  # people on whom a finding must rest that any one of them might give by chance
FEWEST_LYING = 5  # three who lie the same way are no wonder
FRACTIONS = (-0.5, 1.5)  # some joints are put a little outside of the image
HEAD = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
FEET = ("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle")


class Labels(NamedTuple):
    """Everybody in a file who is no crowd: N people, K joints."""

    keypoints: Float[np.ndarray, "N K 3"]  # x, y, visibility as they stand in the file
    boxes: Float[np.ndarray, "N 4"]  # as they stand in the file
    sizes: Int[np.ndarray, "N 2"]  # height, width of each one's image


def findings(labels: Labels, skeleton: Skeleton) -> list[str]:
    """One line a finding with its remedy, none where the numbers are what they should be."""
    found = []
    large = bool((labels.sizes > 4).all())  # else one may well have all joints in the first pixels
    is_labelled = labels.keypoints[..., 2] > 0
    points = labels.keypoints[is_labelled][:, :2]
    pixels = "multiply x by the image's width and y by its height"
    if large and len(points) >= 3 and points.any() and are_fractions(points):
        found.append(f"all labelled joints lie within 0..1, as fractions of the image do; {pixels}")
    if large and len(labels.boxes) and labels.boxes.any() and are_fractions(labels.boxes):
        found.append(f"all boxes lie within 0..1, as fractions of the image do; {pixels}")
    if found:  # nothing else can be said of such numbers
        return found
    if are_exchanged(labels, is_labelled, skeleton):
        found.append(
            "x and y seem to be exchanged, of the joints or of the boxes; write x before y, width before height"
        )
    if are_corners(labels):
        found.append("boxes seem to be corners, x0, y0, x1, y1; write x, y, width, height")
    return found


def are_fractions(numbers: Float[np.ndarray, "..."]) -> bool:
    """Whether all are such as fractions of an image's sides."""
    return bool(((numbers >= FRACTIONS[0]) & (numbers <= FRACTIONS[1])).all())


def are_exchanged(labels: Labels, is_labelled: Bool[np.ndarray, "N K"], skeleton: Skeleton) -> bool:
    """Whether joints read as y, x fit what as x, y they do not: their images, their boxes, or people who stand."""
    xy = labels.keypoints[..., :2]
    width_height = labels.sizes[:, None, ::-1]
    low, high = labels.boxes[:, None, :2], labels.boxes[:, None, :2] + labels.boxes[:, None, 2:]
    room = 2 + 0.1 * (high - low)
    outside = people_with((xy < -0.5) | (xy > width_height), is_labelled)
    outside_if_exchanged = people_with((xy[..., ::-1] < -0.5) | (xy[..., ::-1] > width_height), is_labelled)
    if outside.sum() >= FEWEST and outside.sum() > 3 * outside_if_exchanged.sum():
        return True
    beyond = people_with((xy < low - room) | (xy > high + room), is_labelled)
    beyond_if_exchanged = people_with((xy[..., ::-1] < low - room) | (xy[..., ::-1] > high + room), is_labelled)
    if beyond.sum() >= FEWEST and beyond.sum() > 3 * beyond_if_exchanged.sum():
        return True
    names = np.array(skeleton.keypoint_names)
    head, feet = (is_labelled & np.isin(names, part) for part in (HEAD, FEET))
    has_both = head.any(1) & feet.any(1)
    down = (mean(xy, feet) - mean(xy, head))[has_both]  # from the head to the feet
    is_standing = down[:, 1] > np.abs(down[:, 0])
    lies_right, lies_left = (side * down[:, 0] > np.abs(down[:, 1]) for side in (1, -1))
    # Where people lie, they lie both ways; who stands, read the wrong way, has the feet at the right of the head.
    return bool(lies_right.sum() >= max(FEWEST_LYING, 3 * (is_standing.sum() + lies_left.sum()) + 1))


def are_corners(labels: Labels) -> bool:
    """Whether boxes read as x, y, width, height reach out of their images, which read as corners they do not."""
    low, last = labels.boxes[:, :2], labels.boxes[:, 2:]
    has_box = (last > 0).all(1)
    width_height = labels.sizes[:, ::-1]
    out = ((low + last > 1.05 * width_height + 2).any(1) & has_box).sum()
    out_as_corners = (((last < low) | (last > width_height + 2)).any(1) & has_box).sum()
    return bool(out >= max(FEWEST, 0.2 * has_box.sum(), 10 * out_as_corners + 1))


def people_with(is_joint: Bool[np.ndarray, "N K 2"], is_labelled: Bool[np.ndarray, "N K"]) -> Bool[np.ndarray, " N"]:
    """Who has a labelled joint of which that holds in x or y."""
    return np.any(is_joint.any(-1) & is_labelled, axis=-1, keepdims=False)


def mean(points: Float[np.ndarray, "N K 2"], which: Bool[np.ndarray, "N K"]) -> Float[np.ndarray, "N 2"]:
    """The middle of some joints of each person; (0, 0) of none."""
    return (points * which[..., None]).sum(1) / np.maximum(which.sum(1), 1)[:, None]


def stacked(people: Sequence[tuple[list, list, tuple[int, int]]], num_keypoints: int) -> Labels:
    """Keypoints, box and image size of each person -> `Labels`; who has no keypoints has none that is labelled."""
    nobody = [0.0] * (3 * num_keypoints)
    keypoints = np.array([joints or nobody for joints, _, _ in people], float).reshape(-1, num_keypoints, 3)
    boxes = np.array([box for _, box, _ in people], float).reshape(-1, 4)
    return Labels(keypoints, boxes, np.array([size for _, _, size in people], np.int64).reshape(-1, 2))

"""Detect from statistics whether coordinates are pixels with x before y, and boxes are x, y, width, height.

In a file that breaks this convention every single entry is well formed; only the whole file shows the mistake.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from inspose_jax.skeletons import Skeleton

FEWEST = 3  # people needed for a finding, since any single person might show it by chance
FEWEST_LYING = 5  # more, since three people may well lie the same way by chance
HEAD = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
FEET = ("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle")
FRACTIONS = (-0.5, 1.5)  # beyond 0..1, as some joints are labelled slightly outside the image


class Labels(NamedTuple):
    """All people in a file, except crowds: N people, K joints."""

    keypoints: Float[np.ndarray, "N K 3"]  # x, y, visibility as in the file
    boxes: Float[np.ndarray, "N 4"]  # as in the file
    sizes: Int[np.ndarray, "N 2"]  # height, width of each person's image


class Finding(NamedTuple):
    """A fault in the coordinates of a file."""

    line: str  # the message, with its remedy
    explains_outside: bool  # whether this fault explains joints outside their images


def findings(labels: Labels) -> list[Finding]:
    """The faults found in the coordinates, empty if there are none.

    People's posture is not a fault, since in some datasets everybody lies the same way; see `remark`.
    """
    found = []
    large = bool((labels.sizes > 4).all())  # a tiny image may really have all its joints within the first pixels
    is_labelled = labels.keypoints[..., 2] > 0
    points = labels.keypoints[is_labelled][:, :2]
    pixels = "multiply x by the image's width and y by its height"
    if large and len(points) >= 3 and points.any() and are_fractions(points):
        line = f"all labelled joints lie within 0..1, as fractions of the image do; {pixels}"
        found.append(Finding(line, explains_outside=True))
    if large and len(labels.boxes) and labels.boxes.any() and are_fractions(labels.boxes):
        line = f"all boxes lie within 0..1, as fractions of the image do; {pixels}"
        found.append(Finding(line, explains_outside=False))
    if found:  # fractions cannot be tested for anything else
        return found
    exchanged = "x and y of the joints or of the boxes seem to be exchanged; write x before y, width before height"
    if are_outside_unless_exchanged(labels, is_labelled):
        found.append(Finding(exchanged, explains_outside=True))
    elif are_beyond_boxes_unless_exchanged(labels, is_labelled):
        found.append(Finding(exchanged, explains_outside=False))  # the boxes may be at fault instead
    if are_corners(labels):
        line = "boxes seem to be corners, x0, y0, x1, y1; write x, y, width, height"
        found.append(Finding(line, explains_outside=False))
    return found


def remark(labels: Labels, skeleton: Skeleton) -> str:
    """A one-line remark if nearly everybody's feet lie to the right of the head, else empty.

    A standing person looks like this when x and y are swapped, and if the joints and boxes of square images are both
    swapped, this is the only sign.  It is not a fault by itself: people photographed from above may really lie so.
    """
    is_labelled, names = labels.keypoints[..., 2] > 0, np.array(skeleton.keypoint_names)
    head, feet = (is_labelled & np.isin(names, part) for part in (HEAD, FEET))
    has_both = head.any(1) & feet.any(1)
    down = (mean(labels.keypoints[..., :2], feet) - mean(labels.keypoints[..., :2], head))[has_both]
    lies_right = int((down[:, 0] > np.abs(down[:, 1])).sum())
    if lies_right < max(FEWEST_LYING, 0.75 * len(down) + 1):
        return ""
    return (
        f"{lies_right} of {len(down)} people have their feet to the right of their head; are they lying, or are x and "
        f"y exchanged? Look at some with `inspose data show`"
    )


def beside_boxes(labels: Labels) -> str:
    """A remark if at least half of the people have over a third of their joints outside their own box, else empty.

    Boxes of corners that are taken for centres look like this, and axes that were exchanged before fractions became
    pixels.  It is not a fault by itself: some datasets may have boxes of something else.
    """
    is_labelled, xy, (low, high) = labels.keypoints[..., 2] > 0, labels.keypoints[..., :2], roomy(labels.boxes)
    counted = is_labelled.any(1) & (labels.boxes[:, 2:] > 0).all(1)
    number_outside = (((xy < low) | (xy > high)).any(-1) & is_labelled).sum(1)
    beside = int((counted & (3 * number_outside > is_labelled.sum(1))).sum())
    if beside < max(FEWEST, 0.5 * counted.sum()):
        return ""
    return (
        f"{beside} of {counted.sum()} people have over a third of their joints outside their own box; are the boxes' "
        f"corners and centres, or x and y, exchanged? Look at some with `inspose data show`"
    )


def mean(points: Float[np.ndarray, "N K 2"], which: Bool[np.ndarray, "N K"]) -> Float[np.ndarray, "N 2"]:
    """The mean of the selected joints of each person, or (0, 0) if there are none."""
    return (points * which[..., None]).sum(1) / np.maximum(which.sum(1), 1)[:, None]


def are_fractions(numbers: Float[np.ndarray, "..."]) -> bool:
    """Whether all numbers lie in the range of fractions of an image's sides."""
    return bool(((numbers >= FRACTIONS[0]) & (numbers <= FRACTIONS[1])).all())


def are_outside_unless_exchanged(labels: Labels, is_labelled: Bool[np.ndarray, "N K"]) -> bool:
    """Whether joints lie clearly outside their images when read as x, y, but not when read as y, x."""
    xy, width_height = labels.keypoints[..., :2], labels.sizes[:, None, ::-1]
    return are_inside_only_exchanged(xy, -2 - 0.05 * width_height, 2 + 1.05 * width_height, is_labelled)


def are_beyond_boxes_unless_exchanged(labels: Labels, is_labelled: Bool[np.ndarray, "N K"]) -> bool:
    """Whether joints lie clearly outside their person's box when read as x, y, but not when read as y, x."""
    return are_inside_only_exchanged(labels.keypoints[..., :2], *roomy(labels.boxes), is_labelled)


def roomy(boxes: Float[np.ndarray, "N 4"]) -> tuple[Float[np.ndarray, "N 1 2"], Float[np.ndarray, "N 1 2"]]:
    """The low and the high ends (x, y) beyond which a joint lies clearly outside its person's box."""
    low, high = boxes[:, None, :2], boxes[:, None, :2] + boxes[:, None, 2:]
    room = 2 + 0.1 * (high - low)
    return low - room, high + room


def are_inside_only_exchanged(
    xy: Float[np.ndarray, "N K 2"],
    low: Float[np.ndarray, "N 1 2"],
    high: Float[np.ndarray, "N 1 2"],
    is_labelled: Bool[np.ndarray, "N K"],
) -> bool:
    """Whether many people have joints outside these bounds, but hardly any once x and y are swapped.

    A few people with joints slightly outside are normal in either order.
    """
    out, out_if_exchanged = (people_with((p < low) | (p > high), is_labelled).sum() for p in (xy, xy[..., ::-1]))
    return bool(out >= max(FEWEST, 0.2 * is_labelled.any(1).sum(), 10 * out_if_exchanged + 1))


def are_corners(labels: Labels) -> bool:
    """Whether boxes exceed their images when read as x, y, width, height, but not when read as corners."""
    low, last = labels.boxes[:, :2], labels.boxes[:, 2:]
    has_box = (last > 0).all(1)
    width_height = labels.sizes[:, ::-1]
    out = ((low + last > 1.05 * width_height + 2).any(1) & has_box).sum()
    out_as_corners = (((last < low) | (last > width_height + 2)).any(1) & has_box).sum()
    return bool(out >= max(FEWEST, 0.2 * has_box.sum(), 10 * out_as_corners + 1))


def people_with(is_joint: Bool[np.ndarray, "N K 2"], is_labelled: Bool[np.ndarray, "N K"]) -> Bool[np.ndarray, " N"]:
    """bool[N]: whether a person has a labelled joint for which `is_joint` holds in x or y."""
    return np.any(is_joint.any(-1) & is_labelled, axis=-1, keepdims=False)


def stack(people: Sequence[tuple[list, list, tuple[int, int]]], num_keypoints: int) -> Labels:
    """Each person's keypoints, box and image size -> `Labels`; empty keypoints become unlabelled joints."""
    nobody = [0.0] * (3 * num_keypoints)
    keypoints = np.array([joints or nobody for joints, _, _ in people], float).reshape(-1, num_keypoints, 3)
    boxes = np.array([box for _, box, _ in people], float).reshape(-1, 4)
    return Labels(keypoints, boxes, np.array([size for _, _, size in people], np.int64).reshape(-1, 2))

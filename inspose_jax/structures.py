"""The nouns of the project: what is passed from room to room, with the shape of every field.

Axes: B images, N people (padded), G ignore regions (padded), K keypoints, H W the padded picture in pixels,
h w the keypoint maps in cells, L locations of all pyramid levels in one list, P parameters of a KP-Net, M slots.

Pixels are continuous: pixel i spans [i, i + 1).  A point is (x, y); a size is (height, width); a box is x0 y0 x1 y1.
The arrays are numpy on the host and jax on the device; the same noun serves both.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

Array = Any  # numpy on the host, jax inside a jitted function


class Sample(NamedTuple):
    """One picture with its people, unpadded, on the host: what every data source yields."""

    image: UInt8[np.ndarray, "H W 3"]  # RGB
    keypoints: Float32[np.ndarray, "N K 3"]  # x, y in pixels of `image`; visibility 0 unlabelled, 1 hidden, 2 seen
    boxes_xyxy: Float32[np.ndarray, "N 4"]  # the annotated boxes; only used as ignore regions
    area: Float32[np.ndarray, " N"]  # pixels of the person's visible mask
    is_crowd: Bool[np.ndarray, " N"]
    image_id: int


def is_target(keypoints: Float32[np.ndarray, "N K 3"], is_crowd: Bool[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
    """Who of a picture is learnt from: a person with a labelled joint that is no crowd."""
    return (keypoints[..., 2] > 0).any(-1) & ~is_crowd


class Batch(NamedTuple):
    """Pictures padded at the right and bottom to one shape, people padded to N: what the device receives."""

    image: Array  # u8[B,H,W,3] RGB, zero in the padding
    size: Array  # i32[B,2] height and width of the real picture inside the padding
    keypoints: Array  # f32[B,N,K,3] pixels of the padded picture; all zero for padding people
    is_person: Array  # bool[B,N] a training target: labelled, not a crowd
    ignore_boxes: Array  # f32[B,G,4] crowds and people without a labelled joint; (0, 0, 0, 0) is padding
    people_dropped: Array  # i32[B] labelled people beyond N, made ignore regions
    is_real: Array  # bool[B] False for the blank pictures that fill the last batch
    scale: Array  # f32[B,2] resized / original in x and y


class Controller(NamedTuple):
    """What theta is made from, at the locations where it is read: the controller's last layer and what it reads."""

    features: tuple[Array, ...]  # f[B,h,w,C] of every level, finest first
    kernel: Array  # f32[k,k,C,P]
    bias: Array  # f32[P]


class Outputs(NamedTuple):
    """What the network says about a batch (Figure 3)."""

    logits: Array  # f32[B,L] "is a person" of every location
    controller: Controller  # what makes the parameters of a location's KP-Net
    features: Array  # f32[B,h,w,C] F_kp, shared by all people
    disk_offsets: Array | None  # f32[B,h,w,2K] map cells; channel 2k is x, 2k+1 is y; None without the branch
    heatmaps: Array | None  # f32[B,h,w,K] logits; None at test time


class Targets(NamedTuple):
    """What the outputs of one picture should be; a leading B after vmap."""

    is_positive: Array  # bool[L] answers for a person
    is_ignored: Array  # bool[L] takes no part in the classification loss
    slot_location: Array  # i32[M] index into L of every filled slot; 0 in empty ones
    slot_person: Array  # i32[M] index into N
    is_slot: Array  # bool[M] filled; the filled slots come first
    slots_dropped: Array  # i32[] positives beyond M
    cells: Array  # i32[N,K] row-major map cell of every joint
    is_joint: Array  # bool[N,K] labelled, and its cell lies inside the real picture
    disk_offsets: Array  # f32[h,w,2K] map cells
    in_disk: Array  # bool[h,w,K]
    heatmaps: Array  # f32[h,w,K] Gaussians, 1 at the joint's cell
    is_cell: Array  # bool[h,w] the cell holds a piece of the real picture


class Poses(NamedTuple):
    """The people found in one picture, padded; a leading B after vmap.  Best first."""

    keypoints: Array  # f32[D,K,2] pixels of the padded picture
    keypoint_scores: Array  # f32[D,K] softmax peak of each joint's map
    scores: Array  # f32[D] what poses are ranked by
    class_scores: Array  # f32[D] sigmoid of the class logit
    is_person: Array  # bool[D] False for padding
    location: Array  # i32[D] index into L of the location that made the pose's KP-Net


class KeypointMaps(NamedTuple):
    """What made the poses of N people of an image (Figure 1): one set of features, and a small network each.

    A leading B for the images of a batch.
    """

    maps: Array  # f32[N,K,h,w] softmax of each joint's map
    theta: Array  # f32[N,P] parameters of each person's network
    features: Array  # f32[h,w,C] F_kp, which all of them read
    points: Array  # f32[N,2] the locations that generated them: x, y in pixels of the padded image

"""The data structures that modules pass to each other, with the shape of every field.

Axes: B images, N people (padded), G ignore regions (padded), K keypoints, H W the padded image in pixels,
h w the keypoint maps in cells, L locations of all pyramid levels in one list, P parameters of a KP-Net, M slots.

Pixels are continuous: pixel i spans [i, i + 1).  A point is (x, y); a size is (height, width); a box is x0 y0 x1 y1.
The arrays are numpy on the host and jax on the device; both use the same structures.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

Array = Any  # numpy on the host, jax inside a jitted function


class Sample(NamedTuple):
    """One unpadded image with its people, on the host, as every data source yields it."""

    image: UInt8[np.ndarray, "H W 3"]  # RGB
    keypoints: Float32[np.ndarray, "N K 3"]  # x, y in pixels of `image`; visibility 0 unlabelled, 1 hidden, 2 seen
    boxes_xyxy: Float32[np.ndarray, "N 4"]  # the annotated boxes: ignore regions, and what a box head learns
    area: Float32[np.ndarray, " N"]  # pixels of the person's visible mask
    is_crowd: Bool[np.ndarray, " N"]
    image_id: int
    masks: Bool[np.ndarray, "N H W"] | None = None  # each person's visible mask; None unless the source was asked for


def unlabelled(image: UInt8[np.ndarray, "H W 3"], image_id: int, num_keypoints: int) -> Sample:
    """An image without people."""
    nobody = np.zeros((0, num_keypoints, 3), np.float32)
    return Sample(image, nobody, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, bool), image_id)


class Record(NamedTuple):
    """An image of a dataset as it is stored, with its people: what a built dataset holds."""

    image: bytes  # the encoded file, unchanged
    file_name: str
    image_id: int
    size: tuple[int, int]  # height and width that the labels refer to
    keypoints: Float32[np.ndarray, "N K 3"]  # as in `Sample`
    boxes_xyxy: Float32[np.ndarray, "N 4"]
    area: Float32[np.ndarray, " N"]
    is_crowd: Bool[np.ndarray, " N"]
    masks: tuple[dict[str, Any] | None, ...]  # COCO's compressed RLE of each person; None where unknown
    crowd_index: float | None = None  # how crowded the image is, from 0 to 1; only CrowdPose tells


def is_target(keypoints: Float[np.ndarray, "N K 3"], is_crowd: Bool[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
    """Which people of an image are training targets: those with a labelled joint that are not a crowd."""
    return (keypoints[..., 2] > 0).any(-1) & ~is_crowd


class Batch(NamedTuple):
    """The input of the device: images padded at the right and bottom to one shape, and people padded to N."""

    image: Array  # u8[B,H,W,3] RGB, zero in the padding
    size: Array  # i32[B,2] height and width of the image without its padding
    keypoints: Array  # f32[B,N,K,3] x, y in pixels of the padded image, visibility; all zero for padding people
    boxes: Array  # f32[B,N,4] around the labelled joints of a person, or as annotated where none is labelled
    annotated_boxes: Array  # f32[B,N,4]
    area: Array  # f32[B,N] pixels of the person's visible mask
    is_person: Array  # bool[B,N] a training target: labelled (if the method does not want all), not a crowd
    ignore_boxes: Array  # f32[B,G,4] of people that are no targets, as `data.buckets` decides; (0, 0, 0, 0) is padding
    people_dropped: Array  # i32[B] number of targets beyond N, which become ignore regions
    is_real: Array  # bool[B] False for the blank images that fill the last batch
    scale: Array  # f32[B,2] ratio resized / original in x and y


class Controller(NamedTuple):
    """The controller's last layer and its input, from which theta is computed only at the locations that need it."""

    features: tuple[Array, ...]  # f[B,h,w,C] of every level, finest first
    kernel: Array  # f32[k,k,C,P]
    bias: Array  # f32[P]


class Outputs(NamedTuple):
    """The network's outputs for a batch (Figure 3)."""

    logits: Array  # f32[B,L] logit of "is a person" at every location
    controller: Controller  # computes the parameters of a location's KP-Net
    features: Array  # f32[B,h,w,C] F_kp, shared by all people
    disk_offsets: Array | None  # f32[B,h,w,2K] in map cells; channel 2k is x, 2k+1 is y; None without the branch
    heatmaps: Array | None  # f32[B,h,w,K] logits; None at test time
    sides: Array | None = None  # f32[B,L,4] pixels from a location to the left, top, right, bottom of its person's box


class Targets(NamedTuple):
    """The training targets for the outputs of one image; with a leading axis B after vmap."""

    is_positive: Array  # bool[L] the location is assigned to a person
    is_ignored: Array  # bool[L] the location takes no part in the classification loss
    slot_location: Array  # i32[M] index into L of every filled slot; 0 in empty ones
    slot_person: Array  # i32[M] index into N of every filled slot; 0 in empty ones
    is_slot: Array  # bool[M] the slot is filled; the filled slots come first
    slots_dropped: Array  # i32[] number of positives beyond M
    cells: Array  # i32[N,K] row-major map cell of every joint
    is_joint: Array  # bool[N,K] the joint is labelled, and its cell overlaps the unpadded image
    disk_offsets: Array  # f32[h,w,2K] in map cells
    in_disk: Array  # bool[h,w,K] the disk offset is supervised
    heatmaps: Array  # f32[h,w,K] Gaussians, 1 at the joint's cell
    is_cell: Array  # bool[h,w] the cell overlaps the unpadded image
    boxes: Array  # f32[N,4] as annotated, which the box head learns


class Poses(NamedTuple):
    """The people found in one image, padded to D, best first; with a leading axis B after vmap."""

    keypoints: Array  # f32[D,K,2] x, y in pixels of the padded image
    keypoint_scores: Array  # f32[D,K] softmax peak of each joint's map
    scores: Array  # f32[D] poses are ranked by them
    class_scores: Array  # f32[D] sigmoid of the class logit
    is_person: Array  # bool[D] False for padding
    location: Array  # i32[D] index into L of the location that generated the pose's KP-Net
    boxes: Array | None = None  # f32[D,4] x0 y0 x1 y1 in pixels of the padded image, from a box head; None without one


class KeypointMaps(NamedTuple):
    """The origin of the poses of N people in an image (Figure 1): shared features, and a small network per person.

    The fields have a leading axis B for the images of a batch.
    """

    maps: Array  # f32[N,K,h,w] softmax of each joint's map
    theta: Array  # f32[N,P] parameters of each person's network
    features: Array  # f32[h,w,C] F_kp, which all of them read
    points: Array  # f32[N,2] the locations that generated the networks: x, y in pixels of the padded image
    joints: Array | None = None  # f32[h,w,K,2] where each cell puts each joint (Eq. 3), in pixels of the padded image


Meaning = tuple[str, int]  # the joint, by its name, or "" for all joints alike; which of those that this joint has


class JointSlices(NamedTuple):
    """What each slice of a parameter stands for, along the axis whose size or order depends on the joints."""

    axis: int  # -1: output channels, the last axis; 0: the taps of a kernel f[h,w,in,out], row by row
    meanings: tuple[Meaning, ...]  # of each slice; no meaning occurs twice

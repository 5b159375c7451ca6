"""From the network's outputs to poses (Sec. 3.4): scores, best locations, Eq. 2, Eq. 3, non-maximum suppression.

All shapes are static, so that one compiled program serves every image of a shape; padding never yields a person.
Axes: B images, L locations, C candidates, D poses kept, K keypoints, P parameters, F channels of F_kp,
h w map cells.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from inspose_jax import config, geometry, nms
from inspose_jax.network.instance_heads import theta_at, theta_at_first
from inspose_jax.network.per_person import Peak, PerPerson
from inspose_jax.soft_nms import soft_nms
from inspose_jax.structures import Controller, KeypointMaps, Outputs, Poses


def decode(
    outputs: Outputs,
    size: Int32[Array, "B 2"],
    grid: geometry.Grid,
    decoding: config.Decoding,
    per_person: PerPerson,
    sigmas: Sequence[float],
) -> Poses:
    """The people in every image, best first, in pixels of the padded image; `size` is the unpadded (height, width).

    `sigmas` are the skeleton's constants of OKS.
    """

    def locations_of(logits: Array, size: Array) -> tuple[Array, Array]:
        return best_locations(logits, size, grid, decoding.num_candidates)

    class_scores, location = jax.vmap(locations_of)(outputs.logits, size)
    num_candidates = (class_scores > decoding.score_threshold).sum(-1, dtype=jnp.int32)
    theta = theta_at_first(outputs.controller, location, num_candidates)
    # One image at a time: their numbers of candidates differ, and memory should hold the maps of only one image.
    peaks = jax.lax.map(
        lambda image: per_person.peaks(*image, grid.map_stride),
        (
            num_candidates,
            theta,
            outputs.features,
            jnp.asarray(grid.points)[location],
            jnp.asarray(grid.scales)[location],
            size,
        ),
    )

    def poses_of(
        peaks: Peak, offsets: Array | None, sides: Array | None, class_scores: Array, location: Array
    ) -> Poses:
        keypoints = geometry.read_joints(peaks.cell, offsets, grid.map_size[1], grid.map_stride)
        boxes = None
        if sides is not None:
            boxes = geometry.boxes_of_sides(jnp.asarray(grid.points)[location], sides[location])
        scores = jnp.exp(peaks.logit - peaks.log_sum_exp)
        return best_poses(keypoints, scores, boxes, class_scores, location, decoding, sigmas)

    return jax.vmap(poses_of)(peaks, outputs.disk_offsets, outputs.sides, class_scores, location)


def best_locations(
    logits: Float[Array, " L"], size: Int32[Array, " 2"], grid: geometry.Grid, num_candidates: int
) -> tuple[Float[Array, " C"], Int32[Array, " C"]]:
    """Class scores and indices of an image's best locations, best first; locations in the padding score 0."""
    points = jnp.asarray(grid.points)
    scores = jnp.where(geometry.inside(points, size), jax.nn.sigmoid(logits), 0)
    class_scores, location = jax.lax.top_k(scores, min(num_candidates, len(points)))
    return class_scores, location


def best_poses(
    keypoints: Float[Array, "C K 2"],
    keypoint_scores: Float[Array, "C K"],
    boxes: Float[Array, "C 4"] | None,
    class_scores: Float[Array, " C"],
    location: Int32[Array, " C"],
    decoding: config.Decoding,
    sigmas: Sequence[float],
) -> Poses:
    """Rank an image's candidates above the score threshold and suppress those that overlap a better one too much."""
    is_candidate = class_scores > decoding.score_threshold
    pose_scores = class_scores
    if decoding.pose_score == "class_times_peak":
        pose_scores = class_scores * keypoint_scores.mean(-1)
    order = jnp.argsort(jnp.where(is_candidate, pose_scores, -1), descending=True)
    picks = suppressed(
        keypoints[order],
        None if boxes is None else boxes[order],
        pose_scores[order],
        is_candidate[order],
        decoding,
        sigmas,
    )
    best = order[picks.index]
    return Poses(
        keypoints[best],
        keypoint_scores[best],
        picks.scores,
        class_scores[best],
        jnp.arange(len(best)) < picks.number,
        location[best],
        None if boxes is None else boxes[best],
    )


def suppressed(
    keypoints: Float[Array, "C K 2"],
    boxes: Float[Array, "C 4"] | None,
    scores: Float[Array, " C"],
    is_candidate: Bool[Array, " C"],
    decoding: config.Decoding,
    sigmas: Sequence[float],
) -> nms.Picks:
    """Candidates, the best first and those that are none last -> those that the suppression leaves."""
    threshold, number = decoding.nms_threshold, decoding.num_poses
    if decoding.suppression == "soft":
        num_candidates = is_candidate.sum(dtype=jnp.int32)
        extents = nms.extents(keypoints, boxes)
        return soft_nms(extents, scores, num_candidates, threshold, decoding.least_score, number)
    overlaps = nms.pose_overlaps(keypoints, boxes, decoding.suppression == "oks", sigmas)
    return nms.suppress(overlaps, scores, is_candidate, threshold, number)


def keypoint_maps(
    controller: Controller,
    features: Float[Array, "B h w F"],
    size: Int32[Array, "B 2"],
    grid: geometry.Grid,
    location: Int32[Array, "B N"],
    per_person: PerPerson,
) -> KeypointMaps:
    """The keypoint maps of the people at the given locations of every image; `size` as in `decode`."""
    theta = theta_at(controller, location)
    centres, scales = jnp.asarray(grid.points)[location], jnp.asarray(grid.scales)[location]
    logits = jax.lax.map(
        lambda image: per_person.maps(*image, grid.map_stride), (theta, features, centres, scales, size)
    )
    return KeypointMaps(jax.nn.softmax(logits, axis=(3, 4)), theta, features, centres)


def joints_of_cells(
    disk_offsets: Float[Array, "h w K2"] | None, map_size: tuple[int, int], num_keypoints: int, stride: int
) -> Float[Array, "h w K 2"]:
    """Eq. 3 for every cell: where it puts each joint, if that joint's peak lies there; in pixels."""
    height, width = map_size
    cells = jnp.broadcast_to(jnp.arange(height * width, dtype=jnp.int32)[:, None], (height * width, num_keypoints))
    return geometry.read_joints(cells, disk_offsets, width, stride).reshape(height, width, num_keypoints, 2)

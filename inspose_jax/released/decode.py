"""From the released network's outputs to poses: scores, coarse boxes, soft-NMS, and then the KP-Nets of those left.

The released code divides the coarse joints by the image's scale factors before the suppression.  Here everything is in
pixels of the padded image; the two factors cancel in every IoU, up to rounding.

As in the released code, the locations in the padding count too, joints may lie in the padding, and GroupNorm sees it:
what is found in an image depends on its padding.

Axes: B images, L locations, C candidates, D poses kept, K keypoints, P parameters, h w map cells.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from inspose_jax import geometry
from inspose_jax.network.instance_heads import theta_at_first
from inspose_jax.network.per_person import KeypointMap, Peak, apply_to_first, at_least_float32, make_person_map, peak_of
from inspose_jax.network.upsample import bicubic_x2
from inspose_jax.released import config
from inspose_jax.released.network import Outputs
from inspose_jax.soft_nms import soft_nms
from inspose_jax.structures import Poses


class Survivors(NamedTuple):
    """The locations of an image that are left after the suppression, best first."""

    location: Array  # i32[D] index into L
    scores: Array  # f32[D] decayed by the suppression
    boxes: Array  # f32[D,4] around the coarse joints, in pixels of the padded image
    number: Array  # i32[] of survivors; the rest is padding


def decode(
    outputs: Outputs,
    size: Int32[Array, "B 2"],
    grid: geometry.Grid,
    decoding: config.Decoding,
    keypoint_map: KeypointMap,
) -> Poses:
    """The people in every image, best first, in pixels of the padded image; `size` is the unpadded (height, width)."""

    def found_in(image: tuple[Array, Array, Array]) -> Survivors:
        logits, coarse, size = image
        return survivors(logits, coarse, size, grid, decoding)

    def peaks_in(image: tuple[Array, Array, Array, Array, Array]) -> Peak:
        number, theta, features, points, scales = image
        return peaks_of(number, theta, features, points, scales, grid.map_stride, keypoint_map)

    # One image at a time: their numbers of people differ, and memory should hold the maps of only one image.
    found = jax.lax.map(found_in, (outputs.logits, outputs.coarse, size))
    points, scales = jnp.asarray(grid.points)[found.location], jnp.asarray(grid.scales)[found.location]
    theta = theta_at_first(outputs.controller, found.location, found.number)
    peaks = jax.lax.map(peaks_in, (found.number, theta, outputs.features, points, scales))

    def poses_of(found: Survivors, peaks: Peak, offsets: Array, class_scores: Array) -> Poses:
        keypoints = geometry.read_joints(peaks.cell, offsets, 2 * grid.map_size[1], grid.map_stride // 2)
        is_person = jnp.arange(len(found.scores)) < found.number
        keypoint_scores = jnp.exp(peaks.logit - peaks.log_sum_exp)
        return Poses(keypoints, keypoint_scores, found.scores, class_scores, is_person, found.location)

    class_scores = jnp.take_along_axis(jax.nn.sigmoid(outputs.logits), found.location, axis=1)
    return jax.vmap(poses_of)(found, peaks, outputs.offsets, class_scores)


def survivors(
    logits: Float[Array, " L"],
    coarse: Float[Array, "L K 2"],
    size: Int32[Array, " 2"],
    grid: geometry.Grid,
    decoding: config.Decoding,
) -> Survivors:
    """The locations of an image that soft-NMS leaves, judged by the rectangles of their coarse joints."""
    location = best_of_levels(logits, grid, decoding.num_per_level)
    scores = jax.nn.sigmoid(logits)[location]
    is_candidate = scores > decoding.score_threshold
    order = jnp.argsort(~is_candidate, stable=True)
    location, scores = location[order], scores[order]
    boxes = coarse_boxes(coarse[location], location, size, grid)
    number = is_candidate.sum(dtype=jnp.int32)
    picks = soft_nms(boxes, scores, number, decoding.nms_threshold, decoding.least_score, decoding.num_poses)
    return Survivors(location[picks.index], picks.scores, boxes[picks.index], picks.number)


def best_of_levels(logits: Float[Array, " L"], grid: geometry.Grid, most: int) -> Int32[Array, " C"]:
    """The `most` best locations of every level, best first, or all of a smaller level in their order."""
    chosen, start = [], 0
    for height, width in grid.level_sizes:
        end = start + height * width
        if end - start > most:
            chosen.append(jax.lax.top_k(logits[start:end], most)[1] + start)
        else:
            chosen.append(jnp.arange(start, end, dtype=jnp.int32))
        start = end
    return jnp.concatenate(chosen)


def coarse_boxes(
    coarse: Float[Array, "C K 2"], location: Int32[Array, " C"], size: Int32[Array, " 2"], grid: geometry.Grid
) -> Float[Array, "C 4"]:
    """Rectangles x0 y0 x1 y1 around the coarse joints of some locations, clamped to the unpadded image, in pixels."""
    points, strides = jnp.asarray(grid.points)[location], jnp.asarray(grid.strides)[location]
    joints = points[:, None] + coarse * strides[:, None, None]
    joints = jnp.clip(joints, 0, size[::-1].astype(joints.dtype))
    return jnp.concatenate([joints.min(1), joints.max(1)], -1)


def peaks_of(
    number: Int32[Array, ""],
    theta: Float[Array, "D P"],
    features: Float[Array, "h w F"],
    centres: Float[Array, "D 2"],
    scales: Float[Array, " D"],
    stride: int,
    keypoint_map: KeypointMap,
) -> Peak:
    """Where each joint is, for the first `number` people of an image: a cell of the maps enlarged to half the stride.

    The activation and log-sum-exp are those of the map before that, whose softmax is trained.
    """
    map_of = make_person_map(keypoint_map, features, stride)

    def of_candidate(theta: Array, centre: Array, scale: Array) -> Peak:
        maps = map_of(theta, centre, scale)
        return peak_of(maps)._replace(cell=peak_of(bicubic_x2(maps)).cell)

    return apply_to_first(of_candidate, number, (at_least_float32(theta), centres, scales))

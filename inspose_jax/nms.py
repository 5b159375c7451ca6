"""Non-maximum suppression with fixed shapes: one matrix of overlaps, then one loop (Sec. 3.4).

Two poses overlap by the IoU of their boxes, or by their OKS.

Axes: N poses, K keypoints, D poses kept.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from inspose_jax import geometry
from inspose_jax.structures import Poses


class Picks(NamedTuple):
    """What a suppression leaves, best first."""

    index: Array  # i32[D] into what was given
    scores: Array  # f32[D] what is left of the score
    number: Array  # i32[] of picks; the rest of the fields is padding


def suppress(
    overlaps: Float[Array, "N N"],
    scores: Float[Array, " N"],
    is_candidate: Bool[Array, " N"],
    threshold: float,
    num_picks: int,
) -> Picks:
    """The best `num_picks` candidates that `keep` leaves; all are given best first."""
    is_kept = keep(overlaps, is_candidate, threshold)
    index = jnp.argsort(~is_kept, stable=True)[:num_picks].astype(jnp.int32)
    return Picks(index, scores[index], jnp.minimum(is_kept.sum(dtype=jnp.int32), len(index)))


def keep(overlaps: Float[Array, "N N"], is_candidate: Bool[Array, " N"], threshold: float) -> Bool[Array, " N"]:
    """Greedily mark what to keep, best first: whoever is kept suppresses all worse ones that it overlaps too much.

    `overlaps[i, j]` above `threshold` is too much for the worse one, j.  Whoever is no candidate is neither kept nor
    suppresses others.
    """
    is_too_much = overlaps > threshold
    index = jnp.arange(len(overlaps))

    def visit(i: Array, is_kept: Array) -> Array:
        # One that is still kept when its turn comes suppresses all worse ones that it overlaps.
        return is_kept & ~(is_kept[i] & is_too_much[i] & (index > i))

    return jax.lax.fori_loop(0, len(overlaps), visit, is_candidate)


def best_first(poses: Poses) -> Poses:
    """The people of one image by score, the best first and padding last."""
    order = jnp.argsort(jnp.where(poses.is_person, poses.scores, -1), descending=True)
    return jax.tree.map(lambda x: x[order], poses)


def pose_overlaps(
    keypoints: Float[Array, "N K 2"], boxes: Float[Array, "N 4"] | None, by_oks: bool, sigmas: Sequence[float]
) -> Float[Array, "N N"]:
    """How much poses overlap one another: their OKS, or the IoU of their `extents`."""
    if by_oks:
        return pose_oks(keypoints, sigmas)
    around = extents(keypoints, boxes)
    return geometry.box_iou(around, around)


def extents(keypoints: Float[Array, "N K 2"], boxes: Float[Array, "N 4"] | None) -> Float[Array, "N 4"]:
    """The boxes of a box head, as in Table 4, or without one the rectangles around the joints (Sec. 3.4)."""
    return boxes_around(keypoints) if boxes is None else boxes


def pose_oks(
    keypoints: Float[Array, "N K 2"], sigmas: Sequence[float], others: Float[Array, "M K 2"] | None = None
) -> Float[Array, "N M"]:
    """COCO's OKS of every pose j of `others` with pose i, which stands for the annotated person; all joints count.

    The person's area is that of the rectangle around the joints, the area that COCO's tool gives to results.  Without
    `others`, of all poses with one another.
    """
    others = keypoints if others is None else others
    areas = geometry.box_area(boxes_around(keypoints))
    (x, y), (x_of_others, y_of_others) = jnp.moveaxis(keypoints, -1, 0), jnp.moveaxis(others, -1, 0)
    squares = jnp.square(x[:, None] - x_of_others) + jnp.square(y[:, None] - y_of_others)
    return geometry.oks(squares, jnp.ones((1, 1, len(sigmas)), bool), areas[:, None], sigmas)


def boxes_around(keypoints: Float[Array, "N K 2"]) -> Float[Array, "N 4"]:
    """Smallest rectangle around each pose; sides are at least one pixel, so that a collapsed pose overlaps itself."""
    every = jnp.ones(keypoints.shape[:2], bool)
    boxes: Float[Array, "N 4"] = geometry.pseudo_boxes(keypoints, every)
    return boxes.at[:, 2:].max(boxes[:, :2] + 1)

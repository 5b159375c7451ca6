"""Non-maximum suppression with fixed shapes: one IoU matrix, then one loop (Sec. 3.4)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from inspose_jax import geometry


def keep(boxes: Float[Array, "N 4"], is_candidate: Bool[Array, " N"], threshold: float) -> Bool[Array, " N"]:
    """Which boxes survive, greedily: a box falls when a better survivor overlaps it by more than `threshold` IoU.

    `boxes` are x0 y0 x1 y1, best first; what is no candidate neither survives nor suppresses.
    """
    overlaps = geometry.box_iou(boxes, boxes) > threshold
    index = jnp.arange(len(boxes))

    def visit(i: Array, is_kept: Array) -> Array:
        # When its turn comes, a box that is still kept takes all worse ones that it overlaps with it.
        return is_kept & ~(is_kept[i] & overlaps[i] & (index > i))

    return jax.lax.fori_loop(0, len(boxes), visit, is_candidate)

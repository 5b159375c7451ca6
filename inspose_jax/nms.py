"""Non-maximum suppression with fixed shapes: one IoU matrix, then one loop (Sec. 3.4)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from inspose_jax import geometry


def keep(boxes: Float[Array, "N 4"], is_candidate: Bool[Array, " N"], threshold: float) -> Bool[Array, " N"]:
    """Greedily mark the boxes to keep: a kept box suppresses all worse ones whose IoU with it exceeds `threshold`.

    `boxes` are x0 y0 x1 y1, best first; a box that is no candidate is neither kept nor suppresses others.
    """
    overlaps = geometry.box_iou(boxes, boxes) > threshold
    index = jnp.arange(len(boxes))

    def visit(i: Array, is_kept: Array) -> Array:
        # A box that is still kept when its turn comes suppresses all worse ones that it overlaps.
        return is_kept & ~(is_kept[i] & overlaps[i] & (index > i))

    return jax.lax.fori_loop(0, len(boxes), visit, is_candidate)

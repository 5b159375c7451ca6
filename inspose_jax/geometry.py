"""Where cells, locations and boxes lie; the only place that knows half-pixels and half-strides.

Axes: L locations of all levels, N people, K keypoints, h w map cells.  Points are (x, y) in pixels of the padded
picture, boxes x0 y0 x1 y1, sizes (height, width).  Pixels are continuous: pixel i spans [i, i + 1).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int32


class Locations(NamedTuple):
    """All locations of all levels in one list, row by row, finest level first (host constants)."""

    points: Float32[np.ndarray, "L 2"]  # x, y in pixels
    strides: Float32[np.ndarray, " L"]
    level: Int32[np.ndarray, " L"]  # index into the model's `levels`


def level_size(size: tuple[int, int], level: int) -> tuple[int, int]:
    """Cells (height, width) of pyramid level `level`, stride 2^level; odd sides round up as a stride-2 conv does."""
    return -(-size[0] // 2**level), -(-size[1] // 2**level)


def locations(size: tuple[int, int], levels: tuple[int, ...]) -> Locations:
    """Every location of a picture of `size` pixels: (x s + floor(s / 2), y s + floor(s / 2)), Sec. 3.1."""
    points, strides, index = [], [], []
    for i, level in enumerate(levels):
        stride = 2**level
        height, width = level_size(size, level)
        y, x = np.mgrid[:height, :width]
        points.append(np.stack([x.ravel(), y.ravel()], -1) * stride + stride // 2)
        strides.append(np.full(height * width, stride))
        index.append(np.full(height * width, i))
    return Locations(
        np.concatenate(points).astype(np.float32),
        np.concatenate(strides).astype(np.float32),
        np.concatenate(index).astype(np.int32),
    )


def generating_locations(
    index: Int32[Array, "*shape"], image_size: tuple[int, int], levels: tuple[int, ...], relative_scale: float
) -> tuple[Float32[Array, "*shape 2"], Float32[Array, "*shape"]]:
    """Point (x, y) in pixels, and scale of the relative coordinates, of locations by their index in the list L.

    The scale is `relative_scale` pixels on level 3 and doubles with every level (spelt out in `kp_net.py`).
    """
    places = locations(image_size, levels)
    scales = (relative_scale * places.strides / 8).astype(np.float32)
    return jnp.asarray(places.points)[index], jnp.asarray(scales)[index]


def cell_centres(map_size: tuple[int, int], stride: int) -> Float32[np.ndarray, "h w 2"]:
    """Centre (x, y) of every map cell in pixels: cell c spans [c s, (c + 1) s)."""
    y, x = np.mgrid[: map_size[0], : map_size[1]]
    return ((np.stack([x, y], -1) + 0.5) * stride).astype(np.float32)


def real_cells(map_size: tuple[int, int], stride: int, size: Int32[Array, " 2"]) -> Bool[Array, "h w"]:
    """Which map cells hold a piece of the real picture of `size` (height, width): all that its joints can lie in.

    Rows and columns apart, counted on the device: for pixels a map of them is megabytes in every compiled program.
    """
    top, left = (jnp.arange(side, dtype=jnp.int32) * stride for side in map_size)
    return (top < size[0])[:, None] & (left < size[1])


def inside(points: Float[Array, "*shape 2"], size: Int32[Array, " 2"]) -> Bool[Array, "*shape"]:
    """Which points lie in the real picture of `size` (height, width), not in its padding."""
    height, width = size.astype(points.dtype)
    return (points >= 0).all(-1) & (points[..., 0] < width) & (points[..., 1] < height)


def pseudo_boxes(points: Float[Array, "N K 2"], counts: Bool[Array, "N K"]) -> Float[Array, "N 4"]:
    """Smallest rectangle around the joints that count (Sec. 3.1); (0, 0, 0, 0) where none does."""
    low = jnp.where(counts[..., None], points, jnp.inf).min(1)
    high = jnp.where(counts[..., None], points, -jnp.inf).max(1)
    return jnp.where(counts.any(1)[:, None], jnp.concatenate([low, high], -1), 0)


def box_area(boxes: Float[Array, "N 4"]) -> Float[Array, " N"]:
    """Area in square pixels."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def box_iou(boxes: Float[Array, "N 4"], others: Float[Array, "M 4"]) -> Float[Array, "N M"]:
    """Intersection over union of every pair; 0 where the union is empty."""
    low = jnp.maximum(boxes[:, None, :2], others[None, :, :2])
    high = jnp.minimum(boxes[:, None, 2:], others[None, :, 2:])
    intersection = jnp.prod(jnp.maximum(high - low, 0), -1)
    union = box_area(boxes)[:, None] + box_area(others)[None] - intersection
    return jnp.where(union > 0, intersection / jnp.where(union > 0, union, 1), 0)

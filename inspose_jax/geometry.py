"""The positions of cells, locations and boxes, which other modules take from here.

Axes: L locations of all levels, N people, K keypoints, h w map cells.  Points are (x, y) in pixels of the padded
image, boxes x0 y0 x1 y1, sizes (height, width).  Pixels are continuous: pixel i spans [i, i + 1).
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int32


class Grid(NamedTuple):
    """The positions of locations and cells on images of one padded shape, as constants on the host.

    The locations of all levels form one list, row by row, finest level first.
    """

    points: Float32[np.ndarray, "L 2"]  # x, y in pixels
    strides: Float32[np.ndarray, " L"]
    scales: Float32[np.ndarray, " L"]  # pixels; divisor of the relative coordinates of a location's KP-Net
    level: Int32[np.ndarray, " L"]  # index into the two lists below
    level_strides: tuple[int, ...]  # finest first
    level_sizes: tuple[tuple[int, int], ...]  # cells (height, width)
    map_size: tuple[int, int]  # of keypoint maps, disk offsets and heatmaps, in cells (height, width)
    map_stride: int  # pixels


def level_size(size: tuple[int, int], level: int) -> tuple[int, int]:
    """Cells (height, width) of pyramid level `level`, stride 2^level; odd sides round up as in a stride-2 conv."""
    return -(-size[0] // 2**level), -(-size[1] // 2**level)


@cache
def make_grid(
    size: tuple[int, int], levels: tuple[int, ...], map_level: int, relative_scale: float, map_ratio: float = 1.0
) -> Grid:
    """The grid of images of `size` (height, width) in pixels.

    Locations are (x s + floor(s / 2), y s + floor(s / 2)), Sec. 3.1.  The scale of relative coordinates is
    `relative_scale` pixels on level 3 and doubles with every level.  The maps have `map_ratio` times the cells of
    `map_level` in each direction, rounded up.
    """
    points, strides, index = [], [], []
    sizes = tuple(level_size(size, level) for level in levels)
    for i, (level, (height, width)) in enumerate(zip(levels, sizes, strict=True)):
        stride = 2**level
        y, x = np.mgrid[:height, :width]
        points.append(np.stack([x.ravel(), y.ravel()], -1) * stride + stride // 2)
        strides.append(np.full(height * width, stride))
        index.append(np.full(height * width, i))
    all_strides = np.concatenate(strides).astype(np.float32)
    map_height, map_width = level_size(size, map_level)
    return Grid(
        points=np.concatenate(points).astype(np.float32),
        strides=all_strides,
        scales=(relative_scale * all_strides / 8).astype(np.float32),
        level=np.concatenate(index).astype(np.int32),
        level_strides=tuple(2**level for level in levels),
        level_sizes=sizes,
        map_size=(math.ceil(map_height * map_ratio), math.ceil(map_width * map_ratio)),
        map_stride=round(2**map_level / map_ratio),
    )


def cell_centres(map_size: tuple[int, int], stride: int) -> Float32[np.ndarray, "h w 2"]:
    """Centre (x, y) of every map cell in pixels: cell c spans [c s, (c + 1) s)."""
    y, x = np.mgrid[: map_size[0], : map_size[1]]
    return ((np.stack([x, y], -1) + 0.5) * stride).astype(np.float32)


def real_cells(map_size: tuple[int, int], stride: int, size: Int32[Array, " 2"]) -> Bool[Array, "h w"]:
    """Which map cells overlap the unpadded image of `size` (height, width); its joints lie in no other cells.

    Rows and columns are compared separately, with indices made on the device: for maps of pixels, a constant array of
    cell positions would add megabytes to every compiled program.
    """
    top, left = (jnp.arange(side, dtype=jnp.int32) * stride for side in map_size)
    return (top < size[0])[:, None] & (left < size[1])


def inside(points: Float[Array, "*shape 2"], size: Int32[Array, " 2"]) -> Bool[Array, "*shape"]:
    """Which points lie in the unpadded image of `size` (height, width), not in the padding."""
    height, width = size.astype(points.dtype)
    return (points >= 0).all(-1) & (points[..., 0] < width) & (points[..., 1] < height)


def pseudo_boxes(points: Float[Array, "N K 2"], counts: Bool[Array, "N K"]) -> Float[Array, "N 4"]:
    """Smallest rectangle around each person's joints that count (Sec. 3.1); (0, 0, 0, 0) if none does."""
    low = jnp.where(counts[..., None], points, jnp.inf).min(1)
    high = jnp.where(counts[..., None], points, -jnp.inf).max(1)
    return jnp.where(counts.any(1)[:, None], jnp.concatenate([low, high], -1), 0)


def boxes_of_sides(points: Float[Array, "*shape 2"], sides: Float[Array, "*shape 4"]) -> Float[Array, "*shape 4"]:
    """Points and their distances to the left, top, right and bottom side of a box -> the boxes x0 y0 x1 y1."""
    return jnp.concatenate([points - sides[..., :2], points + sides[..., 2:]], -1)


def generalised_iou(boxes: Float[Array, "*shape 4"], others: Float[Array, "*shape 4"]) -> Float[Array, "*shape"]:
    """GIoU of pairs of boxes: IoU minus the share of their common hull that neither covers; -1 to 1.

    One box of each pair must have an area.
    """

    def area(low: Array, high: Array) -> Array:
        return jnp.prod(jnp.maximum(high - low, 0), -1)

    low, high, other_low, other_high = boxes[..., :2], boxes[..., 2:], others[..., :2], others[..., 2:]
    shared = area(jnp.maximum(low, other_low), jnp.minimum(high, other_high))
    union = area(low, high) + area(other_low, other_high) - shared
    hull = area(jnp.minimum(low, other_low), jnp.maximum(high, other_high))
    return shared / union - (hull - union) / hull


def read_joints(
    cells: Int32[Array, "N K"], disk_offsets: Float[Array, "h w K2"] | None, map_width: int, stride: int
) -> Float[Array, "N K 2"]:
    """Eq. 3: the cell plus the disk offset predicted there, times the stride; without offsets, the cell's centre."""
    num_keypoints = cells.shape[1]
    corner = jnp.stack([cells % map_width, cells // map_width], -1)
    if disk_offsets is None:
        return (corner.astype(jnp.float32) + 0.5) * stride
    offsets = disk_offsets.reshape(-1, num_keypoints, 2)
    return (corner.astype(offsets.dtype) + offsets[cells, jnp.arange(num_keypoints)]) * stride


def oks(
    squares: Float[Array, "*#shape K"],
    counts: Bool[Array, "*#shape K"],
    area: Float[Array, "*#shape"],
    sigmas: Sequence[float],
) -> Float[Array, "*#shape"]:
    """COCO's object keypoint similarity of poses, 0 to 1: the mean of e^(-d^2 / (2 area (2 sigma)^2)).

    The mean is over the joints that count, and 0 if none does.  `squares` are d^2, of each joint's distance from its
    true place, and `area` is the person's, in the same unit.
    """
    # As COCO does: an area of 0 would give a joint in its right place no number.
    size = area[..., None] + jnp.asarray(np.spacing(1.0), area.dtype)
    spread = jnp.square(2 * jnp.asarray(sigmas, area.dtype))
    similarity = jnp.exp(-squares / (2 * spread * size))
    number = jnp.maximum(counts.sum(-1), 1).astype(similarity.dtype)
    return jnp.where(counts, similarity, 0).sum(-1) / number


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

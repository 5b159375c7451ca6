"""What the released network's outputs should be: owners of locations, joint cells, heatmaps, offsets, tag cells.

`inspose_jax/targets.py` has what the paper's model shares.  With `strict_parity`, the slips of the released code that
concern targets are kept:

* tags are read one cell above and left of the joint's cell, and from the far border where that would be cell -1;
* a joint exactly on the right border of the padded image stands, in the keypoint map, for the first cell of the next
  row; one on the lower border, where that code fails, does not count.

Without it, tags are read at the joint's cell, and joints on a far border of the padded image belong to no cell.

Axes: B images, N people, K keypoints, L locations of all levels, M slots, h w cells of stride 8, 2h 2w of stride 4.
Points are (x, y) in pixels of the padded image unless a name says cells.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32

from inspose_jax import geometry
from inspose_jax.released import config
from inspose_jax.structures import Batch
from inspose_jax.targets import at_slot_locations, fill_slots, gaussian_radius

LEVEL_LIMITS = (-1.0, 64.0, 128.0, 256.0, 512.0, 1e8)  # pixels, closed on both sides


class Targets(NamedTuple):
    """The training targets for the outputs of one image; with a leading axis B after vmap."""

    is_positive: Array  # bool[L] the location is assigned to a person
    is_ignored: Array  # bool[L] no part of the classification loss: beyond the M slots, or of a blank image
    slot_location: Array  # i32[M] index into L of every filled slot; 0 in empty ones
    slot_person: Array  # i32[M] index into N of every filled slot; 0 in empty ones
    is_slot: Array  # bool[M] the slot is filled; the filled slots come first
    slots_dropped: Array  # i32[] number of positives beyond M
    points: Array  # f32[N,K,2]
    is_labelled: Array  # bool[N,K]
    area: Array  # f32[N] pixels of the person's mask
    cells: Array  # i32[N,K] row-major stride-8 cell of every joint
    is_joint: Array  # bool[N,K] the joint is labelled and has such a cell
    tag_cells: Array  # i32[N,K] row-major stride-4 cell at which the joint's tag is read
    is_tag: Array  # bool[N,K] the joint is labelled and has such a cell
    heatmaps: Array  # f32[2h,2w,K] Gaussians, 1 at the joint's cell
    offsets: Array  # f32[2h,2w,2K] from a cell's corner to the joint, in cells
    in_window: Array  # bool[2h,2w,K] the offset is supervised
    is_real: Array  # bool[] the image is none of the blank ones that fill a batch


def make_targets(batch: Batch, grid: geometry.Grid, assignment: config.Assignment, strict_parity: bool) -> Targets:
    """The targets of every image of a batch."""

    def one_image(keypoints: Array, boxes: Array, area: Array, is_person: Array, size: Array) -> Targets:
        return image_targets(keypoints, boxes, area, is_person, size, grid, assignment, strict_parity)

    return jax.vmap(one_image)(batch.keypoints, batch.boxes, batch.area, batch.is_person, batch.size)


def image_targets(
    keypoints: Float[Array, "N K 3"],
    boxes: Float[Array, "N 4"],
    area: Float[Array, " N"],
    is_person: Bool[Array, " N"],
    size: Int32[Array, " 2"],
    grid: geometry.Grid,
    assignment: config.Assignment,
    strict_parity: bool,
) -> Targets:
    """The targets of one image of `size`, its unpadded (height, width).

    `boxes` are pseudo boxes, or the annotated ones of people without a labelled joint.  Boxes and joints are clamped to
    the image, whose far border belongs to it.
    """
    is_labelled = (keypoints[..., 2] > 0) & is_person[:, None]
    border = size[::-1].astype(keypoints.dtype)
    points = jnp.clip(keypoints[..., :2], 0, border)
    boxes = jnp.clip(boxes, 0, jnp.tile(border, 2))
    owner = owners(boxes, is_person, grid, assignment.centre_radius)
    slot_location, slot_person, is_slot, slots_dropped = fill_slots(
        owner, boxes, grid, assignment.centre_radius, assignment.num_slots
    )
    is_positive = at_slot_locations(is_slot, slot_location, is_slot, len(grid.points))

    stride, (height, width) = grid.map_stride, grid.map_size
    column, row = jnp.moveaxis(jnp.floor(points / stride).astype(jnp.int32), -1, 0)
    cells = row * width + column
    has_cell = (cells < height * width) if strict_parity else ((column < width) & (row < height))

    # Stride 4 from here on.
    stride, height, width = stride // 2, 2 * height, 2 * width
    column, row = jnp.moveaxis(jnp.floor(points / stride).astype(jnp.int32), -1, 0)
    tag_row, tag_column = ((row - 1) % height, (column - 1) % width) if strict_parity else (row, column)
    has_tag = (tag_row < height) & (tag_column < width)
    radius = jnp.minimum(gaussian_radius(boxes / stride, assignment.overlap), assignment.largest_radius)
    heatmaps, offsets, in_window = windows(points / stride, is_labelled, radius, (height, width))
    return Targets(
        is_positive,
        ((owner >= 0) & ~is_positive) | ~(size > 0).all(),
        slot_location,
        slot_person,
        is_slot,
        slots_dropped,
        points,
        is_labelled,
        area,
        jnp.where(has_cell, cells, 0),
        is_labelled & has_cell,
        jnp.where(has_tag, tag_row * width + tag_column, 0),
        is_labelled & has_tag,
        heatmaps,
        offsets,
        in_window,
        (size > 0).all(),
    )


def owners(
    boxes: Float[Array, "N 4"], is_person: Bool[Array, " N"], grid: geometry.Grid, radius: float
) -> Int32[Array, " L"]:
    """The person that each location is assigned to, -1 for none.

    The location lies strictly inside the person's box and within `radius` strides of its centre, and the distance to
    the farthest side is in the level's range.  The smallest box wins; among equal areas, the first one listed.
    """
    points, reach = jnp.asarray(grid.points)[None], radius * jnp.asarray(grid.strides)[None, :, None]
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    centre = (low + high) / 2
    is_inside = (points > jnp.maximum(centre - reach, low)) & (points < jnp.minimum(centre + reach, high))
    farthest = jnp.maximum(points - low, high - points).max(-1)
    limits = np.array(LEVEL_LIMITS, np.float32)
    on_level = (farthest >= jnp.asarray(limits[grid.level])) & (farthest <= jnp.asarray(limits[grid.level + 1]))
    area = jnp.where(is_inside.all(-1) & on_level & is_person[:, None], geometry.box_area(boxes)[:, None], jnp.inf)
    return jnp.where(jnp.isfinite(area.min(0)), area.argmin(0), -1).astype(jnp.int32)


def windows(
    points_cells: Float[Array, "N K 2"],
    is_labelled: Bool[Array, "N K"],
    radius: Float[Array, " N"],
    size: tuple[int, int],
) -> tuple[Float[Array, "h w K"], Float[Array, "h w K2"], Bool[Array, "h w K"]]:
    """Heatmaps, offsets, and where offsets are supervised, on a map of `size` cells, one person at a time.

    Around the cell of each joint lies a square window of half-width r.  In it the heatmap is a Gaussian with sigma
    (2 r + 1) / 6, combined by maximum, and the offset leads from the cell's corner to the joint; where windows overlap,
    the shortest offset wins, of equal ones the first.  A joint on a far border has its cell outside the map.
    """
    height, width = size
    row, column = (place[..., None] for place in jnp.mgrid[:height, :width].astype(points_cells.dtype))

    def add_person(carry: tuple[Array, Array, Array, Array], person: tuple[Array, Array, Array]):
        nearest, x, y, heatmap = carry
        point, counts, r = person
        to_x, to_y = point[:, 0] - column, point[:, 1] - row  # [h, w, K]
        away_x, away_y = column - jnp.floor(point[:, 0]), row - jnp.floor(point[:, 1])
        in_window = (jnp.abs(away_x) <= r) & (jnp.abs(away_y) <= r) & counts
        gaussian = jnp.exp(-(jnp.square(away_x) + jnp.square(away_y)) / (2 * jnp.square((2 * r + 1) / 6)))
        distance = jnp.where(in_window, jnp.square(to_x) + jnp.square(to_y), jnp.inf)
        is_nearer = distance < nearest
        return (
            jnp.minimum(nearest, distance),
            jnp.where(is_nearer, to_x, x),
            jnp.where(is_nearer, to_y, y),
            jnp.maximum(heatmap, jnp.where(in_window, gaussian, 0)),
        ), None

    zeros = jnp.zeros((height, width, points_cells.shape[1]), points_cells.dtype)
    start = (zeros + jnp.inf, zeros, zeros, zeros)
    (nearest, x, y, heatmap), _ = jax.lax.scan(add_person, start, (points_cells, is_labelled, radius))
    return heatmap, jnp.stack([x, y], -1).reshape(height, width, -1), jnp.isfinite(nearest)

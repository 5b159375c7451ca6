"""Target assignment: the owners of locations (Sec. 3.1), joint cells (3.2), disk offsets (3.3), heatmaps (3.4).

The functions handle one image and are vmapped over the batch.
Axes: N people, K keypoints, L locations of all levels, M slots, h w map cells, C candidate locations of a person.
Points are (x, y) in pixels of the padded image unless a name says cells.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Int32, Shaped

from inspose_jax import config, geometry
from inspose_jax.structures import Batch, Targets


def make_targets(batch: Batch, grid: geometry.Grid, assignment: config.Assignment) -> Targets:
    """The targets of every image of a batch; blank images (size 0) get none and are ignored at every location."""

    def one_image(keypoints: Array, boxes: Array, is_person: Array, ignore_boxes: Array, size: Array) -> Targets:
        return image_targets(keypoints, boxes, is_person, ignore_boxes, size, grid, assignment)

    fields = batch.keypoints, batch.annotated_boxes, batch.is_person, batch.ignore_boxes, batch.size
    return jax.vmap(one_image)(*fields)


def image_targets(
    keypoints: Float[Array, "N K 3"],
    annotated_boxes: Float[Array, "N 4"],
    is_person: Bool[Array, " N"],
    ignore_boxes: Float[Array, "G 4"],
    size: Int32[Array, " 2"],
    grid: geometry.Grid,
    assignment: config.Assignment,
) -> Targets:
    """The targets for all outputs of one image; `size` is its unpadded (height, width) in pixels."""
    stride = grid.map_stride
    is_labelled = (keypoints[..., 2] > 0) & is_person[:, None]
    boxes = geometry.pseudo_boxes(keypoints[..., :2], is_labelled)
    is_answerable = geometry.inside(jnp.asarray(grid.points), size)

    assigned = annotated_boxes if assignment.assigned_boxes == "annotated" else boxes
    owner = owners(assigned, is_person, grid, assignment)
    owner = jnp.where(is_answerable, owner, -1)
    slot_location, slot_person, is_slot, slots_dropped = fill_slots(
        owner, assigned, grid, assignment.centre_radius, assignment.num_slots
    )
    is_positive = at_slot_locations(is_slot, slot_location, is_slot, len(grid.points))
    in_ignore_region = in_boxes(jnp.asarray(grid.points), ignore_boxes).any(0)
    # An owned location without a slot is neither a person nor background.
    is_ignored = ~is_positive & (~is_answerable | in_ignore_region | (owner >= 0))

    is_cell = geometry.real_cells(grid.map_size, stride, size)
    cells, is_joint = keypoint_cells(keypoints[..., :2], is_labelled, is_cell, stride)
    radius = gaussian_radius(boxes / stride, assignment.heatmap_overlap)
    disk_offsets, in_disk, heatmaps = dense_targets(
        keypoints[..., :2] / stride, cells, is_joint, radius, is_cell, assignment.disk_radius
    )
    return Targets(
        is_positive,
        is_ignored,
        slot_location,
        slot_person,
        is_slot,
        slots_dropped,
        cells,
        is_joint,
        disk_offsets,
        in_disk,
        heatmaps,
        is_cell,
        annotated_boxes,
    )


# --- Sec. 3.1: which person a location is assigned to ---------------------------------------------------------------


def owners(
    boxes: Float[Array, "N 4"], is_person: Bool[Array, " N"], grid: geometry.Grid, assignment: config.Assignment
) -> Int32[Array, " L"]:
    """The person that each location is assigned to, -1 for none.

    A location can be assigned to a person if it lies inside the square of half side r s around the centre of the
    person's box, by default its pseudo box (Sec. 3.1), and its level is the one for the distance to the farthest side
    of the box (FCOS).  Among several people the one with the smallest box wins; among equal boxes, the first one
    listed.
    """
    points, strides = jnp.asarray(grid.points), jnp.asarray(grid.strides)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    distance = jnp.abs(points[None] - centres[:, None]).max(-1)
    in_centre = distance < assignment.centre_radius * strides

    to_sides = jnp.concatenate([points[None] - boxes[:, None, :2], boxes[:, None, 2:] - points[None]], -1)
    farthest = to_sides.max(-1)
    limits = np.array([-1, *assignment.level_limits, np.inf], np.float32)
    low, high = jnp.asarray(limits[grid.level]), jnp.asarray(limits[grid.level + 1])
    on_level = (farthest > low) & (farthest <= high)

    area = jnp.where(in_centre & on_level & is_person[:, None], geometry.box_area(boxes)[:, None], jnp.inf)
    return jnp.where(jnp.isfinite(area.min(0)), area.argmin(0), -1).astype(jnp.int32)


def fill_slots(
    owner: Int32[Array, " L"], boxes: Float[Array, "N 4"], grid: geometry.Grid, centre_radius: float, num_slots: int
) -> tuple[Int32[Array, " M"], Int32[Array, " M"], Bool[Array, " M"], Int32[Array, ""]]:
    """Choose at most M owned locations: people take turns, nearest location to the centre first.

    As long as M is at least the number of people, none is left without a location.

    Returns the location and the person of every slot, which slots are filled, and the number of locations left
    without a slot.  This avoids sorting all L locations, since those of a person lie within a few cells of its centre
    on every level.
    """
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    near, is_near = nearby_locations(centres, grid, centre_radius)
    people = jnp.arange(len(boxes), dtype=jnp.int32)
    is_own = is_near & (owner[near] == people[:, None])
    points = jnp.asarray(grid.points)
    distance = jnp.where(is_own, jnp.square(points[near] - centres[:, None]).sum(-1), jnp.inf)
    order = jnp.argsort(distance, axis=1)  # stable; ties: finer level, then upper row, then left column first
    near = jnp.take_along_axis(near, order, 1)
    is_own = jnp.take_along_axis(is_own, order, 1)

    # Turn r gives every person its r-th nearest location, so slots are assigned column by column.
    slot = jnp.cumsum(is_own.T.ravel(), dtype=jnp.int32) - 1
    slot = jnp.where(is_own.T.ravel(), slot, num_slots)  # index beyond the last slot, so it is dropped
    empty = jnp.zeros(num_slots, jnp.int32)
    slot_location = empty.at[slot].set(near.T.ravel(), mode="drop")
    slot_person = empty.at[slot].set(jnp.tile(people, near.shape[1]), mode="drop")
    num_own = is_own.sum(dtype=jnp.int32)
    is_slot = jnp.arange(num_slots) < num_own
    return slot_location, slot_person, is_slot, jnp.maximum(num_own - num_slots, 0)


def at_slot_locations(
    values: Shaped[Array, " M"], slot_location: Int32[Array, " M"], is_slot: Bool[Array, " M"], num_locations: int
) -> Shaped[Array, " L"]:
    """The values of an image's filled slots at their locations, and 0 elsewhere."""
    # Empty slots write to index L, which is out of bounds and dropped, so that they do not write to location 0.
    location = jnp.where(is_slot, slot_location, num_locations)
    return jnp.zeros_like(values, shape=num_locations).at[location].set(values, mode="drop")


def slot_counts(targets: Any) -> dict[str, Array]:
    """What a step reports of the slots of a batch: how many are filled, and the locations that got none."""
    return {"num_positives": targets.is_slot.sum(), "slots_dropped": targets.slots_dropped.sum()}


def nearby_locations(
    centres: Float[Array, "N 2"], grid: geometry.Grid, radius: float
) -> tuple[Int32[Array, "N C"], Bool[Array, "N C"]]:
    """Indices of all locations that can lie in each centre region, and which of them exist, being on the map.

    The region around each of `centres` extends `radius` strides to every side.
    """
    side = math.ceil(2 * radius)  # an open interval of length 2 r s holds at most this many locations
    indices, exists, start = [], [], 0
    for stride, (height, width) in zip(grid.level_strides, grid.level_sizes, strict=True):
        first = jnp.floor((centres - stride // 2) / stride - radius).astype(jnp.int32) + 1
        columns = first[:, 0, None, None] + jnp.arange(side)[None, None, :]
        rows = first[:, 1, None, None] + jnp.arange(side)[None, :, None]
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        index = start + jnp.clip(rows, 0, height - 1) * width + jnp.clip(columns, 0, width - 1)
        indices.append(index.reshape(len(centres), -1))
        exists.append(inside.reshape(len(centres), -1))
        start += height * width
    return jnp.concatenate(indices, 1).astype(jnp.int32), jnp.concatenate(exists, 1)


def in_boxes(points: Float[Array, "L 2"], boxes: Float[Array, "G 4"]) -> Bool[Array, "G L"]:
    """Which points lie strictly inside which boxes; an empty box holds none."""
    return ((points[None] > boxes[:, None, :2]) & (points[None] < boxes[:, None, 2:])).all(-1)


# --- Sec. 3.2: the cell of every joint ------------------------------------------------------------------------------


def keypoint_cells(
    points: Float[Array, "N K 2"], is_labelled: Bool[Array, "N K"], is_cell: Bool[Array, "h w"], stride: int
) -> tuple[Int32[Array, "N K"], Bool[Array, "N K"]]:
    """Row-major map cell of every joint, and which joints count: those labelled and in a cell of the unpadded image."""
    height, width = is_cell.shape
    # floor, not round: a joint belongs to the cell that contains it (the paper's "low-resolution equivalent").
    column, row = jnp.moveaxis(jnp.floor(points / stride).astype(jnp.int32), -1, 0)
    on_map = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    cells = jnp.where(on_map, row * width + column, 0)
    return cells, is_labelled & on_map & is_cell.ravel()[cells]


# --- Sec. 3.3 disks and 3.4 heatmaps --------------------------------------------------------------------------------


def dense_targets(
    points_cells: Float[Array, "N K 2"],
    cells: Int[Array, "N K"],
    is_joint: Bool[Array, "N K"],
    radius: Float[Array, " N"],
    is_cell: Bool[Array, "h w"],
    disk_radius: float,
) -> tuple[Float[Array, "h w K2"], Bool[Array, "h w K"], Float[Array, "h w K"]]:
    """Disk offsets in cells, where they are supervised, and heatmaps, built up one person at a time.

    Offsets: cells whose centre lies within R of a joint point to it (joint - cell index, so that Eq. 3 recovers the
    joint); the nearest joint of the same kind wins.  Heatmaps: a Gaussian around each joint's cell in a window of
    half-width r, with sigma (2 r + 1) / 6, combined by maximum.
    """
    height, width = is_cell.shape
    row, column = jnp.mgrid[:height, :width].astype(points_cells.dtype)

    def add_person(carry: tuple[Array, Array, Array, Array], person: tuple[Array, ...]):
        nearest, offset_x, offset_y, heatmap = carry
        point, cell, counts, r = person
        # After broadcasting: [h, w, K]
        x = point[:, 0] - column[..., None]
        y = point[:, 1] - row[..., None]
        distance = jnp.where(counts, jnp.square(x - 0.5) + jnp.square(y - 0.5), jnp.inf)
        is_nearer = (distance <= disk_radius**2) & (distance < nearest)
        away_x = column[..., None] - (cell % width)
        away_y = row[..., None] - (cell // width)
        in_window = (jnp.abs(away_x) <= r) & (jnp.abs(away_y) <= r) & counts
        sigma = (2 * r + 1) / 6
        gaussian = jnp.exp(-(jnp.square(away_x) + jnp.square(away_y)) / (2 * jnp.square(sigma)))
        return (
            jnp.where(is_nearer, distance, nearest),
            jnp.where(is_nearer, x, offset_x),
            jnp.where(is_nearer, y, offset_y),
            jnp.maximum(heatmap, jnp.where(in_window, gaussian, 0)),
        ), None

    zeros = jnp.zeros((height, width, points_cells.shape[1]), points_cells.dtype)
    people = (points_cells, cells.astype(points_cells.dtype), is_joint, radius)
    (nearest, offset_x, offset_y, heatmap), _ = jax.lax.scan(add_person, (zeros + jnp.inf, zeros, zeros, zeros), people)
    offsets = jnp.stack([offset_x, offset_y], -1).reshape(height, width, -1)
    return offsets, jnp.isfinite(nearest) & is_cell[..., None], heatmap


def gaussian_radius(boxes_cells: Float[Array, "N 4"], overlap: float) -> Float[Array, " N"]:
    """Half-width of each person's Gaussians in cells: CornerNet's radius in the form that the released code uses."""
    width, height = boxes_cells[:, 2] - boxes_cells[:, 0], boxes_cells[:, 3] - boxes_cells[:, 1]
    area, perimeter = width * height, width + height

    def root(b: Array, four_a_c: Array) -> Array:
        # This keeps the well-known mistake of the released code, which divides by 2 instead of 2a.
        return (b + jnp.sqrt(jnp.maximum(jnp.square(b) - four_a_c, 0))) / 2

    radius = jnp.minimum(
        jnp.minimum(
            root(perimeter, 4 * area * (1 - overlap) / (1 + overlap)), root(2 * perimeter, 16 * (1 - overlap) * area)
        ),
        root(-2 * overlap * perimeter, 16 * overlap * (overlap - 1) * area),
    )
    return jnp.floor(jnp.maximum(radius, 0))

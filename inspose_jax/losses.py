"""Eq. 5, one function per term: classification, KP-Net cross-entropy (Eq. 4), disk offsets, heatmaps, boxes.

Every term is a sum divided by a count over the global batch (`Counts`).  The terms of the pieces of a batch, computed
on several devices or one after another, therefore add up to the term of the whole batch.
Axes: B images, L locations, M slots, N people, K keypoints, P parameters, h w map cells.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from inspose_jax import geometry
from inspose_jax.network.instance_heads import theta_at
from inspose_jax.network.per_person import PerPerson, at_least_float32
from inspose_jax.structures import Batch, Outputs, Targets
from inspose_jax.targets import at_slot_locations


class Counts(NamedTuple):
    """The divisors of the terms, counted over the global batch even if the terms are those of a piece of it."""

    positives: Int32[Array, ""]  # locations that are trained as a person
    offsets: Int32[Array, ""]  # offset values inside disks; x and y count separately
    peaks: Int32[Array, ""]  # heatmap cells that hold a joint


def count(targets: Targets) -> Counts:
    """The counts of a batch."""
    return Counts(
        positives=targets.is_slot.sum(dtype=jnp.int32),
        offsets=2 * targets.in_disk.sum(dtype=jnp.int32),
        peaks=(targets.heatmaps == 1).sum(dtype=jnp.int32),
    )


def losses(
    outputs: Outputs,
    targets: Targets,
    counts: Counts,
    batch: Batch,
    grid: geometry.Grid,
    per_person: PerPerson,
    sigmas: tuple[float, ...] | None = None,
) -> dict[str, Float[Array, ""]]:
    """The unweighted terms of Eq. 5: cls, keypoint, and offset, heatmap and box if the outputs have those branches.

    Classification is the paper's focal loss; given `sigmas`, those of the skeleton, it is the varifocal loss, whose
    targets are the OKS of the poses.
    """
    if sigmas is None:
        log_likelihoods = of_slots(per_person.log_likelihoods, outputs, targets, batch.size, grid)
        cls = classification_loss(outputs.logits, targets.is_positive, targets.is_ignored, counts.positives)
    else:
        log_likelihoods, cells = of_slots(per_person.log_likelihoods_and_cells, outputs, targets, batch.size, grid)
        oks = oks_of_slots(cells, outputs.disk_offsets, targets, batch, grid, sigmas)
        cls = varifocal_loss(outputs.logits, oks, targets, counts.positives)
    terms = {"cls": cls, "keypoint": keypoint_loss(log_likelihoods, targets, counts.positives)}
    if outputs.disk_offsets is not None:
        terms["offset"] = offset_loss(outputs.disk_offsets, targets.disk_offsets, targets.in_disk, counts.offsets)
    if outputs.heatmaps is not None:
        terms["heatmap"] = heatmap_loss(outputs.heatmaps, targets.heatmaps, targets.is_cell, counts.peaks)
    if outputs.sides is not None:
        terms["box"] = box_loss(outputs.sides, targets, counts.positives, grid)
    return terms


def of_slots(
    query: Callable[..., Any], outputs: Outputs, targets: Targets, size: Int32[Array, "B 2"], grid: geometry.Grid
) -> Any:
    """The answers of the slots' KP-Nets to a query of `PerPerson`, with leading axes B, M.

    `size` holds the (height, width) of the unpadded images in pixels.
    """
    # One image at a time: they fill different numbers of slots, and a vmap would compute every slot of every image.
    return jax.lax.map(
        lambda image: query(*image, stride=grid.map_stride),
        (
            targets.is_slot.sum(-1, dtype=jnp.int32),
            theta_at(outputs.controller, targets.slot_location),
            outputs.features,
            jnp.asarray(grid.points)[targets.slot_location],
            jnp.asarray(grid.scales)[targets.slot_location],
            size,
            jnp.take_along_axis(targets.cells, targets.slot_person[..., None], axis=1),
        ),
    )


def classification_loss(
    logits: Float[Array, "B L"],
    is_positive: Bool[Array, "B L"],
    is_ignored: Bool[Array, "B L"],
    num_positives: Int32[Array, ""],
) -> Float[Array, ""]:
    """Sigmoid focal loss (alpha 0.25), summed over all locations that are not ignored, / max(positives, 1)."""
    loss = jnp.where(is_positive, 0.25, 0.75) * focal(logits, is_positive)
    return over_count(jnp.where(is_ignored, 0, loss), num_positives)


def varifocal_loss(
    logits: Float[Array, "B L"], oks: Float[Array, "B M"], targets: Targets, num_positives: Int32[Array, ""]
) -> Float[Array, ""]:
    """Varifocal loss (Zhang et al. 2021) towards the OKS of the slots, over the same locations and count as focal."""
    at_locations = jax.vmap(partial(at_slot_locations, num_locations=logits.shape[1]))
    true = at_locations(oks, targets.slot_location, targets.is_slot)
    loss = varifocal(at_least_float32(logits), true, targets.is_positive)
    return over_count(jnp.where(targets.is_ignored, 0, loss), num_positives)


def oks_of_slots(
    cells: Int32[Array, "B M K"],
    disk_offsets: Float[Array, "B h w K2"] | None,
    targets: Targets,
    batch: Batch,
    grid: geometry.Grid,
    sigmas: tuple[float, ...],
) -> Float[Array, "B M"]:
    """OKS of each slot's pose with its person, without gradient; in empty slots it means nothing.

    The pose is the one that is found at test time (Eq. 2 and 3), because the class score ranks those.  Lengths are in
    pixels of the resized image, as is the annotated area.
    """

    def of_image(cells: Array, offsets: Array | None, slot_person: Array, keypoints: Array, area: Array) -> Array:
        predicted = geometry.read_joints(cells, offsets, grid.map_size[1], grid.map_stride)
        true, area = keypoints[slot_person].astype(predicted.dtype), area[slot_person].astype(predicted.dtype)
        squares = jnp.square(predicted - true[..., :2]).sum(-1)
        return geometry.oks(squares, true[..., 2] > 0, area, sigmas)

    oks = jax.vmap(of_image)(cells, disk_offsets, targets.slot_person, batch.keypoints, batch.area)
    return jax.lax.stop_gradient(oks)


def keypoint_loss(
    log_likelihoods: Float[Array, "B M K"], targets: Targets, num_positives: Int32[Array, ""]
) -> Float[Array, ""]:
    """Eq. 4: cross-entropy of each joint's map, mean over a person's labelled joints, mean over positive locations."""
    counts = jnp.take_along_axis(targets.is_joint, targets.slot_person[..., None], axis=1) & targets.is_slot[..., None]
    num_joints = jnp.maximum(counts.sum(-1), 1).astype(log_likelihoods.dtype)
    return over_count(jnp.where(counts, -log_likelihoods, 0).sum(-1) / num_joints, num_positives)


def offset_loss(
    predicted: Float[Array, "B h w K2"],
    true: Float[Array, "B h w K2"],
    in_disk: Bool[Array, "B h w K"],
    num_offsets: Int32[Array, ""],
) -> Float[Array, ""]:
    """L1 loss in map cells, mean over the supervised values (Sec. 3.3)."""
    counts = jnp.repeat(in_disk, 2, axis=-1)  # x and y of each joint
    error = jnp.abs(at_least_float32(predicted) - true)
    return over_count(jnp.where(counts, error, 0), num_offsets)


def heatmap_loss(
    logits: Float[Array, "B h w K"],
    true: Float[Array, "B h w K"],
    is_cell: Bool[Array, "B h w"],
    num_peaks: Int32[Array, ""],
) -> Float[Array, ""]:
    """CornerNet's penalty-reduced focal loss (2, 4) / max(number of peaks, 1) (Sec. 3.4)."""
    is_peak = true == 1
    loss = jnp.where(is_peak, 1, (1 - true) ** 4) * focal(logits, is_peak)
    return over_count(jnp.where(is_cell[..., None], loss, 0), num_peaks)


def box_loss(
    sides: Float[Array, "B L 4"], targets: Targets, num_positives: Int32[Array, ""], grid: geometry.Grid
) -> Float[Array, ""]:
    """1 - GIoU of predicted and annotated box, mean over positive locations (Table 4)."""
    points = jnp.asarray(grid.points)[targets.slot_location]
    predicted = geometry.boxes_of_sides(points, jnp.take_along_axis(sides, targets.slot_location[..., None], axis=1))
    true = jnp.take_along_axis(targets.boxes, targets.slot_person[..., None], axis=1)
    return over_count(jnp.where(targets.is_slot, 1 - geometry.generalised_iou(predicted, true), 0), num_positives)


def focal(logits: Float[Array, "*shape"], is_true: Bool[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Focal loss -(1 - p)^2 log p (gamma 2), p the probability of the right answer: easy examples count little.

    1 - p is the sigmoid and -log p the softplus of the wrong answer's logit, which is accurate however confident the
    answer is.
    """
    logits = at_least_float32(logits)
    against = jnp.where(is_true, -logits, logits)
    return jax.nn.sigmoid(against) ** 2 * jax.nn.softplus(against)


def varifocal(
    logits: Float[Array, "*shape"], true: Float[Array, "*shape"], is_positive: Bool[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Cross-entropy with the probability `true`, weighted by it where positive, else by 0.75 p^2 (gamma 2).

    The second weight has a gradient too.  `true` must be 0 at negatives.
    """
    weight = jnp.where(is_positive, true, 0.75 * jnp.square(jax.nn.sigmoid(logits)))
    return weight * (true * jax.nn.softplus(-logits) + (1 - true) * jax.nn.softplus(logits))


def over_count(values: Float[Array, "*shape"], count: Int32[Array, ""]) -> Float[Array, ""]:
    """Sum divided by max(count, 1), so that a batch without people has a finite loss."""
    return values.sum() / jnp.maximum(count, 1).astype(values.dtype)

"""The seven terms of the released model's loss, one function each.

Every term is a sum divided by a count over the global batch, not that of a device as in the released code.  With
`strict_parity`, two slips of that code are kept: the OKS of a class target divides distances in stride-8 cells by an
area in pixels, 64 times too large; and the heatmap term of a batch without any peak is not divided by anything.
Without it, the distances are in pixels, and such a batch divides the term by its number of heatmaps.

Axes: B images, L locations, M slots, N people, K keypoints, P parameters, h w map cells.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32, Shaped

from inspose_jax import geometry
from inspose_jax.losses import over_count, varifocal
from inspose_jax.network.instance_heads import theta_at
from inspose_jax.network.per_person import (
    KeypointMap,
    apply_to_filled,
    at_least_float32,
    log_likelihoods_and_cells_of,
    make_person_map,
)
from inspose_jax.released.network import Outputs
from inspose_jax.released.targets import Targets
from inspose_jax.targets import at_slot_locations

UNSEEN = 0.1  # class target of a person without a labelled joint
EPSILON = 2.0**-23  # float32's, added to the divisor of the class term
LIMITS = 1e-4, 1 - 1e-4  # of a heatmap's probabilities


class Counts(NamedTuple):
    """The divisors of the terms, counted over the global batch even if the terms are those of a piece of it."""

    images: Int32[Array, ""]  # without the blank ones that fill a batch
    positives: Int32[Array, ""]  # locations that are trained as a person
    joints: Int32[Array, ""]  # labelled joints of the people of all positives, those with a stride-8 cell
    labelled: Int32[Array, ""]  # all of them
    peaks: Int32[Array, ""]  # heatmap cells that hold a joint
    offsets: Int32[Array, ""]  # supervised offset values; x and y count separately


def count(targets: Targets) -> Counts:
    """The counts of a batch."""

    def of_slots(of_people: Bool[Array, "B N K"]) -> Int32[Array, ""]:
        return at_slots(of_people, targets).sum(dtype=jnp.int32)

    return Counts(
        images=targets.is_real.sum(dtype=jnp.int32),
        positives=targets.is_slot.sum(dtype=jnp.int32),
        joints=of_slots(targets.is_joint),
        labelled=of_slots(targets.is_labelled),
        peaks=(targets.heatmaps == 1).sum(dtype=jnp.int32),
        offsets=2 * targets.in_window.sum(dtype=jnp.int32),
    )


def at_slots(of_people: Bool[Array, "B N K"], targets: Targets) -> Bool[Array, "B M K"]:
    """What is true of a joint of the person of each slot; False in empty slots."""
    return rows(of_people, targets.slot_person) & targets.is_slot[..., None]


def rows(values: Shaped[Array, "B A *C"], index: Int32[Array, "B M"]) -> Shaped[Array, "B M *C"]:
    """Some rows of each image's values, which are those of its people or its locations."""
    return jax.vmap(lambda values, index: values[index])(values, index)


def losses(
    outputs: Outputs,
    targets: Targets,
    counts: Counts,
    grid: geometry.Grid,
    keypoint_map: KeypointMap,
    sigmas: tuple[float, ...],
    strict_parity: bool,
) -> dict[str, Float[Array, ""]]:
    """The unweighted terms; `sigmas` are the skeleton's constants of OKS."""
    log_likelihoods, oks = of_maps(outputs, targets, grid, keypoint_map, sigmas, strict_parity)
    is_joint = at_slots(targets.is_joint, targets)
    return {
        "cls": classification_loss(outputs.logits, oks, targets, counts),
        "keypoint": over_count(jnp.where(is_joint, -log_likelihoods, 0), counts.joints),
        "coarse": coarse_loss(outputs.coarse, targets, counts.labelled, grid),
        "heatmap": heatmap_loss(outputs.heatmaps, targets.heatmaps, targets.is_real, counts, strict_parity),
        "offset": offset_loss(outputs.offsets, targets.offsets, targets.in_window, counts.offsets),
        **tag_losses(outputs.tags, targets.tag_cells, targets.is_tag, counts.images),
    }


def of_maps(
    outputs: Outputs,
    targets: Targets,
    grid: geometry.Grid,
    keypoint_map: KeypointMap,
    sigmas: tuple[float, ...],
    strict_parity: bool,
) -> tuple[Float[Array, "B M K"], Float[Array, "B M"]]:
    """What the losses need of the slots' keypoint maps: log-likelihoods of the joints' cells, and OKS without gradient.

    Maps reach into the padding, as in the released code.  Both are read from them while a few people's are in memory.
    """
    width = grid.map_size[1]

    def of_image(image: tuple[Array, ...]) -> tuple[Array, Array]:
        number, theta, features, centres, scales, cells, points, is_labelled, area = image
        map_of = make_person_map(keypoint_map, features, grid.map_stride)

        def of_slot(theta: Array, centre: Array, scale: Array, cells: Array) -> tuple[Array, Array]:
            maps = map_of(theta, centre, scale)
            return log_likelihoods_and_cells_of(maps.reshape(len(cells), -1), cells, width)

        slots = at_least_float32(theta), centres, scales, cells
        log_likelihoods, peaks = apply_to_filled(of_slot, number, slots)
        predicted = jnp.stack([peaks % width, peaks // width], -1)
        true = jnp.floor(points / grid.map_stride)
        return log_likelihoods, similarity(
            predicted.astype(true.dtype), true, is_labelled, area, sigmas, 1 if strict_parity else grid.map_stride
        )

    return jax.lax.map(
        of_image,
        (
            targets.is_slot.sum(-1, dtype=jnp.int32),
            theta_at(outputs.controller, targets.slot_location),
            outputs.features,
            jnp.asarray(grid.points)[targets.slot_location],
            jnp.asarray(grid.scales)[targets.slot_location],
            rows(targets.cells, targets.slot_person),
            rows(targets.points, targets.slot_person),
            rows(targets.is_labelled, targets.slot_person),
            rows(targets.area, targets.slot_person),
        ),
    )


def similarity(
    predicted: Float[Array, "M K 2"],
    true: Float[Array, "M K 2"],
    is_labelled: Bool[Array, "M K"],
    area: Float[Array, " M"],
    sigmas: tuple[float, ...],
    cell: int,
) -> Float[Array, " M"]:
    """OKS between cells of predicted and of true joints; `cell` is the side of a cell in the unit of `area`, pixels."""
    as_stored = tuple(float(np.float32(sigma)) for sigma in sigmas)  # the released code keeps them in float32
    squares = jnp.square(predicted * cell - true * cell).sum(-1)
    return geometry.oks(squares, is_labelled, area + 1e-4, as_stored)


def classification_loss(
    logits: Float[Array, "B L"], oks: Float[Array, "B M"], targets: Targets, counts: Counts
) -> Float[Array, ""]:
    """Varifocal loss over (positives + images): towards OKS at positives, a tenth where no joint is labelled."""
    logits = at_least_float32(logits)
    is_seen = at_slots(targets.is_labelled, targets).any(-1)
    value = jnp.where(is_seen, oks.astype(logits.dtype), UNSEEN)
    at_locations = jax.vmap(partial(at_slot_locations, num_locations=logits.shape[1]))
    true = at_locations(value, targets.slot_location, targets.is_slot)
    loss = jnp.where(targets.is_ignored, 0, varifocal(logits, true, true > 0))
    return loss.sum() / ((counts.positives + counts.images).astype(loss.dtype) + EPSILON)


def coarse_loss(
    coarse: Float[Array, "B L K 2"], targets: Targets, num_labelled: Int32[Array, ""], grid: geometry.Grid
) -> Float[Array, ""]:
    """L1 loss of the labelled joints at positives, in strides from the location, mean over the values."""
    found = rows(at_least_float32(coarse), targets.slot_location)
    points = rows(targets.points, targets.slot_person).astype(found.dtype)
    centres = jnp.asarray(grid.points)[targets.slot_location][:, :, None].astype(found.dtype)
    strides = jnp.asarray(grid.strides)[targets.slot_location][:, :, None, None].astype(found.dtype)
    error = jnp.abs(found - (points - centres) / strides)
    return over_count(jnp.where(at_slots(targets.is_labelled, targets)[..., None], error, 0), 2 * num_labelled)


def heatmap_loss(
    logits: Float[Array, "B h w K"],
    true: Float[Array, "B h w K"],
    is_real: Bool[Array, " B"],
    counts: Counts,
    strict_parity: bool,
) -> Float[Array, ""]:
    """CornerNet's penalty-reduced focal loss (2, 4) over the number of peaks."""
    number = counts.peaks
    if not strict_parity:
        number = jnp.where(number > 0, number, counts.images * logits.shape[-1])
    each = jnp.where(is_real[:, None, None, None], centre_focal(at_least_float32(logits), true), 0)
    return over_count(each, number)


def centre_focal(logits: Float[Array, "*shape"], true: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """-(1 - p)^2 log p at peaks, -(1 - g)^4 p^2 log(1 - p) elsewhere, with probabilities kept off 0 and 1."""
    p = jnp.clip(jax.nn.sigmoid(logits), *(jnp.asarray(limit, logits.dtype) for limit in LIMITS))
    peak = -jnp.log(p) * jnp.square(1 - p)
    elsewhere = -jnp.log(1 - p) * jnp.square(p) * (1 - true.astype(p.dtype)) ** 4
    return jnp.where(true == 1, peak, elsewhere)


def offset_loss(
    predicted: Float[Array, "B h w K2"],
    true: Float[Array, "B h w K2"],
    in_window: Bool[Array, "B h w K"],
    num_offsets: Int32[Array, ""],
) -> Float[Array, ""]:
    """L1 loss in cells, mean over the supervised values."""
    predicted = at_least_float32(predicted)
    error = jnp.abs(predicted - true.astype(predicted.dtype))
    total = jnp.where(jnp.repeat(in_window, 2, axis=-1), error, 0).sum()
    return total / (num_offsets.astype(total.dtype) + 1e-4)


def tag_losses(
    tags: Float[Array, "B h w K"],
    cells: Int32[Array, "B N K"],
    is_tag: Bool[Array, "B N K"],
    num_images: Int32[Array, ""],
) -> dict[str, Float[Array, ""]]:
    """Associative embedding: the tags of a person pull towards their mean, the means of people push apart."""

    def of_image(tags: Array, cells: Array, is_tag: Array) -> tuple[Array, Array]:
        keypoints = jnp.arange(tags.shape[-1])
        found = at_least_float32(tags).reshape(-1, tags.shape[-1])[cells, keypoints]  # [N, K]
        joints = jnp.maximum(is_tag.sum(-1), 1).astype(found.dtype)
        means = jnp.where(is_tag, found, 0).sum(-1) / joints
        spread = jnp.where(is_tag, jnp.square(found - means[:, None]), 0).sum(-1) / joints
        is_tagged = is_tag.any(-1)
        people = is_tagged.sum().astype(found.dtype)
        alike = jnp.exp(-jnp.square(means[:, None] - means[None]))
        alike = jnp.where(is_tagged[:, None] & is_tagged[None], alike, 0).sum() - people
        pairs = jnp.maximum(people * (people - 1), 1)
        return spread.sum() / jnp.maximum(people, 1), alike / (2 * pairs)

    pull, push = jax.vmap(of_image)(tags, cells, is_tag)
    return {"pull": over_count(pull, num_images), "push": over_count(push, num_images)}

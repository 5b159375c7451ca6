"""The dynamic network, evaluated one image at a time for what training and decoding need to know of its people.

A dynamic network is a function of one person: theta, predicted for that person, and the features that all people of
the image share -> the person's keypoint map (Sec. 3.2).  `lift` turns such a function into the queries that the rest of
the program makes for all people of an image.  The maps are the largest arrays of a step, and most images have far fewer
people than there is room for, so the maps are computed for a few people at a time, and not at all for empty chunks.

Axes: M slots, C candidates, N people, S slots at a time, P parameters, F channels of F_kp, h w map cells, K joints.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Int32

from inspose_jax import geometry
from inspose_jax.errors import UserError

# With more at a time, more empty slots are computed and held in memory.  With fewer, a GPU, which waits for the CPU at
# every iteration of the loop, has too little to do in each (experiments/benchmarks/train_step).
SLOTS_AT_ONCE = 64
# With more at a time, more are computed for nothing where few are found.  From 16 on, their maps, a megabyte each at
# the paper's size, no longer fit into the caches of a CPU, which then takes twice as long for each
# (experiments/benchmarks/decode).
CANDIDATES_AT_ONCE = 4

KeypointMap = Callable[[Array, Array, Array], Array]  # theta f[P], F_kp f[F,h,w], relative f[2,h,w] -> logits f[K,h,w]


class Peak(NamedTuple):
    """Answer to "where is each joint" (Eq. 2), with a leading axis C for the candidates of an image."""

    cell: Any  # i32[K] row-major map cell of the largest activation, the first of several equal ones
    logit: Any  # f32[K] the activation there
    log_sum_exp: Any  # f32[K] over the joint's whole map; exp(logit - log_sum_exp) is the softmax peak


class PerPerson(NamedTuple):
    """The queries, each for one image; `lift` documents their arguments."""

    num_parameters: int  # P, how many numbers the controller predicts for a person
    log_likelihoods: Callable[..., Array]  # in training: minus Eq. 4 of the filled slots, f[M,K]
    log_likelihoods_and_cells: Callable[..., tuple[Array, Array]]  # and, of the same maps, the cells of Eq. 2, i32[M,K]
    peaks: Callable[..., Peak]  # in decoding: Eq. 2 of the candidates
    maps: Callable[..., Array]  # for drawing and tests: the maps themselves


def lift(keypoint_map: KeypointMap, num_parameters: int) -> PerPerson:
    """The queries, answered by computing the maps of `keypoint_map`, a function of one person.

    `keypoint_map(theta f[P], features f[F,h,w], relative f[2,h,w]) -> logits f[K,h,w]`; all are at least float32.  The
    queries raise UserError if it returns another shape.
    `relative` holds the coordinates (x, y) of every cell relative to a person: (the cell's centre - the person's
    generating location) / (relative_scale * 2^(l - 3)), all in pixels, for a location on level l.  The two kinds of
    input are separate, so that vmap over people need not copy F_kp.

    The queries take `centres`, the people's generating locations (x, y) in pixels; `scales`, the divisors of their
    relative coordinates, in pixels; `size`, the real image's (height, width) in pixels; and the `stride` of the maps in
    pixels.
    """

    def in_slots(
        read: Callable[[Array, Array, int], Any],
        num_filled: Int32[Array, ""],
        theta: Float[Array, "M P"],
        features: Float[Array, "h w F"],
        centres: Float[Array, "M 2"],
        scales: Float[Array, " M"],
        size: Int32[Array, " 2"],
        cells: Int[Array, "M K"],
        stride: int,
    ) -> Any:
        """What `read` gives for each slot: a function of its maps f[K,h*w], its joints' `cells`, and a map's width w.

        Cells are row-major indices.  Only the first `num_filled` slots count; the other rows are 0 or whatever an empty
        slot yields.
        """
        person_map = make_person_map(keypoint_map, features, stride)
        is_cell = geometry.real_cells((features.shape[0], features.shape[1]), stride, size)

        def in_slot(theta: Array, centre: Array, scale: Array, cells: Array) -> Any:
            logits = person_map(theta, centre, scale)
            if len(logits) != len(cells):
                raise UserError(f"keypoint_map returns {len(logits)} maps, but there are {len(cells)} joints")
            # Flatten first, then mask: the other way round, the compiler holds the maps in both shapes.
            logits = masked(logits.reshape(len(cells), -1), is_cell.reshape(-1))
            return read(logits, cells, features.shape[1])

        return apply_to_filled(in_slot, num_filled, (at_least_float32(theta), centres, scales, cells))

    def peaks(
        num_candidates: Int32[Array, ""],
        theta: Float[Array, "C P"],
        features: Float[Array, "h w F"],
        centres: Float[Array, "C 2"],
        scales: Float[Array, " C"],
        size: Int32[Array, " 2"],
        stride: int,
    ) -> Peak:
        """Eq. 2 for the first `num_candidates`; the other rows are 0 or whatever their theta yields."""
        person_map = make_person_map(keypoint_map, features, stride)
        is_cell = geometry.real_cells((features.shape[0], features.shape[1]), stride, size)

        def candidate_peak(theta: Array, centre: Array, scale: Array) -> Peak:
            return peak_of(masked(person_map(theta, centre, scale), is_cell))

        return apply_to_first(candidate_peak, num_candidates, (at_least_float32(theta), centres, scales))

    def maps(
        theta: Float[Array, "N P"],
        features: Float[Array, "h w F"],
        centres: Float[Array, "N 2"],
        scales: Float[Array, " N"],
        size: Int32[Array, " 2"],
        stride: int,
    ) -> Float[Array, "N K h w"]:
        """Logits of every joint in every map cell; about -1e38 in cells that lie entirely in the padding."""
        person_map = make_person_map(keypoint_map, features, stride)
        is_cell = geometry.real_cells((features.shape[0], features.shape[1]), stride, size)
        return masked(jax.vmap(person_map)(at_least_float32(theta), centres, scales), is_cell)

    return PerPerson(
        num_parameters,
        log_likelihoods=partial(in_slots, lambda logits, cells, _: log_likelihoods_of(logits, cells)),
        log_likelihoods_and_cells=partial(in_slots, log_likelihoods_and_cells_of),
        peaks=peaks,
        maps=maps,
    )


def make_person_map(
    keypoint_map: KeypointMap, features: Float[Array, "h w F"], stride: int
) -> Callable[[Array, Array, Array], Array]:
    """(theta f[P], centre f[2], scale f[]) -> logits f[K,h,w] of one person, including cells in the padding.

    The cells are the last axes because a TPU pads the last axis to 128.
    """
    map_size = (features.shape[0], features.shape[1])
    # Never bfloat16, whatever type the network computes in: with its 8 bits, neighbouring cells far from the centre
    # would have the same relative coordinates, and two logits near the peak would be equal.
    features = at_least_float32(features)
    places = jnp.asarray(geometry.cell_centres(map_size, stride), features.dtype).transpose(2, 0, 1)

    def person_map(
        theta: Float[Array, " P"], centre: Float[Array, " 2"], scale: Float[Array, ""]
    ) -> Float[Array, "K h w"]:
        relative = (places - centre.astype(places.dtype)[:, None, None]) / scale.astype(places.dtype)
        # Transposed here and as one matrix, not earlier with three axes: the product then reads it as it lies.
        shared = features.reshape(-1, features.shape[2]).T.reshape(-1, *map_size)
        logits = keypoint_map(theta, shared, relative)
        if logits.ndim != 3 or logits.shape[1:] != map_size:
            height, width = map_size
            raise UserError(
                f"keypoint_map returns an array of shape {logits.shape}; it must be (joints, {height}, {width}), a map "
                f"of {height} x {width} cells for each joint"
            )
        return logits

    return person_map


def masked(logits: Float[Array, "..."], is_cell: Bool[Array, "..."]) -> Float[Array, "..."]:
    """Set cells that lie entirely in the padding to about -1e38, so that softmax and maximum ignore them.

    Not to -inf: a blank image has no real cell at all, and its empty slots must still have a finite gradient.
    """
    return jnp.where(is_cell, logits, jnp.finfo(logits.dtype).min / 4)


def log_likelihoods_of(logits: Float[Array, "K _"], cells: Int[Array, " K"]) -> Float[Array, " K"]:
    """Log-softmax over all cells of each joint's map, a row of `logits`, at the joint's own cell."""
    at_cell = jnp.take_along_axis(logits, cells[:, None], axis=1)[:, 0]
    return at_cell - jax.nn.logsumexp(logits, axis=1)


def log_likelihoods_and_cells_of(
    logits: Float[Array, "K _"], cells: Int[Array, " K"], width: int
) -> tuple[Float[Array, " K"], Int32[Array, " K"]]:
    """`log_likelihoods_of`, and the cell of the largest activation of each joint, which has no gradient."""
    maps = jax.lax.stop_gradient(logits).reshape(len(cells), -1, width)
    return log_likelihoods_of(logits, cells), peak_of(maps).cell


def peak_of(logits: Float[Array, "K h w"]) -> Peak:
    """Eq. 2 and the log-sum-exp, in two passes over the maps of one person.

    XLA's argmax is slow on a CPU, where it goes number by number.  Here it sees only the rows' maxima and one row.
    """
    row_maxima = logits.max(axis=2)
    row, logit = row_maxima.argmax(axis=1), row_maxima.max(axis=1)
    best_row = jnp.take_along_axis(logits, row[:, None, None], axis=1)[:, 0]
    cell = row * logits.shape[2] + best_row.argmax(axis=1)
    # `jax.nn.logsumexp` would compute the maximum again.
    log_sum_exp = logit + jnp.log(jnp.exp(logits - logit[:, None, None]).sum(axis=(1, 2)))
    return Peak(cell.astype(jnp.int32), logit, log_sum_exp)


def apply_to_filled(function: Callable[..., Any], num_filled: Int32[Array, ""], slots: tuple[Array, ...]) -> Any:
    """Apply `function` to every row of `slots`, in chunks; chunks without a filled slot give 0.

    The backward pass recomputes each chunk: only its `slots` are kept, never a map.
    """
    chunks = in_chunks(slots, SLOTS_AT_ONCE)
    first = jnp.arange(len(chunks[0]), dtype=jnp.int32) * chunks[0].shape[1]
    # The forward and backward passes of a loop share nothing that the compiler could merge.
    apply_to_chunk = jax.checkpoint(jax.vmap(function), prevent_cse=False)
    result = jax.eval_shape(apply_to_chunk, *(chunk[0] for chunk in chunks))

    def nothing(*slots: Array) -> Any:
        return jax.tree.map(lambda x: jnp.zeros_like(slots[0], x.dtype, x.shape), result)

    def visit(_: None, rows: tuple[Array, ...]) -> tuple[None, Any]:
        first, *slots = rows
        return None, jax.lax.cond(first < num_filled, apply_to_chunk, nothing, *slots)

    _, found = jax.lax.scan(jax.checkpoint(visit, prevent_cse=False), None, (first, *chunks))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[: len(slots[0])], found)


def apply_to_first(function: Callable[..., Any], number: Int32[Array, ""], candidates: tuple[Array, ...]) -> Any:
    """Apply `function` to the first `number` rows of `candidates`, in chunks; skipped chunks give 0."""
    chunks = in_chunks(candidates, CANDIDATES_AT_ONCE)
    num_chunks, width = chunks[0].shape[:2]
    apply_to_chunk = jax.vmap(function)
    result = jax.eval_shape(apply_to_chunk, *(chunk[0] for chunk in chunks))

    def visit(i: Array, found: Any) -> Any:
        answer = apply_to_chunk(*(chunk[i] for chunk in chunks))
        return jax.tree.map(lambda all, one: all.at[i].set(one), found, answer)

    # Zeros made from an input vary over the devices of a mesh as it does, and so may the loop's result.
    nothing = jax.tree.map(lambda x: jnp.zeros_like(candidates[0], x.dtype, (num_chunks, *x.shape)), result)
    found = jax.lax.fori_loop(0, (number + width - 1) // width, visit, nothing)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[: len(candidates[0])], found)


def in_chunks(arrays: tuple[Array, ...], width: int) -> list[Array]:
    """Split each array's rows into chunks of `width`, or one chunk if fewer; the last row fills up the last chunk."""
    number = len(arrays[0])
    width = min(width, number)
    rows = -(-number // width) * width
    padded = [jnp.pad(x, [(0, rows - number), *[(0, 0)] * (x.ndim - 1)], mode="edge") for x in arrays]
    return [x.reshape(-1, width, *x.shape[1:]) for x in padded]


def at_least_float32(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Convert half precision to float32; float64, which tests use, stays float64."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))

"""The KP-Nets of a picture's filled slots, in training: time and memory for those alone.

A picture has as many slots as a crowd needs, 256 in the paper's configuration, and most pictures fill the first few
tens of them.  Each takes a map for every joint, the largest arrays of a step.  So they are computed for a few slots at
a time, made again for the gradient, and not made at all where no slot is filled.

Axes: M slots, S of them at a time, P parameters, C channels of F_kp, h w map cells, K keypoints.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Int32

# More at a time: more empty slots are computed and held.  Fewer: a GPU, which waits for the CPU at every turn of the
# loop, has too little to do in one (experiments/benchmarks/train_step).
SLOTS_AT_ONCE = 64


def log_likelihoods(
    of_one: Callable[..., Array],
    num_filled: Int32[Array, ""],
    theta: Float[Array, "M P"],
    features: Float[Array, "h w C"],
    centres: Float[Array, "M 2"],
    scales: Float[Array, " M"],
    size: Int32[Array, " 2"],
    cells: Int[Array, "M K"],
) -> Float[Array, "M K"]:
    """`KPNetFunctions.log_likelihood`, which is `of_one`, of the first `num_filled` slots of a picture (Eq. 4).

    The arguments are those of `kp_net.plain`, with an axis of slots: `centres` and `size` in pixels, `cells` row-major
    map cells.  Rows beyond `num_filled` are 0 or what an empty slot gives.  The gradient also reaches what `of_one`
    closes over.
    """
    # Made explicit: a function with its own gradient sees no other values than its arguments.
    of_one, closed_over = jax.closure_convert(of_one, theta[0], features, centres[0], scales[0], size, cells[0])
    return of_filled(of_one, num_filled, size, cells, (theta, centres, scales, features, closed_over))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def of_filled(
    of_one: Callable[..., Array], num_filled: Int32[Array, ""], size: Array, cells: Array, continuous: tuple[Any, ...]
) -> Float[Array, "M K"]:
    """`log_likelihoods` with everything that has a gradient in one tuple."""

    def add(rows: Int32[Array, " S"], found: Float[Array, "M K"]) -> Float[Array, "M K"]:
        return found.at[rows].set(of_rows(of_one, rows, size, cells, continuous), mode="drop")

    nothing_found = jnp.zeros_like(continuous[0], shape=cells.shape)
    return over_filled(num_filled, len(cells), add, nothing_found)


def of_rows(
    of_one: Callable[..., Array], rows: Int32[Array, " S"], size: Array, cells: Array, continuous: tuple[Any, ...]
) -> Float[Array, "S K"]:
    """Some slots of a picture, which share its F_kp and its size; a row beyond the last slot is the last one again."""
    *per_slot, features, closed_over = continuous

    def of_slot(theta: Array, centre: Array, scale: Array, cells: Array) -> Float[Array, " K"]:
        return of_one(theta, features, centre, scale, size, cells, *closed_over)

    return jax.vmap(of_slot)(*(x.at[rows].get(mode="clip") for x in (*per_slot, cells)))


def over_filled(num_filled: Int32[Array, ""], num_slots: int, add: Callable[[Array, Any], Any], initial: Any) -> Any:
    """What `add(rows, so_far)` makes of `initial`, given the filled slots some rows at a time.

    The last rows may be empty slots, and lie beyond the last one.
    """
    width = min(SLOTS_AT_ONCE, num_slots)
    rows = jnp.arange(width, dtype=jnp.int32)
    num_chunks = (num_filled + width - 1) // width
    return jax.lax.fori_loop(0, num_chunks, lambda chunk, so_far: add(chunk * width + rows, so_far), initial)


def forward(of_one: Callable[..., Array], *arguments: Any) -> tuple[Float[Array, "M K"], tuple[Any, ...]]:
    """What the gradient needs of it are the arguments: no map is kept."""
    return of_filled(of_one, *arguments), arguments


def backward(of_one: Callable[..., Array], arguments: tuple[Any, ...], cotangent: Float[Array, "M K"]) -> tuple:
    """The maps once more, chunk by chunk, and their gradient: none for the integers, then that of `continuous`."""
    num_filled, size, cells, continuous = arguments

    def add(rows: Int32[Array, " S"], so_far: tuple[Any, ...]) -> tuple[Any, ...]:
        _, gradient = jax.vjp(partial(of_rows, of_one, rows, size, cells), continuous)
        (of_continuous,) = gradient(cotangent.at[rows].get(mode="fill", fill_value=0))
        return jax.tree.map(jnp.add, so_far, of_continuous)

    return None, None, None, over_filled(num_filled, len(cells), add, jax.tree.map(jnp.zeros_like, continuous))


of_filled.defvjp(forward, backward)

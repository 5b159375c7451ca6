"""The KP-Nets of a picture's filled slots, in training: time and memory for those alone.

A picture has as many slots as a crowd needs, 256 in the paper's configuration, and most pictures fill the first few
tens of them.  Each takes a map for every joint, the largest arrays of a step.  So they are computed for a few slots at
a time, made again for the gradient, and not made at all where no slot is filled.

Axes: M slots, P parameters, C channels of F_kp, h w map cells, K keypoints.
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


@partial(jax.custom_vjp, nondiff_argnums=(0,))
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
    """`KPNetFunctions.log_likelihood`, which is `of_one`, of the first `num_filled` slots of a picture.

    Further rows are 0 or what an empty slot gives.  The gradient reaches theta and features, what a KP-Net learns from.
    """

    def add(rows: Array, found: Array) -> Array:
        return found.at[rows].set(of_rows(of_one, rows, theta, features, centres, scales, size, cells), mode="drop")

    return over_filled(num_filled, len(theta), add, jnp.zeros_like(theta, shape=cells.shape))


def of_rows(
    of_one: Callable[..., Array],
    rows: Int32[Array, " S"],
    theta: Float[Array, "M P"],
    features: Float[Array, "h w C"],
    centres: Float[Array, "M 2"],
    scales: Float[Array, " M"],
    size: Int32[Array, " 2"],
    cells: Int[Array, "M K"],
) -> Float[Array, "S K"]:
    """Some slots of a picture, which share its F_kp and its size; a row beyond the last slot is the last one again."""
    over_slots = jax.vmap(of_one, in_axes=(0, None, 0, 0, None, 0))
    theta, centres, scales, cells = (x.at[rows].get(mode="clip") for x in (theta, centres, scales, cells))
    return over_slots(theta, features, centres, scales, size, cells)


def over_filled(num_filled: Int32[Array, ""], num_slots: int, add: Callable[[Array, Any], Any], nothing: Any) -> Any:
    """What `add(rows, so_far)` makes of `nothing`, given the filled slots some rows at a time.

    The last rows may be empty slots, and lie beyond the last one.
    """
    width = min(SLOTS_AT_ONCE, num_slots)
    rows = jnp.arange(width, dtype=jnp.int32)
    num_chunks = (num_filled + width - 1) // width
    return jax.lax.fori_loop(0, num_chunks, lambda chunk, so_far: add(chunk * width + rows, so_far), nothing)


def forward(of_one: Callable[..., Array], *arguments: Array) -> tuple[Array, tuple[Array, ...]]:
    """What the gradient needs of it are the arguments: no map is kept."""
    return log_likelihoods(of_one, *arguments), arguments


def backward(of_one: Callable[..., Array], arguments: tuple[Array, ...], cotangent: Float[Array, "M K"]) -> tuple:
    """The maps once more, chunk by chunk, and their gradient."""
    num_filled, theta, features, *rest = arguments

    def add(rows: Array, so_far: tuple[Array, Array]) -> tuple[Array, Array]:
        _, gradient = jax.vjp(lambda t, f: of_rows(of_one, rows, t, f, *rest), theta, features)
        return jax.tree.map(jnp.add, so_far, gradient(cotangent.at[rows].get(mode="fill", fill_value=0)))

    nothing = jnp.zeros_like(theta), jnp.zeros_like(features)
    of_theta, of_features = over_filled(num_filled, len(theta), add, nothing)
    return None, of_theta, of_features, None, None, None, None


log_likelihoods.defvjp(forward, backward)

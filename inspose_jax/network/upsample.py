"""Maps of another size: averaged, bilinear or bicubic.

As in PyTorch without `align_corners`: new cell i lies at (i + 0.5) / 2 - 0.5 among the old ones, a quarter of a cell
before or after an old cell, and cells beyond the edge repeat the edge.

Axes: A any leading axis (images or joints), h w map cells.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

BICUBIC = -0.75  # the parameter a of the cubic kernel, PyTorch's


def at_ratio(x: Float[Array, "B h w C"], ratio: float) -> Float[Array, "B h2 w2 C"]:
    """`ratio` times as many rows and columns (Table 3): bilinear if more, means of squares of cells if fewer.

    Squares that the map's edge cuts off are means of the cells that exist.  `ratio` is a power of two.
    """
    if ratio == 1:
        return x
    sizes = [math.ceil(length * ratio) for length in x.shape[1:3]]
    if ratio > 1:
        return jax.image.resize(x, (x.shape[0], *sizes, x.shape[3]), "bilinear")  # for any ratio, unlike `bilinear_x2`
    side = round(1 / ratio)
    missing = [(0, size * side - length) for size, length in zip(sizes, x.shape[1:3], strict=True)]
    window = (side, side)
    return nn.avg_pool(x, window, window, missing, count_include_pad=False)  # pyright: ignore[reportArgumentType]


def bilinear_x2(x: Float[Array, "A h w *C"]) -> Float[Array, "A h2 w2 *C"]:
    """Twice as many rows and columns, between the two nearest of the old ones."""
    return double(double(x, 2, (0.25, 0.75, 0.0)), 1, (0.25, 0.75, 0.0))


def bicubic_x2(x: Float[Array, "A h w *C"]) -> Float[Array, "A h2 w2 *C"]:
    """Twice as many rows and columns, from the four nearest of the old ones in each direction."""
    weights = tuple(cubic(distance) for distance in (1.75, 0.75, 0.25, 1.25))
    return double(double(x, 2, (*weights, 0.0)), 1, (*weights, 0.0))


def cubic(distance: float) -> float:
    """The cubic convolution kernel at a distance of less than 2 cells."""
    a, d = BICUBIC, distance
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a


def double(x: Float[Array, "..."], axis: int, weights: tuple[float, ...]) -> Float[Array, "..."]:
    """Twice as many cells along an axis.

    `weights`, an odd number of them, are those of the old cells around cell i for new cell 2i, which lies a quarter
    before it.  New cell 2i + 1 has the mirrored weights.
    """
    reach = len(weights) // 2
    length = x.shape[axis]
    padded = jnp.pad(x, [(reach, reach) if i == axis else (0, 0) for i in range(x.ndim)], mode="edge")

    def weighted(weights: tuple[float, ...]) -> Array:
        taps = [(start, weight) for start, weight in enumerate(weights) if weight]
        parts = [
            jax.lax.slice_in_dim(padded, start, start + length, axis=axis) * jnp.asarray(weight, x.dtype)
            for start, weight in taps
        ]
        return sum(parts[1:], parts[0])

    pairs = jnp.stack([weighted(weights), weighted(weights[::-1])], axis + 1)
    return pairs.reshape(*x.shape[:axis], 2 * length, *x.shape[axis + 1 :])

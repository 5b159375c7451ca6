"""Convolution over freely placed taps (deformable convolution): each tap reads the map at a point of its own.

Axes: B images, h w map cells, T taps (9 of a 3x3 kernel, row by row), C D channels.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def deformable_conv(
    x: Float[Array, "B h w C"], points: Float[Array, "B h w T 2"], kernel: Float[Array, "T C D"]
) -> Float[Array, "B h w D"]:
    """The sum over taps of (the map at the tap's point) @ (the tap's matrix), in the type of `x`.

    `points` are x, y in cells, where the centre of a cell has whole numbers.  A tap reads bilinearly between the four
    cells around its point; cells beyond the edge are zero.  The gradient reaches x, points and kernel; that of a point
    a cell or more beyond the edge is zero.
    """
    samples = jax.vmap(sample)(x, points)
    return jnp.einsum("bhwtc,tcd->bhwd", samples, kernel.astype(x.dtype))


def sample(x: Float[Array, "h w C"], points: Float[Array, "*shape 2"]) -> Float[Array, "*shape C"]:
    """An image's map read at some points, bilinearly."""
    height, width, channels = x.shape
    cells = x.reshape(-1, channels)
    column, right = between(points[..., 0], width)
    row, below = between(points[..., 1], height)

    def corner(row: Array, column: Array, weight: Array) -> Array:
        is_inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        index = jnp.where(is_inside, row * width + column, len(cells))
        value = cells.at[index].get(mode="fill", fill_value=0)
        # A broadcast product, as an einsum: the sum over channels in its gradient is three times faster on a CPU so.
        return jnp.einsum("...c,...->...c", value, weight.astype(x.dtype))

    top = corner(row, column, (1 - below) * (1 - right)) + corner(row, column + 1, (1 - below) * right)
    return top + corner(row + 1, column, below * (1 - right)) + corner(row + 1, column + 1, below * right)


def between(place: Float[Array, "*shape"], length: int) -> tuple[Array, Float[Array, "*shape"]]:
    """The cell at or before each place on an axis of `length` cells, and the distance from there, 0 to 1.

    Places from -1 downwards and from `length` upwards read zero.  `clamp`, unlike `jnp.clip`, has no gradient there.
    """
    limits = jnp.asarray(-1, place.dtype), jnp.asarray(length, place.dtype)
    place = jax.lax.clamp(limits[0], place, limits[1])
    before = jnp.floor(jax.lax.stop_gradient(place))
    return before.astype(jnp.int32), place - before

"""Batch norm of the images of a batch, on all devices, without the blank ones that fill it up.

Parameters and statistics have the names and types of `flax.linen.BatchNorm`, so that checkpoints and torchvision's
weights fit; that one's `mask` averages the means of devices, which is wrong where they hold unequal numbers of images.
Axes: B images, h w map cells, C channels.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

MOMENTUM, EPSILON = 0.9, 1e-5  # PyTorch's defaults, which count the momentum from the other side


class RealImages(NamedTuple):
    """Which images of a batch are none of the blank ones."""

    is_real: Array  # bool[B] of those here
    number: Array  # i32[] in the whole batch, on all devices


def real_images(size: Int32[Array, "B 2"], axis: str | None) -> RealImages:
    """Those that have a size, (height, width) in pixels; `axis` is the mesh axis that the batch is divided over."""
    is_real = (size > 0).all(-1)
    number = is_real.sum(dtype=jnp.int32)
    return RealImages(is_real, number if axis is None else jax.lax.psum(number, axis))


class BatchNorm(nn.Module):
    """Normalise each channel, then scale and shift it; what is computed is at least float32, what leaves is as it came.

    With `use_running_average` by the running statistics, which stay; else by mean and variance of the batch's real
    images, padding inside of them included, which move the running ones.  Blank images then leave as zeros: nothing
    bounds what the statistics of others would make of them, layer after layer.  A batch without a real image moves
    nothing.  `axis` is the mesh axis that the batch is divided over.
    """

    use_running_average: bool
    axis: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], real: RealImages) -> Float[Array, "B h w C"]:
        channels = x.shape[-1]
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)
        scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        precise = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if self.use_running_average:
            factor = jax.lax.rsqrt(running_var.value + EPSILON) * scale
            return ((precise - running_mean.value) * factor + bias).astype(x.dtype)

        mean, var = statistics(precise, real, self.axis)
        if not self.is_initializing():
            for running, now in ((running_mean, mean), (running_var, var)):
                moved = MOMENTUM * running.value + (1 - MOMENTUM) * now
                running.value = jnp.where(real.number > 0, moved, running.value)
        # Factor and bias of each image: those of a blank one are 0, so that it leaves as zeros.
        factor = jnp.where(real.is_real[:, None], jax.lax.rsqrt(var + EPSILON) * scale, 0)
        bias = jnp.where(real.is_real[:, None], bias, 0)
        return ((precise - mean) * factor[:, None, None] + bias[:, None, None]).astype(x.dtype)


def statistics(
    x: Float[Array, "B h w C"], real: RealImages, axis: str | None
) -> tuple[Float[Array, " C"], Float[Array, " C"]]:
    """Mean and variance (not Bessel's) of the channels of all real images on all devices; zeros where there is none.

    Of each image first, then over images: leaving some out costs no pass over the map.
    """
    of_images = jnp.stack([x.mean((1, 2)), jnp.square(x).mean((1, 2))])
    sums = jnp.where(real.is_real[:, None], of_images, 0).sum(1)
    if axis is not None:
        sums = jax.lax.psum(sums, axis)  # both at once: a round over the network costs more than its bytes
    mean, mean_of_squares = sums / jnp.maximum(real.number, 1).astype(x.dtype)
    return mean, jnp.maximum(mean_of_squares - jnp.square(mean), 0)  # below 0 by rounding

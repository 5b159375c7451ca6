"""Batch norm over the images of a batch on all devices; the blank images that fill up the batch do not count.

Parameters and statistics have the names and types of `flax.linen.BatchNorm`, so that checkpoints and torchvision's
weights fit.  The `mask` of Flax's own layer averages the means of the devices, which is wrong where devices hold
different numbers of real images.

Axes: B images, h w map cells, C channels.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

MOMENTUM, EPSILON = 0.9, 1e-5  # PyTorch's defaults; its momentum of 0.1 is 1 - MOMENTUM


class RealImages(NamedTuple):
    """Which images of a batch are real, as opposed to blank fill images."""

    is_real: Array  # bool[B] for the images on this device
    number: Array  # i32[] number of real images in the whole batch, on all devices


def real_images(size: Int32[Array, "B 2"], axis: str | None) -> RealImages:
    """The images of nonzero size, (height, width) in pixels; `axis` is the mesh axis that the batch is divided over."""
    is_real = (size > 0).all(-1)
    number = is_real.sum(dtype=jnp.int32)
    return RealImages(is_real, number if axis is None else jax.lax.psum(number, axis))


class BatchNorm(nn.Module):
    """Normalise each channel, then scale and shift it; computes in at least float32, returns the input's type.

    With `use_running_average`, the layer normalises by the running statistics and leaves them unchanged.  Otherwise it
    normalises by the mean and variance of the batch's real images, including the padding inside them, and updates the
    running statistics.  Blank images then become zeros: normalised by the statistics of other images, layer after
    layer, their values would be unbounded.  A batch without a real image updates nothing.  `axis` is the mesh axis that
    the batch is divided over.  With `unbiased`, the running variance is fed n / (n - 1) times the batch's, n the
    numbers of a channel, as in PyTorch.
    """

    use_running_average: bool
    axis: str | None = None
    unbiased: bool = False

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
            seen = var
            if self.unbiased:
                numbers = real.number.astype(var.dtype) * (x.shape[1] * x.shape[2])
                seen = var * (numbers / jnp.maximum(numbers - 1, 1))
            for running, now in ((running_mean, mean), (running_var, seen)):
                moved = MOMENTUM * running.value + (1 - MOMENTUM) * now
                running.value = jnp.where(real.number > 0, moved, running.value)
        # Factor and bias are per image; they are 0 for a blank image, so that its output is zero.
        factor = jnp.where(real.is_real[:, None], jax.lax.rsqrt(var + EPSILON) * scale, 0)
        bias = jnp.where(real.is_real[:, None], bias, 0)
        return ((precise - mean) * factor[:, None, None] + bias[:, None, None]).astype(x.dtype)


def statistics(
    x: Float[Array, "B h w C"], real: RealImages, axis: str | None
) -> tuple[Float[Array, " C"], Float[Array, " C"]]:
    """Mean and biased variance of each channel over all real images on all devices; zeros if there are none.

    Reduces each image first, then over images, so that leaving images out costs no extra pass over the map.
    """
    of_images = jnp.stack([x.mean((1, 2)), jnp.square(x).mean((1, 2))])
    sums = jnp.where(real.is_real[:, None], of_images, 0).sum(1)
    if axis is not None:
        sums = jax.lax.psum(sums, axis)  # both at once: the latency of a round costs more than its bytes
    mean, mean_of_squares = sums / jnp.maximum(real.number, 1).astype(x.dtype)
    # Cheaper than squares of differences from the mean, for which all devices would have to exchange it first.  It
    # loses digits only where the mean is large beside the deviation, which convolutions without bias rarely make.
    return mean, jnp.maximum(mean_of_squares - jnp.square(mean), 0)  # rounding can push it below 0

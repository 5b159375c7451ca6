"""A 1x1 convolution, written as the matrix product over channels that it is.

Half of a ResNet-50's work is in such layers.  On a CPU, XLA's convolution and its gradients are slower than its matrix
product, by a factor of almost four for the gradient of the kernel; on an accelerator both compile to the same.  Names,
shapes and initial values of the parameters are those of `flax.linen.Conv`.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class Product(nn.Module):
    """f[B,h,w,C] -> f[B,ceil(h / stride),ceil(w / stride),D] in the type `dtype`."""

    channels: int
    kernel_init: Callable[..., Any]
    dtype: Any
    stride: int = 1
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 D"]:
        kernel = self.param("kernel", self.kernel_init, (1, 1, x.shape[-1], self.channels), jnp.float32)
        x = x[:, :: self.stride, :: self.stride].astype(self.dtype)
        # As one matrix: with four axes, a CPU would copy the gradient of `y` transposed for that of the kernel.
        y = jnp.matmul(x.reshape(-1, x.shape[-1]), kernel[0, 0].astype(self.dtype))
        y = y.reshape(*x.shape[:-1], self.channels)
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.channels,), jnp.float32).astype(self.dtype)
        return y

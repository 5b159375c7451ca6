"""The stack that heads and branches begin with: 3x3 convolution, GroupNorm and ReLU, repeated (FCOS)."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

# Layers outside the backbone are initialised as in RetinaNet: small normal weights, zero bias (Sec. 4).
small_normal = nn.initializers.normal(0.01)


class Tower(nn.Module):
    """`depth` times (conv3x3, GroupNorm, ReLU) with `channels` channels; the map keeps its size."""

    channels: int
    depth: int

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h w D"]:
        for i in range(self.depth):
            conv = nn.Conv(
                self.channels, (3, 3), use_bias=False, kernel_init=small_normal, dtype=x.dtype, name=f"conv{i}"
            )
            norm = group_norm(math.gcd(32, self.channels), x.dtype, f"norm{i}")
            x = nn.relu(norm(conv(x)))
        return x


def group_norm(groups: int, dtype: Any, name: str) -> nn.GroupNorm:
    """PyTorch's GroupNorm."""
    # Not the fast variance: E[x²] - E[x]² loses all digits where the mean is large.
    return nn.GroupNorm(groups, epsilon=1e-5, use_fast_variance=False, dtype=dtype, name=name)


class Output(nn.Module):
    """A last convolution with bias, without norm or ReLU; `bias` is the initial value of its bias.

    The output is at least float32, whatever type the network computes in.
    """

    channels: int
    kernel: int = 3
    bias: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h w D"]:
        conv = nn.Conv(
            self.channels,
            (self.kernel, self.kernel),
            kernel_init=small_normal,
            bias_init=nn.initializers.constant(self.bias),
            dtype=x.dtype,
            name="conv",
        )
        return conv(x).astype(jnp.promote_types(x.dtype, jnp.float32))

"""F_kp: the features that all KP-Nets of an image share (Sec. 3.2, "Shared Inputs")."""

import flax.linen as nn
from jaxtyping import Array, Float

from inspose_jax.network.tower import Output, Tower


class KeypointFeatures(nn.Module):
    """A tower and a last convolution; returns F_kp f[B,h,w,C] and the tower's output f[B,h,w,D]."""

    channels: int
    depth: int
    feature_channels: int

    @nn.compact
    def __call__(self, x: Float[Array, "B h w E"]) -> tuple[Float[Array, "B h w C"], Float[Array, "B h w D"]]:
        trunk = Tower(self.channels, self.depth, name="tower")(x)
        return Output(self.feature_channels, name="features")(trunk), trunk

"""Where a joint lies inside its map cell, predicted once for all people (Sec. 3.3)."""

import flax.linen as nn
from jaxtyping import Array, Float

from inspose_jax.network.tower import Output, Tower


class DiskOffset(nn.Module):
    """f[B,h,w,C] -> f[B,h,w,2K] in map cells; channel 2k is x, 2k+1 is y of joint k.

    `depth` is the number of hidden convolutions: 2 before the last one in the paper, 0 to read a shared trunk directly.
    """

    num_keypoints: int
    channels: int
    depth: int

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h w K2"]:
        x = Tower(self.channels, self.depth, name="tower")(x)
        return Output(2 * self.num_keypoints, name="offsets")(x)

"""The auxiliary training task: heatmaps of the joints of all people (Sec. 3.4); absent at test time."""

import math

import flax.linen as nn
from jaxtyping import Array, Float

from inspose_jax.network.tower import Output, Tower

PRIOR = 0.1  # starting at p = .5, the background would drown every other loss in the first steps


class Heatmap(nn.Module):
    """f[B,h,w,C] -> logits f[B,h,w,K]; `depth` counts hidden convolutions: 2 in the paper, 0 on a shared trunk."""

    num_keypoints: int
    channels: int
    depth: int

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h w K"]:
        x = Tower(self.channels, self.depth, name="tower")(x)
        return Output(self.num_keypoints, bias=-math.log((1 - PRIOR) / PRIOR), name="logits")(x)

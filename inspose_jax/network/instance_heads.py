"""The dashed box of Figure 3: from every location, is there a person, and the parameters of its KP-Net.

The same parameters serve all levels (Sec. 3.1); the locations of all levels end up in one list.
"""

import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from inspose_jax.network.tower import Output, Tower

PRIOR = 0.01  # every location starts as a person with this probability, else the background drowns the first steps


class InstanceHeads(nn.Module):
    """Two towers per level -> logits f[B,L] and theta f[B,L,P], finest level first, row by row."""

    channels: int
    depth: int
    num_parameters: int
    controller_kernel: int

    @nn.compact
    def __call__(self, levels: list[Float[Array, "B _ _ C"]]) -> tuple[Float[Array, "B L"], Float[Array, "B L P"]]:
        classification_tower = Tower(self.channels, self.depth, name="classification_tower")
        controller_tower = Tower(self.channels, self.depth, name="controller_tower")
        to_logits = Output(1, bias=-math.log((1 - PRIOR) / PRIOR), name="logits")
        to_theta = Output(self.num_parameters, kernel=self.controller_kernel, name="theta")
        logits, theta = [], []
        for x in levels:
            batch = x.shape[0]
            logits.append(to_logits(classification_tower(x)).reshape(batch, -1))
            theta.append(to_theta(controller_tower(x)).reshape(batch, -1, self.num_parameters))
        return jnp.concatenate(logits, 1), jnp.concatenate(theta, 1)

"""The neck: C2..C5 -> pyramid levels with equally many channels (FPN, as FCOS uses it)."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from inspose_jax.network.product import Product

xavier = nn.initializers.xavier_uniform()


class FPN(nn.Module):
    """1x1 lateral convolutions, top-down sums and 3x3 output convolutions; stride-2 convolutions make P6 and P7.

    `levels` are the levels returned; the top-down path always starts at C5.  Level 2 (stride 4) reads C2.
    """

    levels: tuple[int, ...]
    channels: int

    @nn.compact
    def __call__(self, features: dict[int, Float[Array, "B _ _ _"]]) -> dict[int, Float[Array, "B _ _ D"]]:
        pyramid: dict[int, Float[Array, "B _ _ D"]] = {}
        conv = partial(nn.Conv, self.channels, kernel_init=xavier, dtype=features[5].dtype)
        lateral = partial(Product, self.channels, xavier, features[5].dtype, use_bias=True)
        above = None
        for level in range(5, min(self.levels) - 1, -1):
            here = lateral(name=f"lateral{level}")(features[level])
            if above is not None:
                here = here + enlarge(above, here.shape[1], here.shape[2])
            if level in self.levels or (level == 5 and max(self.levels) > 5):
                pyramid[level] = conv((3, 3), name=f"output{level}")(here)
            above = here
        for level in range(6, max(self.levels) + 1):
            below = pyramid[level - 1] if level == 6 else nn.relu(pyramid[level - 1])
            down = conv((3, 3), strides=(2, 2), padding=((1, 1), (1, 1)), name=f"output{level}")
            pyramid[level] = down(below)
        return {level: pyramid[level] for level in self.levels}


def enlarge(x: Float[Array, "B h w C"], height: int, width: int) -> Float[Array, "B h2 w2 C"]:
    """Upsample by 2, repeating cells, and crop to the finer level's size where that is odd."""
    return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)[:, :height, :width]

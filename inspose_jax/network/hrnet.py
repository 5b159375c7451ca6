"""The other backbone: image -> C2, C3, C4, C5, an HRNet (Sun et al., 2019), which keeps a fine map up to its end.

Each of the stages 2 to 4 adds a branch at half the resolution of the last one and lets all branches exchange what they
have found.  Laid out like the authors' network for ImageNet, whose weights it can load.  The FPN reads the branches of
stride 8, 16 and 32; the paper does not say how its HRNet enters the FPN.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from inspose_jax.network.batch_norm import RealImages, real_images
from inspose_jax.network.resnet import Layer, Stage, make_layers

INNER = 64  # channels of the stem, and inner channels of stage 1's bottlenecks, for every width
NUM_BLOCKS = 4  # of stage 1, and of each branch of a module
NUM_MODULES = {2: 1, 3: 4, 4: 3}  # of each stage
PAD = ((1, 1), (1, 1))


class HRNet(nn.Module):
    """f[B,H,W,3] normalised images -> {level: f[B, H / 2^level, W / 2^level, widths[level - 2]]} for levels 2 to 5.

    The sides of the images are multiples of 32.  `size`, `frozen_stages`, `data_axis` and `unbiased` are as in
    `ResNet`.
    """

    widths: tuple[int, ...]  # channels of the four branches
    train_norm: bool
    frozen_stages: int
    data_axis: str | None
    unbiased: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 3"], size: Int32[Array, "B 2"]) -> dict[int, Float[Array, "B _ _ _"]]:
        conv, product, frozen, trained = make_layers(x.dtype, self.train_norm, self.data_axis, self.unbiased)
        real = real_images(size, self.data_axis)
        norm = frozen if self.frozen_stages >= 1 else trained
        x = Stem(conv, norm, name="stem")(x, real)
        maps = [Stage(INNER, NUM_BLOCKS, 1, True, conv, product, norm, name="stage1")(x, real)]
        for stage, num_modules in NUM_MODULES.items():
            norm = frozen if self.frozen_stages >= stage else trained
            branches = Branches(self.widths[:stage], num_modules, conv, product, norm, name=f"stage{stage}")
            maps = branches(maps, real)
        return dict(enumerate(maps, start=2))


class Stem(nn.Module):
    """Two 3x3 convolutions with stride 2."""

    conv: Layer
    norm: Layer

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 3"], real: RealImages) -> Float[Array, "B h w C"]:
        for i in (1, 2):
            x = self.conv(INNER, (3, 3), (2, 2), padding=PAD, name=f"conv{i}")(x)
            x = nn.relu(self.norm(name=f"norm{i}")(x, real))
        return x


class Branches(nn.Module):
    """A stage: the maps of the stage before, and a new one at half the last one's resolution, through the modules."""

    widths: tuple[int, ...]
    num_modules: int
    conv: Layer
    product: Layer
    norm: Layer

    @nn.compact
    def __call__(self, maps: list[Float[Array, "B _ _ _"]], real: RealImages) -> list[Float[Array, "B _ _ _"]]:
        *_, last = maps
        new = len(maps)  # index of the new branch
        halved = Halvings((self.widths[new],), True, self.conv, self.norm, name=f"transition{new}")(last, real)
        maps = [self.fitted(x, i, real) for i, x in enumerate(maps)] + [halved]
        for i in range(self.num_modules):
            maps = Exchange(self.widths, self.conv, self.product, self.norm, name=f"module{i}")(maps, real)
        return maps

    def fitted(self, x: Float[Array, "B h w C"], i: int, real: RealImages) -> Float[Array, "B h w D"]:
        """The map of branch `i` with the branch's number of channels; only stage 1's map has another one."""
        if x.shape[-1] == self.widths[i]:
            return x
        return nn.relu(Unit(self.widths[i], 1, self.conv, self.norm, name=f"transition{i}")(x, real))


class Exchange(nn.Module):
    """A module: blocks on every branch; then each branch becomes the sum of all of them, brought to its resolution."""

    widths: tuple[int, ...]
    conv: Layer
    product: Layer
    norm: Layer

    @nn.compact
    def __call__(self, maps: list[Float[Array, "B _ _ _"]], real: RealImages) -> list[Float[Array, "B _ _ _"]]:
        maps = [
            Stage(self.widths[i], NUM_BLOCKS, 1, False, self.conv, self.product, self.norm, name=f"branch{i}")(x, real)
            for i, x in enumerate(maps)
        ]
        sums = []
        for to in range(len(maps)):
            parts = [self.resized(x, source, to, real) for source, x in enumerate(maps)]
            sums.append(nn.relu(sum(parts[1:], start=parts[0])))
        return sums

    def resized(self, x: Float[Array, "B h w C"], source: int, to: int, real: RealImages) -> Float[Array, "B _ _ D"]:
        """The map of branch `source` at the resolution and with the channels of branch `to`."""
        name, width = f"fuse{to}_{source}", self.widths[to]
        if source == to:
            return x
        if source > to:
            return Enlarged(width, 2 ** (source - to), self.product, self.norm, name=name)(x, real)
        channels = (*[self.widths[source]] * (to - source - 1), width)
        return Halvings(channels, False, self.conv, self.norm, name=name)(x, real)


class Enlarged(nn.Module):
    """A 1x1 convolution and its norm; then every cell is repeated `factor` times in both directions."""

    channels: int
    factor: int
    product: Layer
    norm: Layer

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], real: RealImages) -> Float[Array, "B h2 w2 D"]:
        x = self.norm(name="norm")(self.product(self.channels, name="conv")(x), real)
        return jnp.repeat(jnp.repeat(x, self.factor, 1), self.factor, 2)


class Halvings(nn.Module):
    """3x3 convolutions with stride 2 and `channels` outputs each; ReLU between them, and at the end if `relu_last`."""

    channels: tuple[int, ...]
    relu_last: bool
    conv: Layer
    norm: Layer

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], real: RealImages) -> Float[Array, "B h2 w2 D"]:
        for i, channels in enumerate(self.channels):
            x = Unit(channels, 2, self.conv, self.norm, name=f"halving{i}")(x, real)
            if self.relu_last or i + 1 < len(self.channels):
                x = nn.relu(x)
        return x


class Unit(nn.Module):
    """A 3x3 convolution and its norm."""

    channels: int
    stride: int
    conv: Layer
    norm: Layer

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], real: RealImages) -> Float[Array, "B h2 w2 D"]:
        x = self.conv(self.channels, (3, 3), (self.stride, self.stride), padding=PAD, name="conv")(x)
        return self.norm(name="norm")(x, real)

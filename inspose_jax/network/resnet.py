"""The backbone: image -> C2, C3, C4, C5, a ResNet laid out like torchvision's, whose weights it can load.

The stride of a stage is in the 3x3 convolution of its first block.  All padding is explicit: at stride 2, Flax's "SAME"
pads (0, 1), while weights from PyTorch expect (1, 1).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from inspose_jax.network.batch_norm import BatchNorm, RealImages, real_images
from inspose_jax.network.product import Product

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
BOTTLENECK = {"resnet18": False, "resnet50": True, "resnet101": True}
EXPANSION = 4  # ratio of a bottleneck's output channels to its inner channels

Layer = Callable[..., nn.Module]


def make_layers(
    dtype: Any, train_norm: bool, data_axis: str | None, unbiased: bool
) -> tuple[Layer, Layer, Layer, Layer]:
    """The layers of a backbone: convolutions, 1x1 convolutions, frozen batch norms, and those of stages that train."""
    he = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
    conv = partial(nn.Conv, use_bias=False, kernel_init=he, dtype=dtype)
    product = partial(Product, kernel_init=he, dtype=dtype)
    frozen = partial(BatchNorm, use_running_average=True)
    trained = partial(BatchNorm, use_running_average=not train_norm, axis=data_axis, unbiased=unbiased)
    return conv, product, frozen, trained


class Block(nn.Module):
    """Two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1, with a shortcut."""

    width: int
    stride: int
    bottleneck: bool
    conv: Layer
    product: Layer
    norm: Layer

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], real: RealImages) -> Float[Array, "B h2 w2 D"]:
        pad = ((1, 1), (1, 1))
        strides = (self.stride, self.stride)
        channels = self.width * (EXPANSION if self.bottleneck else 1)
        if self.bottleneck:
            y = nn.relu(self.norm(name="norm1")(self.product(self.width, name="conv1")(x), real))
            y = self.conv(self.width, (3, 3), strides, padding=pad, name="conv2")(y)
            y = nn.relu(self.norm(name="norm2")(y, real))
            y = self.norm(name="norm3")(self.product(channels, name="conv3")(y), real)
        else:
            y = self.conv(self.width, (3, 3), strides, padding=pad, name="conv1")(x)
            y = nn.relu(self.norm(name="norm1")(y, real))
            y = self.norm(name="norm2")(self.conv(channels, (3, 3), padding=pad, name="conv2")(y), real)
        if x.shape != y.shape:
            shortcut = self.product(channels, stride=self.stride, name="shortcut_conv")(x)
            x = self.norm(name="shortcut_norm")(shortcut, real)
        # Without the barrier XLA's CPU compiler computes a stage's chain of residual sums anew in each of its blocks: a
        # training step of the ResNet-50 on one core takes 13.5 s instead of 12.0.
        return jax.lax.optimization_barrier(nn.relu(x + y))


class Stage(nn.Module):
    """Blocks at one resolution; the first may halve the map."""

    width: int
    num_blocks: int
    stride: int
    bottleneck: bool
    conv: Layer
    product: Layer
    norm: Layer

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], real: RealImages) -> Float[Array, "B h2 w2 D"]:
        for i in range(self.num_blocks):
            stride = self.stride if i == 0 else 1
            x = Block(self.width, stride, self.bottleneck, self.conv, self.product, self.norm, name=f"block{i}")(
                x, real
            )
        return x


class Stem(nn.Module):
    """7x7 convolution and 3x3 max-pooling, both with stride 2."""

    width: int
    conv: Layer
    norm: Layer

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 3"], real: RealImages) -> Float[Array, "B h w C"]:
        x = self.conv(self.width, (7, 7), (2, 2), padding=((3, 3), (3, 3)), name="conv")(x)
        x = nn.relu(self.norm(name="norm")(x, real))
        return max_pool(x)


def max_pool(x: Float[Array, "B h w C"]) -> Float[Array, "B h2 w2 C"]:
    """3x3 max-pooling with stride 2 and padding 1, for non-negative values.

    Takes maxima of shifted slices, first over rows, then over columns: on a CPU the gradient of XLA's windowed maximum
    is three times as expensive.
    """
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    last_row, last_column = x.shape[1] - 1, x.shape[2] - 1
    x = jnp.maximum(jnp.maximum(x[:, 0 : last_row - 1 : 2], x[:, 1:last_row:2]), x[:, 2 : last_row + 1 : 2])
    columns = x[:, :, 0 : last_column - 1 : 2], x[:, :, 1:last_column:2], x[:, :, 2 : last_column + 1 : 2]
    return jnp.maximum(jnp.maximum(columns[0], columns[1]), columns[2])


class ResNet(nn.Module):
    """f[B,H,W,3] normalised images -> {level: f[B, H / 2^level, W / 2^level, C]} for levels 2 to 5.

    `size` i32[B,2] is the (height, width) of the real part of each image; blank images, whose size is 0, do not count
    in batch statistics.

    Frozen stages (`frozen_stages` counts the stem and the first stage as 1) keep their batch statistics even if
    `train_norm` makes the others use the statistics of the batch, which is divided over the mesh axis `data_axis`.
    Their weights would still get a gradient; the optimizer drops it.  `unbiased` is as in `BatchNorm`.
    """

    variant: str  # a key of BLOCKS
    widths: tuple[int, ...]
    train_norm: bool
    frozen_stages: int
    data_axis: str | None
    unbiased: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 3"], size: Int32[Array, "B 2"]) -> dict[int, Float[Array, "B _ _ _"]]:
        conv, product, frozen, trained = make_layers(x.dtype, self.train_norm, self.data_axis, self.unbiased)
        real = real_images(size, self.data_axis)
        outputs = {}
        x = Stem(self.widths[0], conv, frozen if self.frozen_stages >= 1 else trained, name="stem")(x, real)
        for i, num_blocks in enumerate(BLOCKS[self.variant]):
            x = Stage(
                self.widths[i],
                num_blocks,
                stride=1 if i == 0 else 2,
                bottleneck=BOTTLENECK[self.variant],
                conv=conv,
                product=product,
                norm=frozen if self.frozen_stages > i else trained,
                name=f"stage{i + 1}",
            )(x, real)
            outputs[i + 2] = x
        return outputs

"""The dashed box of Figure 3: for every location, whether a person is there, and the parameters of its KP-Net.

All levels share the same parameters (Sec. 3.1), and the locations of all levels end up in one list.  Theta is needed
at only a few of them: in training at the filled slots, at test time at the candidates.  The controller's last layer is
therefore applied only there (`theta_at`); at all 22,400 locations of an 800 x 1344 image its output would be the
largest array of a step.

Axes: B images, L locations of all levels, M of them, C channels of the controller's tower, P parameters of a KP-Net.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from inspose_jax.network.tower import Output, Tower, small_normal
from inspose_jax.structures import Controller

LOCATIONS_AT_ONCE = 32  # whose theta decoding computes at a time; few images have more candidates
FARTHEST = 8.0  # largest logarithm of a box's side from its location, in strides, so that no side overflows
PRIOR = 0.01  # initial probability of a person at every location; else the background drowns the first steps


class InstanceHeads(nn.Module):
    """Two towers per level -> logits f[B,L], finest level first, row by row, and what theta is computed from.

    With `has_boxes` a third output is f[B,L,4], the pixels from each location to the left, top, right and bottom side
    of its person's box: e^x strides, as in FCOS, of a layer on the controller's tower; else it is None.
    """

    channels: int
    depth: int
    num_parameters: int
    controller_kernel: int
    strides: tuple[int, ...] = ()  # of the levels; needed for boxes only
    has_boxes: bool = False

    @nn.compact
    def __call__(
        self, levels: list[Float[Array, "B _ _ C"]]
    ) -> tuple[Float[Array, "B L"], Controller, Float[Array, "B L 4"] | None]:
        classification_tower = Tower(self.channels, self.depth, name="classification_tower")
        controller_tower = Tower(self.channels, self.depth, name="controller_tower")
        to_logits = Output(1, bias=-math.log((1 - PRIOR) / PRIOR), name="logits")
        logits = [to_logits(classification_tower(x)).reshape(x.shape[0], -1) for x in levels]
        features = tuple(controller_tower(x) for x in levels)
        layer = LastLayer(self.num_parameters, self.controller_kernel, name="theta")
        controller = Controller(features, *layer(features[0].shape[-1]))
        sides = None
        if self.has_boxes:
            to_sides = Output(4, name="boxes")
            sides = [
                stride * jnp.exp(jnp.minimum(to_sides(x).reshape(x.shape[0], -1, 4), FARTHEST))
                for x, stride in zip(features, self.strides, strict=True)
            ]
            sides = jnp.concatenate(sides, 1)
        return jnp.concatenate(logits, 1), controller, sides


class LastLayer(nn.Module):
    """Kernel and bias, named as in `tower.Output`, of a layer that the caller applies."""

    channels: int
    kernel: int

    @nn.compact
    def __call__(self, inputs: int) -> tuple[Float[Array, "k k C P"], Float[Array, " P"]]:
        return KernelAndBias((self.kernel, self.kernel, inputs, self.channels), name="conv")()


class KernelAndBias(nn.Module):
    """The parameters of a convolution with a kernel of `shape`."""

    shape: tuple[int, int, int, int]

    @nn.compact
    def __call__(self) -> tuple[Float[Array, "k k C P"], Float[Array, " P"]]:
        kernel = self.param("kernel", small_normal, self.shape, jnp.float32)
        return kernel, self.param("bias", nn.initializers.zeros, self.shape[-1:], jnp.float32)


def theta_at(controller: Controller, location: Int32[Array, "B M"]) -> Float[Array, "B M P"]:
    """The KP-Net parameters of some locations, given as indices into the list L; at least float32.

    Applies the controller's last convolution at these locations only: gathers the cells around each and multiplies
    them.  A patch never reaches into another level; beyond the edge of its own level it reads zeros.
    """
    sizes = [x.shape[1:3] for x in controller.features]
    features = jnp.concatenate([x.reshape(x.shape[0], -1, x.shape[-1]) for x in controller.features], 1)
    index = around(location, sizes, controller.kernel.shape[0])
    # Image by image, so that the gradient adds up within an image.  Index L stands for cells outside and reads zeros.
    patches = jax.vmap(lambda one, rows: one.at[rows].get(mode="fill", fill_value=0))(features, index)
    kernel = controller.kernel.reshape(-1, controller.kernel.shape[-1]).astype(features.dtype)
    patches = patches.reshape(*location.shape, len(kernel))
    precise = jnp.promote_types(features.dtype, jnp.float32)
    theta = jax.lax.dot_general(patches, kernel, (((2,), (0,)), ((), ())), preferred_element_type=precise)
    return theta + controller.bias.astype(precise)


def theta_at_first(
    controller: Controller, location: Int32[Array, "B M"], number: Int32[Array, " B"]
) -> Float[Array, "B M P"]:
    """`theta_at` of the first `number` locations of each image; what the other rows hold is unspecified.

    At test time few of the candidates are above the score threshold, and theta is computed for no more chunks than
    the image with the most of them needs.  A loop of dynamic length has no gradient, so training uses `theta_at`.
    """
    num_locations = location.shape[1]
    width = min(LOCATIONS_AT_ONCE, num_locations)
    location = jnp.pad(location, ((0, 0), (0, -num_locations % width)))

    def visit(i: Array, theta: Float[Array, "B M P"]) -> Float[Array, "B M P"]:
        chunk = jax.lax.dynamic_slice_in_dim(location, i * width, width, axis=1)
        return jax.lax.dynamic_update_slice_in_dim(theta, theta_at(controller, chunk), i * width, axis=1)

    like = jax.eval_shape(theta_at, controller, location)
    found = jax.lax.fori_loop(0, (number.max() + width - 1) // width, visit, jnp.zeros(like.shape, like.dtype))
    return found[:, :num_locations]


def around(location: Int32[Array, "B M"], sizes: list[tuple[int, int]], kernel: int) -> Int32[Array, "B M k2"]:
    """Indices of the kernel x kernel cells around each location on its level; L for cells beyond the level's edge."""
    num_cells = [height * width for height, width in sizes]
    starts = jnp.array([sum(num_cells[:level]) for level in range(len(sizes))], jnp.int32)
    heights, widths = jnp.array(sizes, jnp.int32).T
    level = (location[..., None] >= starts).sum(-1) - 1
    start, height, width = (values[level][..., None] for values in (starts, heights, widths))
    row, column = jnp.divmod(location[..., None] - start, width)
    steps = jnp.arange(kernel, dtype=jnp.int32) - (kernel - 1) // 2  # as Flax pads: even kernels reach further ahead
    row, column = row + jnp.repeat(steps, kernel), column + jnp.tile(steps, kernel)
    is_on_level = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return jnp.where(is_on_level, start + row * width + column, sum(num_cells))

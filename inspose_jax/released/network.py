"""The released network: a batch of images -> `Outputs`.

    C3 C4 C5 -> P3..P7, of each level, with the same parameters:
        coarse tower -> the joints of the person at each location, coarsely
        classification tower -> [itself, star] -> is a person?
        controller tower     -> [itself, star] -> theta of a KP-Net
    of P3:
        keypoint features -> F_kp, stride 8
        dense tower, enlarged to stride 4 -> heatmaps, tags, offsets

A star is a 3x3 convolution whose nine taps read at nine of the coarse joints instead of a grid.

Axes: B images, H W the padded image in pixels, h w map cells, L locations of all levels, K keypoints, C D channels,
P parameters of a KP-Net.
"""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from inspose_jax.network import heatmap, instance_heads
from inspose_jax.network.deformable import deformable_conv
from inspose_jax.network.fpn import FPN
from inspose_jax.network.inspose import make_backbone
from inspose_jax.network.tower import Output, Tower, group_norm, small_normal
from inspose_jax.network.upsample import bilinear_x2
from inspose_jax.released import config
from inspose_jax.structures import Controller

LEVELS = (3, 4, 5, 6, 7)
MAP_LEVEL = 3  # of F_kp and the keypoint maps; heatmaps, tags and offsets have half its stride
FEATURE_GROUPS = 2  # of the GroupNorm behind F_kp
COARSE_GRADIENT = 0.1  # how much of its gradient a star hands on to the coarse joints
OUTER = {"stem", "coarse", "logits", "theta", "heatmaps", "tags", "offsets"}  # reads the image, and output layers


class Outputs(NamedTuple):
    """What the released network predicts for a batch."""

    logits: Array  # f32[B,L] logit of "is a person" at every location
    coarse: Array  # f32[B,L,K,2] x, y of every joint from the location's centre, in strides of its level
    controller: Controller  # computes the parameters of a location's KP-Net
    features: Array  # f32[B,h,w,C] F_kp, shared by all people; stride 8
    heatmaps: Array  # f32[B,2h,2w,K] logits, stride 4
    tags: Array  # f32[B,2h,2w,K] the joints of a person have similar tags; only trained
    offsets: (
        Array  # f32[B,2h,2w,2K] of a joint from its cell's corner, in cells of stride 4; channel 2k is x, 2k+1 is y
    )


class Network(nn.Module):
    """The whole network; `train=True` lets batch norm, if the config trains it, use the statistics of the batch.

    `num_parameters` is the size of a person's dynamic network, `feature_channels` the number of channels it reads, and
    `data_axis` the mesh axis that a batch is divided over when the network sees only one device's rows.
    """

    config: config.Network
    star_joints: tuple[int, ...]
    num_keypoints: int
    num_parameters: int
    feature_channels: int
    data_axis: str | None = None

    @nn.compact
    def __call__(
        self, image: Float[Array, "B H W 3"], size: Int32[Array | np.ndarray, "B 2"], train: bool = False
    ) -> Outputs:
        """`image` is normalised, zero in its padding; `size` is the (height, width) of its real part, in pixels."""
        parts = self.config
        train_norm = train and parts.batch_norm == "trained"
        if parts.compute_dtype == "bfloat16":  # every layer computes in the type of its input
            image = image.astype(jnp.bfloat16)
        backbone = make_backbone(parts, train_norm, self.data_axis, unbiased=True, name="backbone")
        pyramid = FPN(LEVELS, parts.fpn_channels, name="fpn")(backbone(image, jnp.asarray(size)))
        logits, coarse, controller = InstanceHeads(
            parts, self.star_joints, self.num_keypoints, self.num_parameters, name="instance_heads"
        )([pyramid[level] for level in LEVELS])
        base = pyramid[MAP_LEVEL]
        features = KeypointFeatures(
            parts.keypoint_channels, parts.keypoint_depth, self.feature_channels, name="keypoint_features"
        )(base)
        dense = Dense(self.num_keypoints, parts.dense_channels, name="dense")(base)
        return Outputs(logits, coarse, controller, features, *dense)


class InstanceHeads(nn.Module):
    """The heads that all levels share -> logits, coarse joints, and what theta is computed from."""

    config: config.Network
    star_joints: tuple[int, ...]
    num_keypoints: int
    num_parameters: int

    @nn.compact
    def __call__(
        self, levels: list[Float[Array, "B _ _ C"]]
    ) -> tuple[Float[Array, "B L"], Float[Array, "B L K 2"], Controller]:
        channels, depth = self.config.head_channels, self.config.head_depth
        coarse_tower = Tower(self.config.coarse_channels, depth, name="coarse_tower")
        to_coarse = Output(2 * self.num_keypoints, name="coarse")
        classification_tower = Tower(channels, depth, name="classification_tower")
        controller_tower = Tower(channels, depth, name="controller_tower")
        classification_star = Star(channels, name="classification_star")
        controller_star = Star(channels, name="controller_star")
        prior = instance_heads.PRIOR
        to_logits = Output(1, bias=-math.log((1 - prior) / prior), name="logits")

        logits, coarse, features = [], [], []
        for x in levels:
            joints = to_coarse(coarse_tower(x)).reshape(*x.shape[:3], self.num_keypoints, 2)
            points = star_points(joints, self.star_joints)
            of_class, of_controller = classification_tower(x), controller_tower(x)
            seen = jnp.concatenate([of_class, classification_star(of_class, points)], -1)
            logits.append(to_logits(seen).reshape(x.shape[0], -1))
            coarse.append(joints.reshape(x.shape[0], -1, self.num_keypoints, 2))
            features.append(jnp.concatenate([of_controller, controller_star(of_controller, points)], -1))
        layer = instance_heads.LastLayer(self.num_parameters, 3, name="theta")
        controller = Controller(tuple(features), *layer(features[0].shape[-1]))
        return jnp.concatenate(logits, 1), jnp.concatenate(coarse, 1), controller


def star_points(joints: Float[Array, "B h w K 2"], star_joints: tuple[int, ...]) -> Float[Array, "B h w T 2"]:
    """Where the taps of the star read on a level, x, y in its cells: at the coarse joints of each location.

    `joints` are offsets from the location, in cells.  The released code hands a tenth of the gradient on to them.
    """
    offsets = joints[..., jnp.array(star_joints), :]
    fixed = jax.lax.stop_gradient(offsets)
    offsets = fixed + jnp.asarray(COARSE_GRADIENT, offsets.dtype) * (offsets - fixed)
    y, x = np.mgrid[: joints.shape[1], : joints.shape[2]]
    return jnp.asarray(np.stack([x, y], -1)[:, :, None], offsets.dtype) + offsets


class Star(nn.Module):
    """The star-shaped convolution, GroupNorm and ReLU."""

    channels: int

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], points: Float[Array, "B h w T 2"]) -> Float[Array, "B h w D"]:
        y = StarConv(self.channels, name="conv")(x, points)
        return nn.relu(group_norm(math.gcd(32, self.channels), x.dtype, "norm")(y))


class StarConv(nn.Module):
    """The deformable 3x3 convolution, without bias; its kernel has the shape of `flax.linen.Conv`'s."""

    channels: int

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], points: Float[Array, "B h w T 2"]) -> Float[Array, "B h w D"]:
        shape = (3, 3, x.shape[-1], self.channels)
        kernel = self.param("kernel", nn.initializers.normal(0.1), shape, jnp.float32)
        return deformable_conv(x, points, kernel.reshape(-1, *kernel.shape[2:]))


class KeypointFeatures(nn.Module):
    """F_kp: a tower and a last convolution, which has GroupNorm and ReLU too, so that F_kp is not negative."""

    channels: int
    depth: int
    feature_channels: int

    @nn.compact
    def __call__(self, x: Float[Array, "B h w E"]) -> Float[Array, "B h w C"]:
        x = Tower(self.channels, self.depth, name="tower")(x)
        last = nn.Conv(
            self.feature_channels, (3, 3), use_bias=False, kernel_init=small_normal, dtype=x.dtype, name="conv"
        )
        x = nn.relu(group_norm(math.gcd(FEATURE_GROUPS, self.feature_channels), x.dtype, "norm")(last(x)))
        return x.astype(jnp.promote_types(x.dtype, jnp.float32))


class Dense(nn.Module):
    """Heatmaps, tags and offsets at half the stride of the map that it reads."""

    num_keypoints: int
    channels: int

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"]) -> tuple[Array, Array, Array]:
        x = Tower(self.channels, 2, name="tower")(x)
        x = Tower(self.channels, 1, name="tower_x2")(bilinear_x2(x))
        prior = heatmap.PRIOR
        return (
            Output(self.num_keypoints, bias=-math.log((1 - prior) / prior), name="heatmaps")(x),
            Output(self.num_keypoints, name="tags")(x),
            Output(2 * self.num_keypoints, name="offsets")(x),
        )

"""Figure 3 with its boxes connected: a batch of images -> `Outputs`."""

from collections.abc import Collection
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, UInt8

from inspose_jax import config, geometry
from inspose_jax.network.disk_offset import DiskOffset
from inspose_jax.network.fpn import FPN
from inspose_jax.network.heatmap import Heatmap
from inspose_jax.network.hrnet import HRNet
from inspose_jax.network.instance_heads import InstanceHeads
from inspose_jax.network.keypoint_features import KeypointFeatures
from inspose_jax.network.resnet import ResNet
from inspose_jax.network.upsample import at_ratio
from inspose_jax.structures import Outputs

MEAN = (123.675, 116.28, 103.53)  # ImageNet's, RGB, 0..255, as torchvision's weights expect
STD = (58.395, 57.12, 57.375)
BACKBONES = {  # and the channels of the four stages, or of an HRNet's four branches, as published
    "resnet18": (partial(ResNet, "resnet18"), (64, 128, 256, 512)),
    "resnet50": (partial(ResNet, "resnet50"), (64, 128, 256, 512)),
    "resnet101": (partial(ResNet, "resnet101"), (64, 128, 256, 512)),
    "hrnet_w32": (HRNet, (32, 64, 128, 256)),
    "hrnet_w48": (HRNet, (48, 96, 192, 384)),
}
OUTER = {"stem", "logits", "theta", "features", "offsets", "boxes"}  # the layer that reads the image, and output layers


class InsPose(nn.Module):
    """The whole network.  `train=True` adds the heatmaps and, if the config trains batch norm, batch statistics.

    `num_parameters` is the size of a person's dynamic network and `feature_channels` the number of channels it reads.
    `data_axis` is the mesh axis that a batch is divided over when the network sees only one device's rows
    (`shard_map`).
    """

    config: config.Network
    num_keypoints: int
    num_parameters: int
    feature_channels: int
    data_axis: str | None = None

    @nn.compact
    def __call__(
        self,
        image: UInt8[Array | np.ndarray, "B H W 3"],
        size: Int32[Array | np.ndarray, "B 2"],
        train: bool = False,
    ) -> Outputs:
        """`image` is padded RGB; `size` is the (height, width) of the real part of each image, in pixels."""
        parts = self.config
        train_norm = train and parts.batch_norm == "trained"
        pyramid_levels = tuple(range(parts.map_level, max(parts.levels) + 1))

        pixels = normalise(jnp.asarray(image), jnp.asarray(size))
        if parts.compute_dtype == "bfloat16":  # every layer computes in the type of its input
            pixels = pixels.astype(jnp.bfloat16)
        backbone = make_backbone(parts, train_norm, self.data_axis, name="backbone")
        features = backbone(pixels, jnp.asarray(size))
        pyramid = FPN(pyramid_levels, parts.fpn_channels, name="fpn")(features)
        logits, controller, sides = InstanceHeads(
            parts.head_channels,
            parts.head_depth,
            self.num_parameters,
            parts.controller_kernel,
            tuple(2**level for level in parts.levels),
            parts.box_head,
            name="instance_heads",
        )([pyramid[level] for level in parts.levels])

        base = at_ratio(pyramid[parts.map_level], parts.map_ratio)
        shared_features, trunk = KeypointFeatures(
            parts.keypoint_channels, parts.keypoint_depth, self.feature_channels, name="keypoint_features"
        )(base)
        dense, depth = (trunk, 0) if parts.shared_trunk else (base, 2)
        offsets = heatmaps = None
        if parts.disk_offset:
            offsets = DiskOffset(self.num_keypoints, parts.dense_channels, depth, name="disk_offset")(dense)
        if parts.heatmap and train:
            heatmaps = Heatmap(self.num_keypoints, parts.dense_channels, depth, name="heatmap")(dense)
        return Outputs(logits, controller, shared_features, offsets, heatmaps, sides)


def make_backbone(
    network: Any, train_norm: bool, data_axis: str | None, *, unbiased: bool = False, name: str | None = None
) -> Any:
    """The backbone that a config names, with the published widths if `backbone_widths` is empty.

    `network` is the config of any network with such a backbone; `unbiased` is as in `BatchNorm`.
    """
    backbone, published = BACKBONES[network.backbone]
    widths = network.backbone_widths or published
    return backbone(widths, train_norm, network.frozen_stages, data_axis, unbiased, name=name)


def trains(params: Any, network: Any) -> Any:
    """A tree of bool like `params`: False for frozen parameters, in the backbone's first stages and its norms.

    `network` is the config of any network with this backbone; only `frozen_stages` and `batch_norm` are read.
    """

    def parameter_trains(path: tuple, _: Any) -> bool:
        names = [entry.key for entry in path]
        if names[0] != "backbone":
            return True
        stage = 0 if names[1] == "stem" else int(names[1].removeprefix("stage"))
        in_frozen_stage = network.frozen_stages > 0 and stage <= network.frozen_stages
        is_frozen_norm = network.batch_norm == "frozen" and "norm" in names[-2]
        return not (in_frozen_stage or is_frozen_norm)

    return jax.tree_util.tree_map_with_path(parameter_trains, params)


def needs_weights(network: Any) -> str:
    """Why the network cannot be trained from random weights, and the remedy; empty if it can.  `network` as above."""
    if network.frozen_stages == 0 and network.batch_norm == "trained":
        return ""
    return (
        f"the frozen layers would stay random: give pretrained weights (--init {network.backbone}.pth), or train all "
        "layers (--config.model.batch-norm trained --config.model.frozen-stages 0)"
    )


def is_hidden(params: Any, outer: Collection[str] = OUTER) -> Any:
    """A tree of bool like `params`: True for kernels outside `outer`, the names of the first and the output layers."""

    def kernel_is_hidden(path: tuple, leaf: Any) -> bool:
        return leaf.ndim == 4 and not any(entry.key in outer for entry in path)

    return jax.tree_util.tree_map_with_path(kernel_is_hidden, params)


def normalise(image: UInt8[Array, "B H W 3"], size: Int32[Array, "B 2"]) -> Float[Array, "B H W 3"]:
    """Bytes -> normalised by ImageNet's mean and deviation; then the padding is set to 0, as in torchvision."""
    x = image.astype(jnp.result_type(float))  # float32, or float64 if a test has enabled it
    x = (x - jnp.asarray(MEAN, x.dtype)) / jnp.asarray(STD, x.dtype)
    is_real = jax.vmap(partial(geometry.real_cells, (image.shape[1], image.shape[2]), 1))(size)
    return jnp.where(is_real[..., None], x, 0)

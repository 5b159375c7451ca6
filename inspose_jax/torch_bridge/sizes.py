"""Sizes of a model that the names and shapes of its tensors in a PyTorch file tell; both variants need them.

A name is that of a tensor of a whole model, `backbone.conv1.weight`.  All functions raise UserError, with the file's
name, if the tensors are not those of a model that this package has.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from inspose_jax.config import KPNet
from inspose_jax.errors import UserError
from inspose_jax.network import kp_net
from inspose_jax.network.inspose import BACKBONES
from inspose_jax.network.resnet import BLOCKS, BOTTLENECK
from inspose_jax.skeletons import Skeleton

Tensors = Mapping[str, np.ndarray]


def outputs_of(path: Path, tensors: Tensors, name: str) -> int:
    """How many channels a layer of this weight makes."""
    if name not in tensors or tensors[name].ndim != 4:
        raise UserError(f"{path}: {name} is missing; is this a whole model of InsPose?")
    return tensors[name].shape[0]


def number_of(tensors: Tensors, pattern: str) -> int:
    """How many layers of a list are there, whose names have their number in place of `{}`."""
    number = 0
    while pattern.format(number) in tensors:
        number += 1
    return number


def resnet_of(path: Path, tensors: Tensors) -> tuple[str, tuple[int, ...]]:
    """The name of a ResNet and the widths of its four stages."""
    blocks = tuple(number_of(tensors, f"backbone.layer{stage}.{{}}.conv1.weight") for stage in (1, 2, 3, 4))
    is_bottleneck = "backbone.layer1.0.conv3.weight" in tensors
    name = next((name for name in BLOCKS if (BLOCKS[name], BOTTLENECK[name]) == (blocks, is_bottleneck)), None)
    if name is None:
        raise UserError(f"{path}: a backbone of {blocks} blocks, which is none of {', '.join(BLOCKS)}")
    return name, tuple(outputs_of(path, tensors, f"backbone.layer{stage}.0.conv1.weight") for stage in (1, 2, 3, 4))


def hrnet_of(path: Path, tensors: Tensors) -> tuple[str, tuple[int, ...]]:
    """The name of an HRNet and the widths of its four branches; other widths than published ones have a name too."""
    begins = ("1.0.0", "1.1.0.0", "2.2.0.0", "3.3.0.0")  # of the branches, in the transitions between the stages
    widths = tuple(outputs_of(path, tensors, f"backbone.transition{begin}.weight") for begin in begins)
    names = [name for name in BACKBONES if name not in BLOCKS]
    return next((name for name in names if BACKBONES[name][1] == widths), names[0]), widths


def kp_net_of(path: Path, tensors: Tensors, last_shared: str, skeleton: Skeleton) -> KPNet:
    """The KP-Net of three layers of 8 channels, whose F_kp is made by the layer `last_shared`; others are refused.

    The number of parameters alone does not tell width and depth, so these are not guessed.
    """
    found = KPNet(feature_channels=outputs_of(path, tensors, last_shared))
    number = outputs_of(path, tensors, "bbox_head.controller.weight")
    if number != kp_net.num_parameters(found, skeleton.num_keypoints):
        raise UserError(
            f"{path}: {number} parameters a person, which are no KP-Net of three layers of 8 channels for "
            f"{skeleton.num_keypoints} joints; put the config.json of the model beside the file"
        )
    return found


def check_joints(path: Path, number: int, skeleton: Skeleton) -> None:
    """Refuse a model of another number of joints than the skeleton has."""
    if number != skeleton.num_keypoints:
        raise UserError(
            f"{path}: a model of {number} joints; the skeleton {skeleton.name} has {skeleton.num_keypoints}. "
            f"Give its own to inspose import-torch with --skeleton"
        )

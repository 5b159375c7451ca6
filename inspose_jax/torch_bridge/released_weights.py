"""The authors' checkpoint -> a config of the released model and its variables: all of it fits, or it is an error."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from inspose_jax import methods, skeletons
from inspose_jax.config import KPNet
from inspose_jax.errors import UserError
from inspose_jax.network import kp_net
from inspose_jax.network.resnet import BLOCKS, BOTTLENECK
from inspose_jax.released import config
from inspose_jax.skeletons import Skeleton
from inspose_jax.torch_bridge import names
from inspose_jax.torch_bridge.released_names import released_name

Tensors = Mapping[str, np.ndarray]
MARK = "bbox_head.cls_star_conv.weight"  # a key that no other model has
SHOWN = 8  # faults that are told one by one


def is_released(tensors: Tensors) -> bool:
    """Whether the keys are those of a released model."""
    return MARK in tensors


def config_of(path: Path, tensors: Tensors, skeleton: Skeleton = skeletons.COCO) -> config.Model:
    """The config of the model in a file, by the names and shapes of its tensors; joints have no names there.

    Raises UserError if a tensor that tells a size is missing, or if the skeleton has another number of joints.
    """

    def outputs_of(name: str) -> int:
        if name not in tensors:
            raise UserError(f"{path}: {name} is missing; is this a checkpoint of the released InsPose?")
        return tensors[name].shape[0]

    def number_of(pattern: str) -> int:
        """How many of a list's layers there are."""
        number = 0
        while pattern.format(number) in tensors:
            number += 1
        return number

    blocks = tuple(number_of(f"backbone.layer{stage}.{{}}.conv1.weight") for stage in (1, 2, 3, 4))
    is_bottleneck = "backbone.layer1.0.conv3.weight" in tensors
    backbone = next((name for name in BLOCKS if (BLOCKS[name], BOTTLENECK[name]) == (blocks, is_bottleneck)), None)
    if backbone is None:
        raise UserError(f"{path}: a backbone of {blocks} blocks, which is none of {', '.join(BLOCKS)}")
    num_keypoints = outputs_of("bbox_head.hm_pred.weight")
    if num_keypoints != skeleton.num_keypoints:
        raise UserError(
            f"{path}: a model of {num_keypoints} joints; the skeleton {skeleton.name} has {skeleton.num_keypoints}. "
            f"Give its own with --skeleton"
        )
    depth = number_of("bbox_head.shared_convs.{}.conv.weight") - 1
    dynamic = KPNet(feature_channels=outputs_of(f"bbox_head.shared_convs.{depth}.conv.weight"))
    if (number := outputs_of("bbox_head.controller.weight")) != kp_net.num_parameters(dynamic, num_keypoints):
        raise UserError(f"{path}: {number} parameters a person, which are no KP-Net of three layers of 8 channels")
    network: Any = config.Network(
        backbone=backbone,  # pyright: ignore[reportArgumentType]
        backbone_widths=tuple(outputs_of(f"backbone.layer{stage}.0.conv1.weight") for stage in (1, 2, 3, 4)),
        fpn_channels=outputs_of("neck.fpn_convs.0.conv.weight"),
        head_channels=outputs_of(MARK),
        head_depth=number_of("bbox_head.cls_convs.{}.conv.weight"),
        coarse_channels=outputs_of("bbox_head.kpt_convs.0.conv.weight"),
        keypoint_channels=outputs_of("bbox_head.shared_convs.0.conv.weight"),
        keypoint_depth=depth,
        dense_channels=outputs_of("bbox_head.hm_convs.0.conv.weight"),
    )
    return config.Model(skeleton=skeleton, network=network, kp_net=dynamic)


def variables_of(path: Path, tensors: Tensors, model: config.Model) -> Any:
    """The variables {"params": .., "batch_stats": ..} of the released model, float32, from the tensors of a file.

    Raises UserError, which lists what is missing, unexpected or of another shape.
    """
    wanted = jax.eval_shape(methods.for_model(model).init, jax.random.key(0))
    used: set[str] = set()
    faults: list[str] = []

    def take(tree_path: tuple, leaf: Any) -> np.ndarray:
        name = released_name(tuple(entry.key for entry in tree_path[1:]), model.network.keypoint_depth)
        used.add(name)
        if name not in tensors:
            faults.append(f"{name} is missing")
            return np.zeros(leaf.shape, leaf.dtype)
        array = names.to_flax(tensors[name])
        if array.shape != leaf.shape:
            faults.append(f"{name} has shape {tensors[name].shape}, which the others do not fit")
        return np.ascontiguousarray(array, leaf.dtype)

    variables = jax.tree_util.tree_map_with_path(take, wanted)
    faults += [f"{name} is unexpected" for name in tensors if name not in used and not names.is_counter(name)]
    if faults:
        shown = "; ".join(faults[:SHOWN]) + (f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else "")
        raise UserError(f"{path}: not the weights of a released model: {shown}")
    return variables

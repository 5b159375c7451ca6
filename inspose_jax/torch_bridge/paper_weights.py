"""The config of a model of the paper, by the names and shapes of the tensors in a PyTorch file."""

from functools import partial
from pathlib import Path
from typing import Any

from inspose_jax import config, skeletons
from inspose_jax.errors import UserError
from inspose_jax.network.inspose import BACKBONES
from inspose_jax.skeletons import Skeleton
from inspose_jax.torch_bridge.sizes import (
    Tensors,
    check_joints,
    hrnet_of,
    kp_net_of,
    number_of,
    outputs_of,
    resnet_of,
)

MARK = "bbox_head.controller.weight"  # the released model has it too, and a key of its own


def config_of(path: Path, tensors: Tensors, skeleton: Skeleton = skeletons.COCO) -> config.Model:
    """The config of the model in a file; what its tensors do not tell, such as decoding, is the default.

    Raises UserError if a tensor that tells a size is missing, or if the skeleton has another number of joints.
    """
    outputs = partial(outputs_of, path, tensors)
    is_hrnet = "backbone.stage2.0.branches.0.0.conv1.weight" in tensors
    backbone, widths = hrnet_of(path, tensors) if is_hrnet else resnet_of(path, tensors)
    sizes: dict[str, Any] = {} if widths == BACKBONES[backbone][1] else {"backbone_widths": widths}
    for name, layer, per_joint in (("heatmap", "hm_pred", 1), ("disk_offset", "hm_offset", 2)):
        sizes[name] = f"bbox_head.{layer}.weight" in tensors
        if sizes[name]:
            check_joints(path, outputs(f"bbox_head.{layer}.weight") // per_joint, skeleton)
    sizes["box_head"] = "bbox_head.conv_reg.weight" in tensors
    # Layers that are not there leave no trace of their channels, which then make no difference.
    for name, layer in (
        ("head_channels", "ctrl_convs"),
        ("dense_channels", "hm_convs"),
        ("dense_channels", "offset_convs"),
    ):
        if (weight := f"bbox_head.{layer}.0.conv.weight") in tensors:
            sizes[name] = outputs(weight)
    depth = number_of(tensors, "bbox_head.shared_convs.{}.conv.weight") - 1
    if depth > 0:
        sizes["keypoint_channels"] = outputs("bbox_head.shared_convs.0.conv.weight")
    finest = 6 - number_of(tensors, "neck.lateral_convs.{}.conv.weight")  # the last lateral layer is that of level 5
    coarsest = finest + number_of(tensors, "neck.fpn_convs.{}.conv.weight") - 1
    levels = tuple(range(max(finest, config.Network().levels[0]), coarsest + 1))
    if finest not in (2, 3) or not levels:
        raise UserError(f"{path}: a pyramid of the levels {finest} to {coarsest}, which no model of the paper has")
    return config.replace(
        config.Model(
            skeleton=skeleton,
            kp_net=kp_net_of(path, tensors, f"bbox_head.shared_convs.{depth}.conv.weight", skeleton),
        ),
        backbone=backbone,
        levels=levels,
        level_limits=tuple(8.0 * 2**level for level in levels[:-1]),  # those of FCOS
        map_level=finest,
        fpn_channels=outputs("neck.fpn_convs.0.conv.weight"),
        head_depth=number_of(tensors, "bbox_head.ctrl_convs.{}.conv.weight"),
        controller_kernel=tensors[MARK].shape[2],
        keypoint_depth=depth,
        shared_trunk=(sizes["heatmap"] or sizes["disk_offset"]) and "dense_channels" not in sizes,
        **sizes,
    )

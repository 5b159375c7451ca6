"""The config of a released model, by the names and shapes of the tensors in a PyTorch file."""

from functools import partial
from pathlib import Path
from typing import Any

from inspose_jax import skeletons
from inspose_jax.released import config
from inspose_jax.skeletons import Skeleton
from inspose_jax.torch_bridge.sizes import Tensors, check_joints, kp_net_of, number_of, outputs_of, resnet_of

MARK = "bbox_head.cls_star_conv.weight"  # a key that no other model has


def config_of(path: Path, tensors: Tensors, skeleton: Skeleton = skeletons.COCO) -> config.Model:
    """The config of the model in a file; what its tensors do not tell, such as decoding, is the default.

    Raises UserError if a tensor that tells a size is missing, or if the skeleton has another number of joints.
    """
    outputs = partial(outputs_of, path, tensors)
    backbone, widths = resnet_of(path, tensors)
    check_joints(path, outputs("bbox_head.hm_pred.weight"), skeleton)
    depth = number_of(tensors, "bbox_head.shared_convs.{}.conv.weight") - 1
    network: Any = config.Network(
        backbone=backbone,  # pyright: ignore[reportArgumentType]
        backbone_widths=widths,
        fpn_channels=outputs("neck.fpn_convs.0.conv.weight"),
        head_channels=outputs(MARK),
        head_depth=number_of(tensors, "bbox_head.cls_convs.{}.conv.weight"),
        coarse_channels=outputs("bbox_head.kpt_convs.0.conv.weight"),
        keypoint_channels=outputs("bbox_head.shared_convs.0.conv.weight"),
        keypoint_depth=depth,
        dense_channels=outputs("bbox_head.hm_convs.0.conv.weight"),
    )
    dynamic = kp_net_of(path, tensors, f"bbox_head.shared_convs.{depth}.conv.weight", skeleton)
    return config.Model(skeleton=skeleton, network=network, kp_net=dynamic)

"""Our names and torchvision's, and the order of a kernel's axes in each: the only place that knows both."""

import numpy as np

from inspose_jax import config

LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
SHORTCUT = {"shortcut_conv": "downsample.0", "shortcut_norm": "downsample.1"}
UNUSED = ("fc.", "num_batches_tracked")  # what a torchvision file holds besides the backbone


def torchvision_name(path: tuple[str, ...]) -> str:
    """Torchvision's name of a parameter or statistic of our backbone.

    ("stage1", "block0", "conv2", "kernel") -> "layer1.0.conv2.weight"; ("stem", "norm", "mean") -> "bn1.running_mean".
    """
    *place, leaf = path
    if place[0] == "stem":
        return f"{ {'conv': 'conv1', 'norm': 'bn1'}[place[1]] }.{LEAVES[leaf]}"
    stage, block, layer = place
    layer = SHORTCUT.get(layer, layer.replace("norm", "bn"))
    return f"layer{stage.removeprefix('stage')}.{block.removeprefix('block')}.{layer}.{LEAVES[leaf]}"


def to_flax(array: np.ndarray) -> np.ndarray:
    """A PyTorch tensor in our axis order: kernels from [out, in, h, w] to [h, w, in, out], the rest unchanged."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def to_torch(array: np.ndarray) -> np.ndarray:
    """The inverse of `to_flax`: kernels from [h, w, in, out] to [out, in, h, w]."""
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1)) if array.ndim == 4 else array


# Towers and last layers of the paper's model, as the released checkpoint calls them.
TOWERS = {
    ("instance_heads", "classification_tower"): "cls_convs",
    ("instance_heads", "controller_tower"): "ctrl_convs",
    ("keypoint_features", "tower"): "shared_convs",
    ("disk_offset", "tower"): "offset_convs",
    ("heatmap", "tower"): "hm_convs",
}
OUTPUTS = {
    ("instance_heads", "logits"): "conv_cls",
    ("instance_heads", "theta"): "controller",
    ("disk_offset", "offsets"): "hm_offset",
    ("heatmap", "logits"): "hm_pred",
}


def paper_name(path: tuple[str, ...], network: config.Network) -> str:
    """The name in PyTorch of a parameter or statistic of the paper's model; `inspose_torch.py` has all of them.

    ("fpn", "lateral3", "kernel") -> "neck.lateral_convs.0.conv.weight", if the pyramid starts at level 3;
    ("instance_heads", "controller_tower", "norm2", "scale") -> "bbox_head.ctrl_convs.2.gn.weight".
    """
    part, *place, leaf = path
    if part == "backbone":
        return f"backbone.{torchvision_name(path[1:])}"
    if part == "fpn":
        kind, level = place[0].rstrip("0123456789"), int(place[0].lstrip("aeloprtu"))
        number = level - min(network.map_level, *network.levels)
        return f"neck.{ {'lateral': 'lateral_convs', 'output': 'fpn_convs'}[kind] }.{number}.conv.{LEAVES[leaf]}"
    layer, last = place
    if (part, layer) in TOWERS:
        kind = {"conv": "conv", "norm": "gn"}[last.rstrip("0123456789")]
        return f"bbox_head.{TOWERS[part, layer]}.{last.lstrip('convrm')}.{kind}.{LEAVES[leaf]}"
    if (part, layer) == ("keypoint_features", "features"):  # the layer after the tower
        return f"bbox_head.shared_convs.{network.keypoint_depth}.conv.{LEAVES[leaf]}"
    return f"bbox_head.{OUTPUTS[part, layer]}.{LEAVES[leaf]}"

"""Our names and PyTorch's, and the order of a kernel's axes in each: the only place that knows both.

A ResNet has torchvision's names, an HRNet those of its authors' network for ImageNet, which mmdet and mmpose share.
"""

import re

import numpy as np

from inspose_jax import config

LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
PIECES = {  # of our paths below a stage; the part of the stage itself depends on the first of them
    r"(?:block|transition|module|halving)(\d+)": r"\1",
    r"branch(\d)": r"branches.\1",
    r"fuse(\d)_(\d)": r"fuse_layers.\1.\2",
    r"conv(\d)": r"conv\1",
    r"norm(\d)": r"bn\1",
    r"conv": "0",  # a convolution and its norm are a Sequential
    r"norm": "1",
    r"shortcut_conv": "downsample.0",
    r"shortcut_norm": "downsample.1",
}
COUNTER = "num_batches_tracked"  # of every batch norm; older files have none, and neither have we
CLASSIFIERS = {"fc", "incre_modules", "downsamp_modules", "final_layer", "classifier"}  # beside ImageNet's backbones


def backbone_name(path: tuple[str, ...]) -> str:
    """PyTorch's name of a parameter or statistic of our backbone.

    ("stem", "norm", "mean") -> "bn1.running_mean"
    ("stage1", "block0", "conv2", "kernel") -> "layer1.0.conv2.weight"
    ("stage2", "transition1", "halving0", "conv", "kernel") -> "transition1.1.0.0.weight"
    ("stage3", "module2", "branch0", "block1", "norm1", "scale") -> "stage3.2.branches.0.1.bn1.weight"
    ("stage3", "module2", "fuse0_1", "norm", "scale") -> "stage3.2.fuse_layers.0.1.1.weight"
    """
    stage, *place, leaf = path
    if stage == "stem":
        (layer,) = place
        pieces = [piece(layer if layer[-1].isdigit() else f"{layer}1")]
    else:
        number = int(stage.removeprefix("stage"))
        kind = place[0].rstrip("0123456789")
        owner = {"block": f"layer{number}", "transition": f"transition{number - 1}", "module": f"stage{number}"}[kind]
        pieces = [owner, *map(piece, place)]
    return ".".join([*pieces, LEAVES[leaf]])


def piece(ours: str) -> str:
    """PyTorch's name of a part of a path."""
    (found,) = [match.expand(theirs) for pattern, theirs in PIECES.items() if (match := re.fullmatch(pattern, ours))]
    return found


def is_classifier(name: str) -> bool:
    """Whether a tensor belongs to what follows the backbone in a network for ImageNet."""
    return name.split(".")[0] in CLASSIFIERS


def is_counter(name: str) -> bool:
    """Whether a tensor counts the batches that a batch norm has seen."""
    return name.split(".")[-1] == COUNTER


def to_flax(array: np.ndarray) -> np.ndarray:
    """A PyTorch tensor in our axis order: kernels from [out, in, h, w] to [h, w, in, out], the rest unchanged."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def to_torch(array: np.ndarray) -> np.ndarray:
    """The inverse of `to_flax`: kernels from [h, w, in, out] to [out, in, h, w]."""
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1)) if array.ndim == 4 else array


def torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in PyTorch of one of our arrays: [h, w, in, out] -> [out, in, h, w], the rest unchanged."""
    return (shape[3], shape[2], shape[0], shape[1]) if len(shape) == 4 else shape


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
    ("instance_heads", "boxes"): "conv_reg",
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
        return f"backbone.{backbone_name(path[1:])}"
    if part == "fpn":
        return pyramid_name(place[0], leaf, min(network.map_level, *network.levels))
    layer, last = place
    if (part, layer) in TOWERS:
        kind = {"conv": "conv", "norm": "gn"}[last.rstrip("0123456789")]
        return f"bbox_head.{TOWERS[part, layer]}.{last.lstrip('convrm')}.{kind}.{LEAVES[leaf]}"
    if (part, layer) == ("keypoint_features", "features"):  # the layer after the tower
        return f"bbox_head.shared_convs.{network.keypoint_depth}.conv.{LEAVES[leaf]}"
    return f"bbox_head.{OUTPUTS[part, layer]}.{LEAVES[leaf]}"


def pyramid_name(layer: str, leaf: str, finest: int) -> str:
    """The name in PyTorch of a parameter of the pyramid whose finest level is `finest`: ("output6", "bias", 3) ->
    "neck.fpn_convs.3.conv.bias".
    """
    kind, level = re.fullmatch(r"(lateral|output)(\d+)", layer).groups()  # pyright: ignore[reportOptionalMemberAccess]
    layers = {"lateral": "lateral_convs", "output": "fpn_convs"}[kind]
    return f"neck.{layers}.{int(level) - finest}.conv.{LEAVES[leaf]}"

"""Our names and torchvision's, and the order of a kernel's axes in each: the only place that knows both."""

import numpy as np

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

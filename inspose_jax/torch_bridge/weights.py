"""Torchvision's ResNet weights -> our backbone: either all of them fit or it is an error, never a guess."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from inspose_jax import config
from inspose_jax.errors import UserError
from inspose_jax.torch_bridge import names
from inspose_jax.torch_bridge.pth import read_pth


def load_backbone(path: Path, network: config.Network, variables: Any) -> Any:
    """`variables` ({"params": .., "batch_stats": ..}) with the backbone from a torchvision file, .pth or .safetensors.

    Raises UserError, which lists what is missing, unknown or of another shape; then nothing is loaded.
    """
    tensors = read_tensors(path)
    used: set[str] = set()
    faults: list[str] = []

    def take(tree_path: tuple, leaf: Any) -> Any:
        name = names.backbone_name(tuple(entry.key for entry in tree_path))
        used.add(name)
        if name not in tensors:
            faults.append(f"{name} is missing")
            return leaf
        array = names.to_flax(tensors[name])
        if array.shape != leaf.shape:
            faults.append(f"{name} has shape {array.shape}, the model {leaf.shape}")
            return leaf
        return array.astype(leaf.dtype)

    loaded = {
        kind: {**variables[kind], "backbone": jax.tree_util.tree_map_with_path(take, variables[kind]["backbone"])}
        for kind in ("params", "batch_stats")
    }
    faults += [f"{name} is not in the model" for name in tensors.keys() - used if not is_unused(name)]
    if faults:
        shown = "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
        raise UserError(f"{path}: not the weights of a {network.backbone}: {shown}. Give that model's torchvision file")
    return loaded


def is_unused(name: str) -> bool:
    """Whether a tensor of the file is one that we do not use: the classifier or a counter."""
    return any(part in name for part in names.UNUSED)


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a file by name, without the prefixes that wrappers add; raises UserError for other files."""
    if path.suffix == ".safetensors":
        try:
            tensors = load_file(path)
        except SafetensorError as error:
            raise UserError(f"{path}: not a safetensors file ({error}); is it damaged?") from None
    elif path.suffix in (".pth", ".pt"):
        tensors = read_pth(path)
    else:
        raise UserError(f"{path}: weights come as .pth or .safetensors")
    return {name.removeprefix("module.").removeprefix("backbone."): tensor for name, tensor in tensors.items()}

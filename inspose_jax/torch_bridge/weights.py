"""Weights of a backbone for ImageNet -> our backbone: either all of them fit or it is an error, never a guess."""

from pathlib import Path
from typing import Any

import jax

from inspose_jax.errors import UserError
from inspose_jax.torch_bridge import names
from inspose_jax.torch_bridge.tensor_files import load_torch


def load_backbone(path: Path, network: Any, variables: Any) -> tuple[Any, list[str]]:
    """`variables` ({"params": .., "batch_stats": ..}) with the backbone from a PyTorch file, and the ignored names.

    A ResNet's file has torchvision's names, an HRNet's those of its authors.  The ignored names are the classifier's.
    `network` is the config of any network with this backbone; only its `backbone` is read.

    Raises UserError, which lists all that is missing, unknown or of another shape; then nothing is loaded.
    """
    tensors = {name.removeprefix("backbone."): tensor for name, tensor in load_torch(path).items()}
    used: set[str] = set()
    missing: list[str] = []
    other_shape: list[str] = []

    def take(tree_path: tuple, leaf: Any) -> Any:
        name = names.backbone_name(tuple(entry.key for entry in tree_path))
        used.add(name)
        if name not in tensors:
            missing.append(name)
            return leaf
        array = names.to_flax(tensors[name])
        if array.shape != leaf.shape:
            other_shape.append(f"{name} {tensors[name].shape}, the model's {names.torch_shape(leaf.shape)}")
            return leaf
        return array.astype(leaf.dtype)

    loaded = {
        kind: {**variables[kind], "backbone": jax.tree_util.tree_map_with_path(take, variables[kind]["backbone"])}
        for kind in ("params", "batch_stats")
    }
    others = [name for name in tensors if name not in used and not names.is_counter(name)]
    ignored = [name for name in others if names.is_classifier(name)]
    unknown = [name for name in others if not names.is_classifier(name)]
    groups = (("missing", missing), ("not in the model", unknown), ("of another shape", other_shape))
    faults = [f"{len(found)} {what}: {', '.join(found)}" for what, found in groups if found]
    if faults:
        raise UserError(
            f"{path}: not the weights of a {network.backbone}: {'; '.join(faults)}. "
            f"Give that network's own file, which was trained on ImageNet"
        )
    return loaded, ignored


def summary(ignored: list[str]) -> str:
    """Names by what they begin with: `classifier (2), final_layer (6)`."""
    owners = [name.split(".")[0] for name in ignored]
    parts = [f"{owner} ({owners.count(owner)})" for owner in dict.fromkeys(owners)]
    return ", ".join(parts)

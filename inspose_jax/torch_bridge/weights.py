"""Weights of a backbone for ImageNet -> our backbone: either all of them fit or it is an error, never a guess."""

from pathlib import Path
from typing import Any

from inspose_jax.errors import UserError
from inspose_jax.torch_bridge import names
from inspose_jax.torch_bridge.fitting import fill
from inspose_jax.torch_bridge.tensor_files import load_torch


def load_backbone(path: Path, network: Any, variables: Any) -> tuple[Any, list[str]]:
    """`variables` ({"params": .., "batch_stats": ..}) with the backbone from a PyTorch file, and the ignored names.

    A ResNet's file has torchvision's names, an HRNet's those of its authors.  The ignored names are the classifier's.
    `network` is the config of any network with this backbone; only its `backbone` is read.

    Raises UserError, which lists all that is missing, unknown or of another shape; then nothing is loaded.
    """
    tensors = {name.removeprefix("backbone."): tensor for name, tensor in load_torch(path).items()}
    ignored = [name for name in tensors if names.is_classifier(name) and not names.is_counter(name)]
    backbone, faults = fill(
        {kind: variables[kind]["backbone"] for kind in ("params", "batch_stats")},
        names.backbone_name,
        {name: tensor for name, tensor in tensors.items() if name not in ignored},
    )
    if faults:
        raise UserError(
            f"{path}: not the weights of a {network.backbone}: {faults}. "
            f"Give that network's own file, which was trained on ImageNet"
        )
    return {kind: {**variables[kind], "backbone": part} for kind, part in backbone.items()}, ignored


def summary(ignored: list[str]) -> str:
    """Names by what they begin with: `classifier (2), final_layer (6)`."""
    owners = [name.split(".")[0] for name in ignored]
    parts = [f"{owner} ({owners.count(owner)})" for owner in dict.fromkeys(owners)]
    return ", ".join(parts)

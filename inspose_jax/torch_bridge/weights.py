"""Weights of a backbone for ImageNet -> our backbone: either all of them fit or it is an error, never a guess."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from inspose_jax.errors import UserError
from inspose_jax.torch_bridge import names
from inspose_jax.torch_bridge.fitting import fill


def fill_backbone(
    path: Path, tensors: Mapping[str, np.ndarray], backbone: str, variables: Any
) -> tuple[Any, list[str]]:
    """`variables` ({"params": .., "batch_stats": ..}) with the backbone from a PyTorch file, and the ignored names.

    The file's `tensors` have torchvision's names for a ResNet, for an HRNet those of its authors.  The ignored ones are
    the classifier's.  `path` and `backbone`, what the model's is called, are for messages.

    Raises UserError, which lists all that is missing, unknown or of another shape; then nothing is loaded.
    """
    tensors = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items()}
    ignored = [name for name in tensors if names.is_classifier(name) and not names.is_counter(name)]
    filled, faults = fill(
        {kind: variables[kind]["backbone"] for kind in ("params", "batch_stats")},
        names.backbone_name,
        {name: tensor for name, tensor in tensors.items() if name not in ignored},
    )
    if faults:
        raise UserError(
            f"{path}: not the weights of {backbone}: {faults}. "
            f"Give that network's own file, which was trained on ImageNet"
        )
    return {kind: {**variables[kind], "backbone": part} for kind, part in filled.items()}, ignored


def summary(ignored: list[str]) -> str:
    """Names by what they begin with: `classifier (2), final_layer (6)`."""
    owners = [name.split(".")[0] for name in ignored]
    parts = [f"{owner} ({owners.count(owner)})" for owner in dict.fromkeys(owners)]
    return ", ".join(parts)

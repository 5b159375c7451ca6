"""Files of tensors by name, `.pth`, `.pt` and `.safetensors`, to numpy's arrays and back, without torch."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from inspose_jax import files
from inspose_jax.errors import UserError
from inspose_jax.torch_bridge.pth import read_pth, write_pth

SUFFIXES = (".safetensors", ".pth", ".pt")


def load_torch(path: str | Path) -> dict[str, np.ndarray]:
    """All tensors of a file by name; raises UserError for files of another kind and damaged ones.

    The prefix `module.` that wrappers add is left out, as are the second values that mmcv's EMAHook stores as
    `ema_backbone_conv1_weight` beside `backbone.conv1.weight`.  When mmcv saves at the end of an epoch, the hook has
    exchanged the two: the plain names hold the running averages, with which the model was evaluated.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        try:
            found = read_safetensors(path)
        except SafetensorError as error:
            raise UserError(f"{path}: not a safetensors file ({error}); is it damaged?") from None
    elif path.suffix in (".pth", ".pt"):
        found = read_pth(path)
    else:
        raise UserError(f"{path}: weights must be a .pth, .pt or .safetensors file")
    found = {name.removeprefix("module."): tensor for name, tensor in found.items()}
    second = {f"ema_{name.replace('.', '_')}" for name in found}
    return {name: tensor for name, tensor in found.items() if name not in second}


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a `.safetensors` file by name; raises SafetensorError for a file of another kind or damaged."""
    with safe_open(path, "numpy") as file:
        names = list(file.keys())
    found = {}
    for name in names:
        # The file is mapped anew for every tensor: mapped once, all of it would stay in memory beside the tensors.
        with safe_open(path, "numpy") as file:
            found[name] = file.get_tensor(name)
    return found


def write_tensors(tensors: Mapping[str, np.ndarray], path: str | Path) -> None:
    """Write tensors to a `.pth`, `.pt` or `.safetensors` file, completely or not at all.

    Raises UserError for another suffix, or if the file cannot be written.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        arrays = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
        with files.atomic(path) as partial:
            mode = partial.stat().st_mode
            save_file(arrays, partial, {"format": "pt"})  # some readers insist on this note
            partial.chmod(mode)  # safetensors makes a file that only its owner can read
    elif path.suffix in (".pth", ".pt"):
        write_pth(path, tensors)
    else:
        raise UserError(f"{path}: weights must be written to a .pth, .pt or .safetensors file")

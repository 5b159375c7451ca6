"""`inspose export-torch`: a checkpoint as PyTorch weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inspose_jax.cli import arguments


@dataclass
class ExportTorch:
    """Write a model for PyTorch: a file of weights, or a folder that can go to a model hub.

    Example: inspose export-torch runs/a exported            (weights, config.json, card, inspose_torch.py)
             inspose export-torch runs/a/best a.safetensors  (and a config.json beside it)
    """

    checkpoint: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="CHECKPOINT")]
    """A run's folder, one of its checkpoints, or a file of PyTorch's weights."""
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """A new .safetensors, .pth or .pt file; any other name is that of a new folder."""
    raw: bool = False
    """Write the parameters even if the run kept their running average, which is what is evaluated."""


def run(argv: list[str]) -> None:
    """Read the checkpoint and write it for PyTorch."""
    launch, _ = arguments.parse(ExportTorch, argv, "export-torch")

    from inspose_jax import devices, run_folder
    from inspose_jax.torch_bridge import export, tensor_files, variants

    devices.check()
    loaded = export.export(launch.checkpoint, launch.out, launch.raw)
    model = loaded.config.model
    what = f"{launch.out}: {variants.of_model(model).words} on {model.network.backbone}, of step {loaded.step}"
    if launch.out.suffix in tensor_files.SUFFIXES:
        print(f"{what}; PyTorch needs the {run_folder.CONFIG} beside it too")
    else:
        print(f"{what}; in PyTorch: from {Path(export.TORCH_FILE).stem} import load, in that folder")
    if note := export.single_pass(loaded.config):
        print(f"in PyTorch, {note}")

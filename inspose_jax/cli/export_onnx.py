"""`inspose export-onnx`: a checkpoint's network as a graph for other programs."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inspose_jax.cli import arguments
from inspose_jax.errors import UserError

NEEDED = ("torch", "onnx", "onnxscript")  # to write; onnxruntime runs what is written


@dataclass
class ExportOnnx:
    """Write a model as ONNX, with a file beside it that finds people with numpy and onnxruntime alone.

    Example: inspose export-onnx runs/a a_onnx
             inspose export-onnx runs/a a_onnx --shape 800 1344 --pt2
    """

    checkpoint: tyro.conf.Positional[Path]
    """A run's folder, one of its checkpoints, or a file of PyTorch's weights."""
    out: tyro.conf.Positional[Path]
    """New folder for model.onnx, config.json, inspose_numpy.py and a README.md."""
    shape: Annotated[tuple[int, int] | None, tyro.conf.arg(metavar="HEIGHT WIDTH", help_behavior_hint="")] = None
    """Fix the shape of the network's input, for converters that need it; images are made to fit it.  Otherwise the
    graph takes all shapes in multiples of 32."""
    pt2: bool = False
    """Write model.pt2 too, the same graph for PyTorch's torch.export.load."""


def run(argv: list[str]) -> None:
    """Read the checkpoint and write its graph."""
    launch, _ = arguments.parse(ExportOnnx, argv, "export-onnx")
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise UserError(
            f"export-onnx needs {' and '.join(missing)}, which this Python does not have: "
            f"pip install 'inspose-jax[onnx]'"
        )

    from inspose_jax import devices
    from inspose_jax.torch_bridge import export, graph

    devices.check()
    loaded = export.load_for_export(launch.checkpoint)
    model = graph.torch_model(loaded.config, loaded.variables)
    graph.write(launch.out, model, loaded.about, launch.shape, launch.pt2)
    size = (launch.out / graph.ONNX).stat().st_size / 1e6
    print(f"{launch.out}: {graph.ONNX}, {size:.1f} MB, of step {loaded.step}; see {launch.out / 'README.md'}")
    if note := export.single_pass(loaded.config):
        print(f"with numpy, {note}")

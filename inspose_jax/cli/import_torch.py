"""`inspose import-torch`: PyTorch weights of a whole model as a checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inspose_jax.cli import arguments
from inspose_jax.errors import NotFound, UserError

RECIPE = "released_r50_coco_3x"  # its data and schedule; the model's sizes are those of the file


@dataclass
class ImportTorch:
    """Turn the checkpoint that the paper's authors released into one for predict, eval and report.

    Example: inspose import-torch released.pth --out released
             inspose predict --checkpoint released photo.jpg --out drawn
    """

    file: tyro.conf.Positional[Path]
    """The weights, .pth, .pt or .safetensors; code in them is not run."""
    out: Path
    """New folder for the checkpoint."""
    skeleton: Annotated[str, tyro.conf.arg(metavar="PRESET|JSON")] = "coco"
    """The joints, which have no names in the file: coco, crowdpose, or a JSON file."""


def run(argv: list[str]) -> None:
    """Read the file, find out what model it holds, and write the checkpoint."""
    launch, _ = arguments.parse(ImportTorch, argv, "import-torch")
    if not launch.file.is_file():
        raise NotFound(f"{launch.file}: no such file of weights; check the path")

    import dataclasses

    import jax

    from inspose_jax import devices, recipes, skeletons
    from inspose_jax.torch_bridge import imported, load_torch, released_weights

    devices.check()
    tensors = load_torch(launch.file)
    if not released_weights.is_released(tensors):
        raise UserError(
            f"{launch.file}: not the released model (no {released_weights.MARK}); weights of a backbone alone go to "
            f"inspose train --init"
        )
    model = released_weights.config_of(launch.file, tensors, skeletons.read(launch.skeleton))
    variables = released_weights.variables_of(launch.file, tensors, model)
    config = dataclasses.replace(recipes.read(RECIPE).config, model=model)
    imported.write(launch.out, config, variables, launch.file.name)
    number = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    print(
        f"{launch.out}: the released model on {model.network.backbone}, {number:,} parameters, "
        f"{model.skeleton.num_keypoints} joints; inspose predict --checkpoint {launch.out} photo.jpg --out drawn"
    )

"""`inspose import-torch`: PyTorch weights of a whole model as a checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from inspose_jax.cli import arguments


@dataclass
class ImportTorch:
    """Turn PyTorch's weights of a whole model, such as the paper's authors released, into a checkpoint of ours.

    Example: inspose import-torch released.pth --out released
             inspose predict --checkpoint released photo.jpg --out drawn
    """

    file: tyro.conf.Positional[Path]
    """The weights, .pth, .pt or .safetensors, or a folder with such a file; code in them is not run.  A config.json
    beside them, which inspose export-torch writes, is the model's config."""
    out: Path
    """New folder for the checkpoint."""
    variant: Annotated[
        Literal["released", "paper"] | None, tyro.conf.arg(metavar="released|paper", help_behavior_hint="")
    ] = None
    """The model that it must be; the names of the weights tell which it is."""
    skeleton: Annotated[str | None, tyro.conf.arg(metavar="PRESET|JSON", help_behavior_hint="")] = None
    """The joints, where no config.json names them: coco (if left out), crowdpose, or a JSON file."""


def run(argv: list[str]) -> None:
    """Read the file, find out what model it holds, and write the checkpoint."""
    launch, _ = arguments.parse(ImportTorch, argv, "import-torch")

    import jax

    from inspose_jax import devices, skeletons
    from inspose_jax.torch_bridge import imported, reading, variants

    devices.check()
    skeleton = skeletons.read(launch.skeleton) if launch.skeleton is not None else None
    wanted = variants.VARIANTS[launch.variant] if launch.variant is not None else None
    loaded = reading.read(launch.file, skeleton, wanted)
    imported.write(launch.out, loaded)
    model, number = loaded.config.model, sum(leaf.size for leaf in jax.tree.leaves(loaded.variables["params"]))
    print(
        f"{launch.out}: {variants.of_model(model).words} on {model.network.backbone}, {number:,} parameters, "
        f"{model.skeleton.num_keypoints} joints, by {loaded.about[reading.SETTINGS]}, "
        f"stored as {reading.stored_as(loaded.about)}; "
        f"inspose predict --checkpoint {launch.out} photo.jpg --out drawn"
    )

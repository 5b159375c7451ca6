"""`inspose train`: a recipe, a source, a workdir."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from inspose_jax.cli import arguments, recipes


@dataclass
class Train:
    """Train a recipe.

    Example: inspose train drawn_people --workdir runs/a --steps 2000 --config.schedule.learning-rate 0.005
    """

    config: tyro.conf.Positional[str]
    """A recipe's name, or its file."""
    workdir: Path | None = None
    """Where the run lives; by default runs/RECIPE."""
    images: Path | None = None
    """Folder of pictures, for recipes over COCO data."""
    annotations: Path | None = None
    """COCO keypoint JSON, for recipes over COCO data."""
    init: Path | None = None
    """torchvision ResNet weights for the backbone, .pth or .safetensors."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Length of the run, which the schedule fits; by default the recipe's epochs."""
    stop_at: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """End early, after this step; --resume goes on."""
    resume: bool = False
    """Go on from the newest checkpoint in the workdir."""


def run(argv: list[str]) -> None:
    """Parse, check everything that can be checked before compiling, and train."""
    launch, rest = arguments.parse(Train, argv, "train", with_config=True)
    config = recipes.override(recipes.load(launch.config), rest)
    for name in ("steps", "stop_at"):
        value = getattr(launch, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {value}; it must be at least 1")
    model = config.model
    workdir = launch.workdir or Path("runs") / Path(launch.config).stem
    has_frozen = model.frozen_stages > 0 or model.batch_norm == "frozen"
    if has_frozen and launch.init is None and not (launch.resume and has_checkpoint(workdir)):
        raise ValueError(
            "what is frozen would stay random: give pretrained weights (--init resnet50.pth), or train all of it "
            "(--config.model.batch-norm trained --config.model.frozen-stages 0)"
        )
    if launch.init is not None and not launch.init.is_file():
        raise FileNotFoundError(f"{launch.init}: no such file of weights; check --init")

    from inspose_jax.cli import sources  # numpy and OpenCV from here on, jax below

    source = sources.training_source(config, launch.images, launch.annotations)

    from inspose_jax.torch_bridge import weights
    from inspose_jax.training import loop, step

    num_steps = launch.steps or loop.run_length(config, source)

    def initialise(path: Path, state: step.State) -> step.State:
        params, batch_stats = weights.load_backbone(path, model, state.params, state.batch_stats)
        return step.state_of(params, batch_stats, config, num_steps)

    loop.train(
        config,
        source,
        workdir,
        num_steps,
        launch.stop_at,
        launch.resume,
        partial(initialise, launch.init) if launch.init else None,
    )


def has_checkpoint(workdir: Path) -> bool:
    """Whether a run there has saved a step, and with it what is frozen."""
    from inspose_jax.checkpoints import steps

    return bool(steps(workdir / "checkpoints"))

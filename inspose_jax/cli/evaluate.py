"""`inspose eval`: the ten COCO keypoint statistics of a checkpoint on an annotated folder."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from inspose_jax.cli import arguments, config_flags, distributed
from inspose_jax.errors import UserError


@dataclass
class Evaluate:
    """Measure a checkpoint on an annotated folder.

    Example: inspose eval --checkpoint demo_out/run --images d/images --annotations d/annotations.json --out scores
    """

    checkpoint: Path
    """A run's folder, one of its checkpoints, or PyTorch's weights: a file, or a folder that export-torch wrote."""
    images: Path
    """Folder of images."""
    annotations: Path
    """COCO keypoint JSON."""
    out: Path | None = None
    """Folder for results.json (COCO results) and metrics.json."""
    recipe: arguments.Place = None
    """The run's recipe, if it defines a method of its own."""
    distributed: bool = False
    """One of several processes that share the images; a cluster tells each of the others, or
    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID do."""


def run(argv: list[str]) -> None:
    """Parse, predict, score and print; files are written only after everything has succeeded."""
    launch, rest = arguments.parse(Evaluate, argv, "eval", with_config=True)

    if launch.distributed:
        distributed.join()

    import jax

    from inspose_jax import devices, files, processes, recipes
    from inspose_jax.cli import sources
    from inspose_jax.evaluation import coco_ap, evaluator
    from inspose_jax.methods import from_recipe
    from inspose_jax.predictor import Predictor, check_fit
    from inspose_jax.torch_bridge import reading

    devices.check()
    recipe = recipes.read(launch.recipe) if launch.recipe is not None else None
    loaded = reading.load(launch.checkpoint, recipe)
    config = config_flags.override(loaded.config, rest)
    method = from_recipe(recipe, config.model)
    check_fit(method, loaded.variables)
    source = sources.coco(config, launch.images, launch.annotations)
    for name in ("results.json", "metrics.json"):
        if launch.out is not None and os.path.realpath(launch.out / name) == os.path.realpath(launch.annotations):
            raise UserError(f"{launch.annotations}: would be overwritten; choose another --out")
    out = launch.out if processes.is_first() else None  # the other processes have the same results
    with files.results_folder(out):
        predictor = Predictor(config, loaded.variables, jax.local_devices(), method)
        statistics, results = evaluator.evaluate(predictor, source)
        if processes.is_first():
            print(coco_ap.table(statistics))
            print(f"over {len(source)} images, computed by {coco_ap.library()[0]}")
        if out is not None:
            files.write(out / "results.json", json.dumps(results))
            files.write(out / "metrics.json", json.dumps(statistics, indent=2))

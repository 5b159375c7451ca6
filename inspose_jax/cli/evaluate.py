"""`inspose eval`: the ten COCO keypoint statistics of a checkpoint on an annotated folder."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from inspose_jax.cli import arguments, recipes


@dataclass
class Evaluate:
    """Measure a checkpoint on an annotated folder.

    Example: inspose eval --checkpoint demo_out/run --images d/images --annotations d/annotations.json --out scores
    """

    checkpoint: Path
    """A run's folder, or one of its checkpoints."""
    images: Path
    """Folder of pictures."""
    annotations: Path
    """COCO keypoint JSON."""
    out: Path | None = None
    """Folder for results.json (COCO results) and metrics.json."""


def run(argv: list[str]) -> None:
    """Parse, predict, score, print; files are written only when all is done."""
    launch, rest = arguments.parse(Evaluate, argv, "eval", with_config=True)

    from inspose_jax import checkpoints
    from inspose_jax.cli import files, sources
    from inspose_jax.evaluation import coco_ap, evaluator
    from inspose_jax.predictor import Predictor, check_fit

    loaded = checkpoints.load(launch.checkpoint)
    config = recipes.override(loaded.config, rest)
    check_fit(config, loaded.variables)
    source = sources.coco(config, launch.images, launch.annotations)
    for name in ("results.json", "metrics.json"):
        if launch.out is not None and os.path.realpath(launch.out / name) == os.path.realpath(launch.annotations):
            raise ValueError(f"{launch.annotations}: would be written over; choose another --out, so that it stays")
    with files.results_folder(launch.out):
        predictor = Predictor(config, loaded.variables)
        results = evaluator.find_all(predictor, source)
        statistics = coco_ap.keypoint_ap(source.ground_truth, results, predictor.skeleton)
        print(coco_ap.table(statistics))
        if launch.out is not None:
            files.write(launch.out / "results.json", json.dumps(results))
            files.write(launch.out / "metrics.json", json.dumps(statistics, indent=2))

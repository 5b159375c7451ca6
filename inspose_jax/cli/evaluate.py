"""`inspose eval`: COCO's statistics of a checkpoint on annotated images."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inspose_jax.cli import arguments, distributed
from inspose_jax.errors import UserError


@dataclass
class Evaluate:
    """Measure a checkpoint on an annotated folder.

    Example: inspose eval --checkpoint demo_out/run --data drawn --out scores
    """

    checkpoint: Path
    """A run's folder, one of its checkpoints, or PyTorch's weights: a file, or a folder that export-torch wrote."""
    given: arguments.GivenData = arguments.OF_VAL
    out: Path | None = None
    """Folder for results.json (COCO results) and metrics.json."""
    test_dev: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """For COCO's test-dev, whose labels are secret: write the file that its server takes,
    OUT/person_keypoints_test-dev2017_NAME_results.zip, and no statistics.  Give --annotations
    image_info_test-dev2017.json and --images test2017."""
    recipe: arguments.Place = None
    """The run's recipe, if it defines a method of its own."""
    distributed: bool = False
    """One of several processes that share the images, as told by the cluster or by JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID."""


def run(argv: list[str]) -> None:
    """Parse, predict, score and print; files are written only after everything has succeeded."""
    launch, rest = arguments.parse(Evaluate, argv, "eval", with_config=True)

    if launch.distributed:
        distributed.join()

    from inspose_jax import devices, files, processes
    from inspose_jax.cli import sources, trained
    from inspose_jax.evaluation import coco_ap, crowd_ap, evaluator

    devices.check()
    if launch.test_dev is not None:
        return write_test_dev(launch, launch.test_dev, rest)
    predictor = trained.load(launch.checkpoint, launch.recipe, rest)
    source = sources.annotated(launch.given, predictor.skeleton, predictor.config.data.joint_pixel_offset)
    for name in ("results.json", "metrics.json"):
        if launch.out is not None and os.path.realpath(launch.out / name) == os.path.realpath(source.name):
            raise UserError(f"{source.name}: would be overwritten; choose another --out")
    out = launch.out if processes.is_first() else None  # the other processes have the same results
    with files.results_folder(out):
        statistics, results = evaluator.evaluate(predictor, source)
        if processes.is_first():
            print(coco_ap.table(statistics))
            print(f"over {len(source)} images, computed by {coco_ap.library()[0]}")
            if by_tool := crowd_ap.crowd_ap(source.ground_truth(), results, predictor.skeleton, crowd_ap.TOOL):
                print(
                    "easy, medium and hard: crowd index below 0.1, below 0.8, the rest; as crowdposetools, 0.2 for 0.1:"
                )
                print(coco_ap.table(by_tool))
        if out is not None:
            files.write(out / "results.json", json.dumps(results))
            files.write(out / "metrics.json", json.dumps(statistics, indent=2))


def write_test_dev(launch: Evaluate, name: str, rest: list[str]) -> None:
    """Find people in images without labels, and write the file that COCO's server takes."""
    from inspose_jax import files, processes
    from inspose_jax.cli import trained
    from inspose_jax.data.coco import ListedImages
    from inspose_jax.evaluation import evaluator, submission

    submission.file_name(name)
    images, annotations, out = launch.given.images, launch.given.annotations, launch.out
    is_more = launch.given != arguments.Given(None, images, annotations, arguments.OF_VAL.split)
    if images is None or annotations is None or out is None or is_more:
        raise UserError("--test-dev takes --images FOLDER, --annotations JSON and --out FOLDER, and no other data")
    predictor = trained.load(launch.checkpoint, launch.recipe, rest)
    submission.check(predictor.skeleton)
    source = ListedImages(images, annotations, predictor.skeleton)
    with files.results_folder(out if processes.is_first() else None):
        results = evaluator.find_all(predictor, source)
        if processes.is_first():
            path = submission.write(out, name, results)
            print(f"{path}: people in {len(source)} images; the server of COCO scores it")

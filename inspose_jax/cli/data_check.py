"""`inspose data check`: name every fault of a dataset, and write a cleaned file."""

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inspose_jax.cli import arguments
from inspose_jax.errors import NotFound, UserError

MOST_WORKERS = 1024
FORMAT = 1  # of what --json prints


@dataclass
class Check:
    """Name every fault of a COCO folder: errors, warnings and remarks; exit code 2 if there is an error.

    Example: inspose data check --images drawn/images --annotations drawn/annotations.json --fix clean.json
    """

    images: Path
    """Folder of images."""
    annotations: Path
    """COCO keypoint JSON."""
    against: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="PATH ..", help_behavior_hint="")] = ()
    """Other splits, which must have no image in common with this one: folders of images, or COCO JSONs that list
    files of the same folder."""
    fix: Annotated[Path | None, tyro.conf.arg(metavar="JSON", help_behavior_hint="")] = None
    """Write a cleaned COCO file here, and say what was dropped or changed; then errors give exit code 0."""
    json: bool = False
    """Print one JSON object instead of lines."""
    workers: Annotated[int, tyro.conf.arg(metavar="N", help_behavior_hint="(default: one a core)")] = 0
    """Threads that read images."""


def check(argv: list[str]) -> None:
    """Print every fault, or that there is none; raises UserError if there are errors that are not repaired."""
    launch, _ = arguments.parse(Check, argv, "data check")
    if not 0 <= launch.workers <= MOST_WORKERS:
        raise UserError(f"--workers is {launch.workers}; it must be 1 to {MOST_WORKERS}, or 0 for one a core")
    if launch.fix:
        refuse_target(launch.fix, launch)

    from inspose_jax import files
    from inspose_jax.data import annotations as annotation_file
    from inspose_jax.data import copies, image_facts, repair
    from inspose_jax.data.check import SEVERITIES, faults, read_images
    from inspose_jax.skeletons import COCO

    workers = launch.workers or len(os.sched_getaffinity(0))
    content = annotation_file.read(launch.images, launch.annotations, COCO)
    other_paths = [path for split in launch.against for path in copies.images_of_split(split, launch.images, COCO)]
    facts = read_images(content, launch.images, workers)
    others = image_facts.read(other_paths, workers, "other splits") if other_paths else {}
    found = faults(content, launch.images, COCO, facts, others)
    if not launch.json:
        for one in found:
            print(one.line())
    clean, changes = content, []
    if launch.fix:
        clean, changes, left = repair.repaired(content, launch.images, COCO, facts, others, found)
        if left:
            raise UserError(f"{launch.annotations}: {left[0].message}; --fix does not repair this, so correct it first")
        files.write(launch.fix, json.dumps(clean))
    number = Counter(one.severity for one in found)
    if launch.json:
        about = {"format": FORMAT, "annotations": str(launch.annotations), "images": str(launch.images)}
        sizes = {"num_images": len(content["images"]), "num_annotations": len(content["annotations"])}
        counts = {"counts": {severity: number[severity] for severity in SEVERITIES}}
        lists = {"faults": [one._asdict() for one in found], "changes": [one._asdict() for one in changes]}
        print(json.dumps(about | sizes | counts | lists, indent=1))
    for change in () if launch.json else changes:
        print(change.line())
    counted = [f"{number[name]} {name}{'s' * (number[name] > 1)}" for name in ("error", "warning") if number[name]]
    if launch.fix and not launch.json:
        size = f"{len(clean['images'])} of {len(content['images'])} images"
        size += f" and {len(clean['annotations'])} of {len(content['annotations'])} annotations"
        print(f"{launch.fix}: {size}; {len(changes)} change{'s' * (len(changes) != 1)}")
    elif number["error"] and not launch.fix:
        remedy = "correct the file, or write a cleaned one with --fix JSON"
        raise UserError(f"{launch.annotations}: {', '.join(counted)}; {remedy}")
    elif not launch.json:
        print(f"{launch.annotations}: no {'error' if counted else 'fault'} found{''.join(f', {it}' for it in counted)}")


def refuse_target(target: Path, launch: Check) -> None:
    """Raise UserError, before any image is read, if a cleaned file cannot be written to `target`."""
    if target.resolve() == launch.annotations.resolve():
        raise UserError(f"{target}: would overwrite the file that is checked; choose another --fix")
    if launch.images.resolve() in target.resolve().parents:
        raise UserError(f"{target}: is inside the folder of images, which is never changed; choose another place")
    if target.suffix.lower() != ".json":
        raise UserError(f"{target}: is not the name of a JSON file; it must end in .json")
    if not target.parent.is_dir():
        raise NotFound(f"{target.parent}: no such folder for the cleaned file; create it, or choose another --fix")

"""`inspose data check`: name every fault of a dataset, and write a cleaned file."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from inspose_jax.cli import arguments
from inspose_jax.errors import NotFound, UserError

FORMAT = 1  # of what --json prints


@dataclass
class Check:
    """Name every fault of annotated images: errors, warnings and remarks; exit code 2 if there is an error.

    Example: inspose data check --data drawn --fix clean.json
    """

    given: arguments.GivenData = arguments.OF_TRAIN
    against: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="OTHER ..", help_behavior_hint="")] = ()
    """Other splits, which must have no image in common with this one: train, val or test of --data, other data, or
    folders of images."""
    fix: Annotated[Path | None, tyro.conf.arg(metavar="JSON", help_behavior_hint="")] = None
    """Write a cleaned COCO file here, and say what was dropped or changed; then errors give exit code 0."""
    json: bool = False
    """Print one JSON object instead of lines."""
    workers: arguments.Count = None
    """Number of threads that read images; by default one for each processor."""


def run(argv: list[str]) -> None:
    """Print every fault, or that there is none; raises UserError if there are errors that are not repaired."""
    launch, _ = arguments.parse(Check, argv, "data check")
    workers = arguments.num_workers(launch.workers)

    from inspose_jax import files
    from inspose_jax.cli import sources
    from inspose_jax.data import image_facts, repair
    from inspose_jax.data.check import SEVERITIES, faults, read_images
    from inspose_jax.skeletons import FROM_DATA

    dataset, name, line = sources.dataset(launch.given, FROM_DATA)
    if launch.fix:
        refuse_target(launch.fix, name, dataset.images)
    if line and not launch.json:
        print(f"inspose: {line}")
    other_paths = [path for other in launch.against for path in images_of(other, launch, dataset)]
    facts = read_images(dataset, workers)
    others = image_facts.read(other_paths, workers, "other splits") if other_paths else {}
    found = faults(dataset, facts, others)
    if not launch.json:
        for one in found:
            print(one.line())
    clean, changes = dataset, []
    left = []
    if launch.fix:
        clean, changes, left = repair.repaired(dataset, facts, others, found)
        clean, changes = (dataset, []) if left else (clean, changes)
    number = Counter(one.severity for one in found)
    images, people = dataset.content["images"], dataset.content["annotations"]
    if launch.json:
        about = {"format": FORMAT, "data": str(name), "images": str(dataset.images)}
        sizes = {"num_images": len(images), "num_annotations": len(people)}
        counts = {"counts": {severity: number[severity] for severity in SEVERITIES}}
        lists = {"faults": [one._asdict() for one in found], "changes": [one._asdict() for one in changes]}
        print(json.dumps(about | sizes | counts | lists, indent=1))
    if left:
        raise UserError(f"{name}: {left[0].message}; --fix does not repair this, so correct it first")
    if launch.fix:
        files.write(launch.fix, json.dumps(clean.content))
    for change in () if launch.json else changes:
        print(change.line())
    counted = [f"{number[kind]} {kind}{'s' * (number[kind] > 1)}" for kind in ("error", "warning") if number[kind]]
    if launch.fix and not launch.json:
        size = f"{len(clean.content['images'])} of {len(images)} images"
        size += f" and {len(clean.content['annotations'])} of {len(people)} annotations"
        print(f"{launch.fix}: {size}; {len(changes)} change{'s' * (len(changes) != 1)}")
    elif number["error"] and not launch.fix:
        remedy = "correct the file, or write a cleaned one with --fix JSON"
        raise UserError(f"{name}: {', '.join(counted)}; {remedy}")
    elif not launch.json:
        print(f"{name}: no {'error' if counted else 'fault'} found{''.join(f', {it}' for it in counted)}")


def images_of(other: Path, launch: Check, dataset: Any) -> list[Path]:
    """The image files of another split; raises UserError if it is the one that is checked, or is nothing known."""
    from inspose_jax.data import annotations as annotation_file
    from inspose_jax.data import copies, sources, splits
    from inspose_jax.data.check import paths_of

    given, split = launch.given, splits.named(str(other))
    if given.data and split:
        found = sources.read(given.data, split, given.category).dataset
    elif given.images and other.is_file():  # labels of other images in the same folder
        found = annotation_file.read(given.images, other, None, given.category)
    elif other.is_dir() and not any(kind.is_kind(other) for kind in sources.KINDS):
        return copies.images_below(other, dataset.images)
    else:
        found = sources.read(other, "train", given.category).dataset
    paths = paths_of(found)
    if set(paths) == set(paths_of(dataset)):
        raise UserError(f"{other}: is the split that is checked; give another one")
    return paths


def refuse_target(target: Path, name: Path, images: Path) -> None:
    """Raise UserError, before any image is read, if a cleaned file cannot be written to `target`."""
    if target.resolve() == name.resolve():
        raise UserError(f"{target}: would overwrite the file that is checked; choose another --fix")
    if images.resolve() in target.resolve().parents:
        raise UserError(f"{target}: is inside the folder of images, which is never changed; choose another place")
    if target.suffix.lower() != ".json":
        raise UserError(f"{target}: is not the name of a JSON file; it must end in .json")
    if not target.parent.is_dir():
        raise NotFound(f"{target.parent}: no such folder for the cleaned file; create it, or choose another --fix")

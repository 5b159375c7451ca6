"""`inspose data check`: name every fault of a dataset, and write a cleaned file."""

import contextlib
import json
import shlex
import warnings
from collections import Counter
from dataclasses import dataclass, replace
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
    from inspose_jax.data import coco_layout, image_facts, repair
    from inspose_jax.data.check import SEVERITIES, faults
    from inspose_jax.data.coco import refuse_without_keypoints

    given = launch.given
    is_built = sources.is_built(given)
    if launch.fix and is_built:
        raise UserError(
            f"{given.data}: a built set, whose images no cleaned file can name; clean what it was built from with "
            f"--fix, and build it again"
        )
    with (
        warnings.catch_warnings(record=True, action="always", category=UserWarning)
        if launch.json
        else contextlib.nullcontext([]) as notes
    ):
        checked = sources.checkable(given)
    dataset, image_files, name, line = checked
    refuse_without_keypoints(dataset.content, name)
    if launch.fix:
        refuse_target(launch.fix, name)
        files.refuse_among_images(launch.fix, {path.parent for path in image_files}, "--fix")
    if line and not launch.json:
        print(f"inspose: {line}")
    other_files = {}
    for other in launch.against:
        other_files |= files_of(other, given, checked)
    facts = image_facts.read(image_files, workers)
    others = image_facts.read(other_files, workers, "other splits") if other_files else {}
    found = faults(dataset, facts, others)
    if not launch.json:
        for one in found:
            print(one.line())
    number = Counter(one.severity for one in found)
    clean, changes, left = dataset, [], []
    if launch.fix or (number["error"] and not is_built):
        clean, changes, left = repair.repaired(dataset, facts, others, found)
    if left or not launch.fix:
        clean, changes = dataset, []
    images, people = dataset.content["images"], dataset.content["annotations"]
    not_checked = other_parts(given, launch.against)
    if launch.json:
        about = {"format": FORMAT, "data": str(name), "images": str(dataset.images)}
        sizes = {"num_images": len(images), "num_annotations": len(people)}
        counts = {"counts": {severity: number[severity] for severity in SEVERITIES}}
        about["notes"] = [*(str(note.message) for note in notes), *filter(None, [not_checked])]
        lists = {"faults": [one._asdict() for one in found], "changes": [one._asdict() for one in changes]}
        print(json.dumps(about | sizes | counts | lists, indent=1))
    if left and launch.fix:
        raise UserError(f"{name}: {left[0].message}; --fix does not repair this, so correct it first")
    if launch.fix:
        files.write(launch.fix, json.dumps(coco_layout.with_image_folder(clean.content, clean.images, launch.fix)))
    for change in () if launch.json else changes:
        print(change.line())
    counted = [f"{number[kind]} {kind}{'s' * (number[kind] > 1)}" for kind in ("error", "warning") if number[kind]]
    if launch.fix and not launch.json:
        size = f"{len(clean.content['images'])} of {len(images)} images"
        size += f" and {len(clean.content['annotations'])} of {len(people)} annotations"
        print(
            f"{launch.fix}: {size}; {len(changes)} change{'s' * (len(changes) != 1)}; look at it: inspose data show "
            f"--data {shlex.quote(str(launch.fix))} --out labels.html"
        )
    elif not number["error"] and not launch.json:
        print(f"{name}: no {'error' if counted else 'fault'} found{''.join(f', {it}' for it in counted)}")
    if not_checked and not launch.json:
        print(not_checked)
    if number["error"] and not launch.fix:
        remedy = "correct the file" if left else "correct the file, or write a cleaned one with --fix JSON"
        remedy = "correct what it was built from, and build it again" if is_built else remedy
        raise UserError(f"{name}: {', '.join(counted)}; {remedy}")


def other_parts(given: arguments.Given, against: tuple[Path, ...]) -> str:
    """Which parts of --data were not checked, and the options that check and compare them; empty if there are none."""
    from inspose_jax.cli import sources

    known = sources.splits(given.data) if given.data else ()
    if len(known) < 2:
        return ""
    others = [split for split in known if split != given.split]
    each = ", ".join(f"--split {split}" for split in others)
    compared = "" if against else f"; images in more than one part: --against {' '.join(others)}"
    return f"only {given.split} was checked; the other part{'s' * (len(others) > 1)}: {each}{compared}"


def files_of(other: Path, given: arguments.Given, checked: Any) -> Any:
    """The image files of another split; raises UserError if it is the one that is checked, or is nothing known."""
    from inspose_jax.cli import sources
    from inspose_jax.data import copies, image_facts, shards, splits
    from inspose_jax.data.sources import has_other_json, kind_by_names

    split = splits.named(str(other))
    if given.data and split and (split in sources.splits(given.data) or not other.exists()):
        named = replace(given, split=split)
    elif given.images and other.is_file():  # labels of other images in the same folder
        named = replace(given, annotations=other)
    elif shards.is_built(other):
        named = arguments.Given(other)
    elif other.is_dir() and ((kind := kind_by_names(other)) is None or has_other_json(other, kind)):
        return image_facts.on_disk(copies.images_below(other, checked.dataset.images))
    else:
        named = arguments.Given(other, category=given.category)
    found = sources.checkable(named).files
    if found.keys() == checked.files.keys():
        raise UserError(f"{other}: has exactly the images that are checked; give other data, or leave out --against")
    return found


def refuse_target(target: Path, name: Path) -> None:
    """Raise UserError, before any image is read, if a cleaned file cannot be written to `target`."""
    if target.resolve() == name.resolve():
        raise UserError(f"{target}: would overwrite the file that is checked; choose another --fix")
    if target.suffix.lower() != ".json":
        raise UserError(f"{target}: is not the name of a JSON file; it must end in .json")
    if not target.parent.is_dir():
        raise NotFound(f"{target.parent}: no such folder for the cleaned file; create it, or choose another --fix")

"""A run's folder: whether a run may start or go on there, what it was started with, no line of a step done twice."""

import contextlib
import dataclasses
import hashlib
import json
import math
import platform
import warnings
from pathlib import Path
from typing import Any

from inspose_jax import checkpoints, files, provenance, run_folder, versions
from inspose_jax.config import Config, other_fields, to_json
from inspose_jax.data import pipeline
from inspose_jax.errors import UserError
from inspose_jax.run_folder import VALIDATION, is_same_set, measured

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax.checkpoint", "grain", "numpy", "cv2")  # as they are imported
PARTS = [field.name for field in dataclasses.fields(Config)]
PICTURES, LABELS = "pictures", "labels"  # fingerprints of the data in config.json


def description(
    config: Config, num_steps: int, source: pipeline.LabelledSource, weights: Path | None
) -> dict[str, Any]:
    """All that decides what a run computes; a run that goes on must be the same in it.

    `weights` is the file that a new run's backbone starts from.
    """
    about = {
        "num_steps": num_steps,
        PICTURES: pipeline.fingerprint(source),
        LABELS: source.labels_hash(),
    }
    if weights is not None:
        with weights.open("rb") as file:
            about["weights"] = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    return {**about, **json.loads(to_json(config))}


def has_begun(workdir: Path, about: dict[str, Any], resume: bool, has_saved: bool) -> bool:
    """Whether a run in `workdir` goes on, and does not begin; ValueError where it can do neither."""
    if not workdir.exists() or not any(workdir.iterdir()):
        return False
    if not resume:
        raise UserError(f"{workdir}: holds a run already; take another folder, or --resume to go on with it")
    stored = workdir / run_folder.CONFIG
    if not stored.exists():
        raise UserError(f"{workdir}: holds files but no run (no {run_folder.CONFIG}); take another folder")
    try:
        before = json.loads(stored.read_text())
    except ValueError:
        before = None
    if not isinstance(before, dict) or not before.keys() >= {"num_steps", "model"}:
        raise UserError(f"{stored}: not the configuration of a run; is it damaged? Take another folder")
    if other := other_fields(Config, {part: before.get(part) for part in PARTS}, "config"):
        raise UserError(f"{workdir}: {provenance.of_another('; '.join(other), written_by(workdir))}")
    # In a checkpoint are the first weights too: they need not be given again, but others would do nothing.
    known = {"weights": before["weights"]} if has_saved and "weights" in before else {}
    # An early version did not store the labels; where the images are others, so are the labels.
    if not (before.get(LABELS) and about.get(LABELS) and before.get(PICTURES) == about[PICTURES]):
        before, about = ({name: one[name] for name in one if name != LABELS} for one in (before, about))
    differing = differences(before, known | about)
    if differing:
        is_data = any(line.startswith((f"{PICTURES} ", f"{LABELS} ")) for line in differing)
        remedy = "begin a new run with these: another --workdir, and the same --init" if is_data else "another folder"
        raise UserError(f"{workdir}: was started with other values: {'; '.join(differing)}. Take those, or {remedy}")
    return True


def written_by(workdir: Path) -> dict[str, str]:
    """What `versions.json` says of the code that a run was made with; empty where it cannot be read."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        told = json.loads((workdir / run_folder.VERSIONS).read_text())
        return {"version": told.get("inspose-jax"), "commit": told.get("commit")}
    return {}


def open_workdir(workdir: Path, about: dict[str, Any], start: int, validation: str) -> None:
    """Make `workdir` ready for step `start` + 1: resolved config, versions in use, no metrics of steps beyond.

    A best checkpoint that other data than `validation` (a fingerprint) chose is set aside: the scores of two sets do
    not compare.  One of an early version does not say who chose it, and stays.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    best = workdir / run_folder.BEST
    judged_by = checkpoints.about_best(best).get("validation")
    if validation and judged_by and not is_same_set(judged_by, validation):
        aside = checkpoints.set_aside(best)
        warnings.warn(
            f"{best}: was chosen by other pictures or labels than now; it is {aside.name} from here on",
            stacklevel=2,
        )
    in_use = {name: versions.version(name) for name in PACKAGES} | {
        "inspose-jax": versions.OURS,
        "commit": provenance.commit(),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    if not (workdir / run_folder.CONFIG).exists():
        files.write(workdir / run_folder.CONFIG, json.dumps(about, indent=2))
    files.write(workdir / run_folder.VERSIONS, json.dumps(in_use, indent=2))
    run_folder.drop_lines_after(workdir, start)


def told_value(workdir: Path, step: int, validation: str) -> float:
    """The first statistic of the evaluation at a step on the pictures of a fingerprint, as far as the metrics tell;
    NaN where they tell of none.
    """
    evaluations = (row for at, row, _ in measured(workdir) if at == step and VALIDATION in row)
    found = [row for row in evaluations if is_same_set(row[VALIDATION], validation)]
    return next(iter(found[-1].values())) if found else math.nan


def differences(before: Any, now: Any, where: str = "") -> list[str]:
    """`field: before -> now` for every field of two nested dicts that differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = []
        for name in {**before, **now}:
            found += differences(before.get(name), now.get(name), f"{where}.{name}".lstrip("."))
        return found
    return [] if before == now else [f"{where} {before} -> {now}"]

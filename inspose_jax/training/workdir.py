"""A run's folder: whether a run may start or go on there, what it was started with, no line of a step done twice."""

import contextlib
import hashlib
import json
import math
import platform
import warnings
from pathlib import Path
from typing import Any

from inspose_jax import checkpoints, config_json, files, provenance, run_folder, versions
from inspose_jax.config import Config, places
from inspose_jax.data import pipeline
from inspose_jax.errors import UserError
from inspose_jax.method import Method
from inspose_jax.run_folder import VALIDATION, is_same_set, measured
from inspose_jax.skeletons import Skeleton

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax.checkpoint", "grain", "numpy", "cv2")  # as they are imported
PICTURES, LABELS = "pictures", "labels"  # fingerprints of the data in config.json


def description(
    config: Config, method: Method, num_steps: int, source: pipeline.LabelledSource, weights: Path | None
) -> dict[str, Any]:
    """All that decides what a run computes, for its `config.json`.

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
    if method.recipe is not None:
        about["recipe"] = f"{method.recipe['name']} {method.recipe['sha256'][:12]}"
    return {**about, **config_json.to_dict(config)}


def is_in_use(workdir: Path, resume: bool) -> bool:
    """Whether there is something in `workdir`; UserError where there is, and no run shall go on."""
    if not workdir.exists() or not any(workdir.iterdir()):
        return False
    if not resume:
        raise UserError(f"{workdir}: holds a run already; take another folder, or --resume to go on with it")
    return True


def changes(workdir: Path, about: dict[str, Any], config: Config, method: Method, has_saved: bool) -> list[str]:
    """What differs between the run in `workdir` and the one that is to go on there, and changes none of its numbers.

    UserError where something else differs, or no run is there.
    """
    stored = workdir / run_folder.CONFIG
    if not stored.exists():
        raise UserError(f"{workdir}: holds files but no run (no {run_folder.CONFIG}); take another folder")
    try:
        before = json.loads(stored.read_text())
    except ValueError:
        before = None
    if not isinstance(before, dict) or not before.keys() >= {"num_steps", "model"}:
        raise UserError(f"{stored}: not the configuration of a run; is it damaged? Take another folder")
    try:
        then = config_json.from_dict(
            {name: before[name] for name in config_json.NAMES if name in before}, type(config.model)
        )
    except config_json.OtherFields as error:
        raise UserError(f"{workdir}: {provenance.of_another(str(error), written_by(workdir))}") from None
    except UserError as error:
        raise UserError(f"{stored}: {error}; take another folder") from None

    others, now = ({name: one[name] for name in one if name not in config_json.NAMES} for one in (before, about))
    # In a checkpoint are the first weights too: they need not be given again, but others would do nothing.
    if has_saved and "weights" in others:
        now.setdefault("weights", others["weights"])
    # An early version did not store the labels; where the images are others, so are the labels.
    if not (others.get(LABELS) and now.get(LABELS) and others.get(PICTURES) == now[PICTURES]):
        others, now = ({name: one[name] for name in one if name != LABELS} for one in (others, now))
    refused = [
        f"{name} {others.get(name)} -> {now.get(name)}"
        for name in {**others, **now}
        if others.get(name) != now.get(name)
    ]
    is_data = any(line.startswith((f"{PICTURES} ", f"{LABELS} ")) for line in refused)
    allowed = []
    for one, other in zip(places(then), places(config), strict=True):
        if one.value == other.value:
            continue
        line = f"{'.'.join(one.typed)} {told(one.value)} -> {told(other.value)}"
        if one.test_time or one.path[0] == "machine":
            allowed.append(line)
        elif one.path == ("schedule", "accumulate"):
            if method.sees_batch:
                refused.append(f"{line} (its batch norm is trained, with the statistics of such a part)")
            else:
                allowed.append(line)
        else:
            refused.append(line)
    if refused:
        remedy = "begin a new run with these: another --workdir, and the same --init" if is_data else "another folder"
        raise UserError(f"{workdir}: was started with other values: {'; '.join(refused)}. Take those, or {remedy}")
    if before.get("format", 1) != config_json.FORMAT:
        allowed.append(f"format {before.get('format', 1)} -> {config_json.FORMAT}")
    return allowed


def told(value: Any) -> str:
    """A field's value in few words."""
    return value.name if isinstance(value, Skeleton) else str(value)


def written_by(workdir: Path) -> dict[str, str]:
    """What `versions.json` says of the code that a run was made with; empty where it cannot be read."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        told = json.loads((workdir / run_folder.VERSIONS).read_text())
        return {"version": told.get("inspose-jax"), "commit": told.get("commit")}
    return {}


def open_workdir(workdir: Path, about: dict[str, Any], changed: list[str], start: int, validation: str) -> None:
    """Make `workdir` ready for step `start` + 1: config and versions in use, a line of history, no metrics of steps
    beyond.

    `changed` is what differs from the run's values so far.  A best checkpoint that something else than `validation` (a
    fingerprint) chose is set aside: the scores do not compare.  One of an early version does not say, and stays.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    best = workdir / run_folder.BEST
    judged_by = checkpoints.about_best(best).get("validation")
    if validation and judged_by and not is_same_set(judged_by, validation):
        aside = checkpoints.set_aside(best)
        warnings.warn(
            f"{best}: was chosen by other images, labels or test-time fields than now; it is {aside.name} from here on",
            stacklevel=2,
        )
    in_use = {name: versions.version(name) for name in PACKAGES} | {
        "inspose-jax": versions.OURS,
        "commit": provenance.commit(),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    if changed or not (workdir / run_folder.CONFIG).exists():
        files.write(workdir / run_folder.CONFIG, json.dumps(about, indent=2))
    files.write(workdir / run_folder.VERSIONS, json.dumps(in_use, indent=2))
    with (workdir / run_folder.HISTORY).open("a") as history:
        history.write(json.dumps({"step": start, "changed": changed, "versions": in_use}) + "\n")
    run_folder.drop_lines_after(workdir, start)


def told_value(workdir: Path, step: int, validation: str) -> float:
    """The first statistic of the evaluation at a step on the pictures of a fingerprint, as far as the metrics tell;
    NaN where they tell of none.
    """
    evaluations = (row for at, row, _ in measured(workdir) if at == step and VALIDATION in row)
    found = [row for row in evaluations if is_same_set(row[VALIDATION], validation)]
    return next(iter(found[-1].values())) if found else math.nan

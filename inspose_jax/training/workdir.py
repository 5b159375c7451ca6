"""A run's folder: whether a run may start or resume there, and its config, versions, history and metrics."""

import contextlib
import json
import math
import platform
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

from inspose_jax import checkpoints, config_json, files, provenance, run_folder, versions
from inspose_jax.config import Config, places
from inspose_jax.data import pipeline
from inspose_jax.errors import UserError
from inspose_jax.method import Method
from inspose_jax.provenance import TAKEN_OVER
from inspose_jax.run_folder import VALIDATION, is_same_set, read_metrics_lines
from inspose_jax.skeletons import Skeleton

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax.checkpoint", "grain", "numpy", "cv2")  # by their import names
IMAGES, LABELS = "pictures", "labels"  # keys of the data's fingerprints in config.json
WEIGHTS = "weights"  # key of the initial weights' hash; what was kept of them is at TAKEN_OVER


def description(
    config: Config, method: Method, num_steps: int, source: pipeline.LabelledSource, weights: str | None
) -> dict[str, Any]:
    """Everything that determines what a run computes, for its `config.json`.

    `weights` is the hash of those that a new run is initialised from.
    """
    about = {
        "num_steps": num_steps,
        IMAGES: pipeline.fingerprint(source),
        LABELS: source.labels_hash(),
    }
    if weights is not None:
        about[WEIGHTS] = weights
    if method.recipe is not None:
        about["recipe"] = f"{method.recipe['name']} {method.recipe['sha256'][:12]}"
    return {**about, **config_json.to_dict(config)}


def is_in_use(workdir: Path, resume: bool) -> bool:
    """Whether `workdir` holds anything; raises UserError if it does and `resume` is not set."""
    if not workdir.exists() or not any(workdir.iterdir()):
        return False
    if not resume:
        remedy = "use another folder, or continue it with --resume"
        if (workdir / run_folder.CONFIG).exists() and not checkpoints.steps(workdir / run_folder.CHECKPOINTS):
            remedy = "use another folder, or delete this one if its run has ended: nothing is saved there"
        raise UserError(f"{workdir}: already holds a run; {remedy}")
    return True


def stored_description(workdir: Path) -> dict[str, Any]:
    """The content of a run's `config.json`; raises UserError if there is none, or if it is another file."""
    stored = workdir / run_folder.CONFIG
    if not stored.exists():
        raise UserError(f"{workdir}: holds files but no run (there is no {run_folder.CONFIG}); use another folder")
    try:
        about = json.loads(stored.read_text())
    except ValueError:
        about = None
    if not isinstance(about, dict) or not about.keys() >= {"num_steps", "model"}:
        raise UserError(f"{stored}: not the configuration of a run; is it damaged? Use another folder")
    return about


def stored_run(workdir: Path, kind: type) -> tuple[dict[str, Any], Config]:
    """The content of a run's `config.json`, and the config in it, whose `model` is a `kind`.

    Raises UserError as `stored_description`, and if the config cannot be read.
    """
    about = stored_description(workdir)
    try:
        return about, config_json.from_dict(select(about, config_json.NAMES), kind)
    except config_json.OtherFields as error:
        raise UserError(f"{workdir}: {provenance.other_version(str(error), written_by(workdir))}") from None
    except UserError as error:
        raise UserError(f"{workdir / run_folder.CONFIG}: {error}; use another folder") from None


def changes(workdir: Path, about: dict[str, Any], config: Config, method: Method, has_saved: bool) -> list[str]:
    """Permitted differences, which change none of its numbers, between the run in `workdir` and the one resuming there.

    Raises UserError if anything else differs, or as `stored_run` does.
    """
    before, then = stored_run(workdir, type(config.model))
    # What was kept of the weights follows from their hash and the config, but is known only once they are read.
    others, now = (select(one, one.keys() - {*config_json.NAMES, TAKEN_OVER}) for one in (before, about))
    # A checkpoint supersedes the initial weights: they need not be given again, but others would have no effect.
    if has_saved and WEIGHTS in others:
        now.setdefault(WEIGHTS, others[WEIGHTS])
    # Labels are not compared if an early version did not store them, or if the images differ: then labels do too.
    if not (others.get(LABELS) and now.get(LABELS) and others.get(IMAGES) == now[IMAGES]):
        others, now = (select(one, one.keys() - {LABELS}) for one in (others, now))
    differing = [name for name in {**others, **now} if others.get(name) != now.get(name)]
    words = {IMAGES: "images"}
    refused = [f"{words.get(name, name)} {others.get(name)} -> {now.get(name)}" for name in differing]
    allowed = []
    for one, other in zip(places(then), places(config), strict=True):
        if one.value == other.value:
            continue
        line = f"{'.'.join(one.typed)} {value_text(one.value)} -> {value_text(other.value)}"
        is_accumulate = one.path == ("schedule", "accumulate")
        if is_accumulate and method.sees_batch:
            refused.append(f"{line} (its trained batch norm uses the statistics of each part)")
        elif one.test_time or one.path[0] == "machine" or is_accumulate:
            allowed.append(line)
        else:
            refused.append(line)
    if refused:
        is_data = {IMAGES, LABELS} & set(differing)
        again = "another --workdir, and the same --init" if WEIGHTS in before else "another --workdir"
        remedy = f"start a new run with these: {again}" if is_data else "another folder"
        raise UserError(f"{workdir}: was started with other values: {'; '.join(refused)}. Use those, or {remedy}")
    if before.get("format", 1) != config_json.FORMAT:
        allowed.append(f"format {before.get('format', 1)} -> {config_json.FORMAT}")
    return allowed


def select(values: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The entries of these names, in the order of `values`."""
    return {name: value for name, value in values.items() if name in names}


def value_text(value: Any) -> str:
    """A field's value as short text."""
    return value.name if isinstance(value, Skeleton) else str(value)


def written_by(workdir: Path) -> dict[str, str]:
    """What `versions.json` says about the code that made a run; empty if it cannot be read."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        stored = json.loads((workdir / run_folder.VERSIONS).read_text())
        return {"version": stored.get("inspose-jax"), "commit": stored.get("commit")}
    return {}


def open_workdir(
    workdir: Path,
    about: dict[str, Any],
    changed: list[str],
    start: int,
    validation: str,
    options: dict[str, Any] | None = None,
) -> None:
    """Prepare `workdir` for step `start` + 1: write config, versions and history, and drop metrics after `start`.

    `changed` lists the differences from the run's values so far.  A best checkpoint that was chosen by another
    fingerprint than `validation` is set aside, because the scores are not comparable.  One from an early version, which
    did not store the fingerprint, stays.  `options` are kept in the history.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    best = workdir / run_folder.BEST
    judged_by = checkpoints.about_best(best).get("validation")
    if validation and judged_by and not is_same_set(judged_by, validation):
        aside = checkpoints.set_aside(best)
        warnings.warn(
            f"{best}: was chosen by other images, labels or test-time fields than now; it is kept as {aside.name}",
            stacklevel=2,
        )
    in_use = {name: versions.version(name) for name in PACKAGES} | {
        "inspose-jax": versions.OURS,
        "commit": provenance.commit(),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    stored = workdir / run_folder.CONFIG
    if not stored.exists():
        files.write(stored, json.dumps(about, indent=2))
    elif changed:
        before = select(json.loads(stored.read_text()), {WEIGHTS, TAKEN_OVER})  # unless they are given again
        files.write(stored, json.dumps({**before, **about}, indent=2))
    files.write(workdir / run_folder.VERSIONS, json.dumps(in_use, indent=2))
    begun = {"step": start, "changed": changed, "versions": in_use} | ({run_folder.OPTIONS: options} if options else {})
    with (workdir / run_folder.HISTORY).open("a") as history:
        history.write(json.dumps(begun) + "\n")
    run_folder.drop_lines_after(workdir, start)


def logged_value(workdir: Path, step: int, validation: str) -> float:
    """The first statistic in the metrics of the evaluation at a step with this fingerprint; NaN if there is none."""
    evaluations = (row for at, row, _ in read_metrics_lines(workdir) if at == step and VALIDATION in row)
    found = [row for row in evaluations if is_same_set(row[VALIDATION], validation)]
    return next(iter(found[-1].values())) if found else math.nan

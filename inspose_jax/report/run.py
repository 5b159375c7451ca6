"""Read what a run left in its folder, whether the run is finished, still in progress or was killed."""

import json
import math
from array import array
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from inspose_jax import checkpoints, config_json, paths, run_folder
from inspose_jax.errors import NotFound, UserError
from inspose_jax.run_folder import VALIDATION, is_same_set, read_metrics_lines


class Series(NamedTuple):
    """One measurement over the run, at the steps where it was made and is finite."""

    steps: Int64[np.ndarray, " n"]
    values: Float64[np.ndarray, " n"]


class Run(NamedTuple):
    """The content of a run's folder."""

    workdir: Path
    about: dict[str, Any]  # config.json: the parts of the config and everything else that determines the results
    versions: dict[str, Any]  # versions.json; empty if there is none
    metrics: dict[str, Series]
    checkpoints: list[int]  # finished steps, oldest first
    best: list[int]  # the step of the best checkpoint, if one is kept

    @property
    def step(self) -> int:
        """The last measured step; 0 before the first."""
        return max((int(series.steps[-1]) for series in self.metrics.values()), default=0)

    @property
    def num_steps(self) -> int:
        """The planned length of the run in steps."""
        return self.about["num_steps"]

    @property
    def batch_size(self) -> int:
        """Images per step."""
        return self.about["schedule"]["batch_size"]


def read_run(workdir: Path) -> Run:
    """Read a run's folder; raises NotFound if there is no such folder, and UserError if it does not hold a run."""
    workdir = paths.expanded(workdir)
    if not workdir.is_dir():
        what = "not a" if workdir.exists() else "no such"
        raise NotFound(f"{workdir}: {what} folder; give the --workdir of a run")
    if not (workdir / run_folder.CONFIG).is_file():
        inner = workdir / "run"
        hint = f"did you mean {inner}?" if (inner / run_folder.CONFIG).is_file() else "give the --workdir of a run"
        raise UserError(f"{workdir}: not a run (there is no {run_folder.CONFIG}); {hint}")
    about = read_object(workdir / run_folder.CONFIG)
    if (
        not all(isinstance(about.get(part), dict) for part in ("model", "data", "schedule"))
        or not isinstance(about.get("num_steps"), int)
        or not isinstance(about["schedule"].get("batch_size"), int)
    ):
        raise UserError(f"{workdir / run_folder.CONFIG}: not a run's configuration; give the --workdir of a run")
    try:
        about = config_json.upgrade(about)
    except UserError as error:
        raise UserError(f"{workdir / run_folder.CONFIG}: {error}") from None
    versions = workdir / run_folder.VERSIONS
    return Run(
        workdir,
        about,
        read_object(versions) if versions.is_file() else {},
        read_metrics(workdir),
        checkpoints.steps(workdir / run_folder.CHECKPOINTS),
        checkpoints.steps(workdir / run_folder.BEST),
    )


def read_object(path: Path) -> dict[str, Any]:
    """Read the object in a JSON file; raises UserError if the file holds something else."""
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); is it damaged or cut off?") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not an object with fields; is it a run's file?")
    return content


def read_metrics(workdir: Path) -> dict[str, Series]:
    """Read a run's `metrics.jsonl` by measurement name; raises UserError naming the line if one is malformed.

    Only evaluations on the same images as the last one are kept, since others are not comparable.
    """
    columns: dict[str, tuple[array, array]] = {}
    validation = None
    for step, row, _ in read_metrics_lines(workdir):
        stored = row.get(VALIDATION, validation)
        if stored != validation:
            if validation is None or not is_same_set(str(stored), str(validation)):
                columns = {name: column for name, column in columns.items() if not name.startswith("eval/")}
            validation = stored
        for name, value in row.items():
            if isinstance(value, float) and math.isfinite(value):
                steps, values = columns.setdefault(name, (array("q"), array("d")))
                steps.append(step)
                values.append(value)
    return {name: Series(np.array(steps), np.array(values)) for name, (steps, values) in columns.items()}


def throughput(metrics: dict[str, Series], batch_size: int) -> dict[str, float]:
    """The training time, the median speed after the first window, and the share of time spent waiting.

    They are computed from the speeds logged at every tenth step; the result is empty before the first of them.
    """
    if "images_per_s" not in metrics:
        return {}
    steps, speeds = metrics["images_per_s"]
    # A file that was edited or truncated may hold a step twice, a step before the first, or speeds without `data_wait`.
    steps, first = np.unique(steps, return_index=True)
    speeds = speeds[first][steps > 0]
    steps = steps[steps > 0]
    if not len(steps):
        return {}
    seconds = np.diff(steps, prepend=0) * batch_size / np.maximum(speeds, 0.005)  # speeds are rounded to 0.01
    values = {
        "training_seconds": round(float(seconds.sum()), 1),
        "images_per_s": round(float(np.median(speeds[1:] if len(speeds) > 1 else speeds)), 2),
    }
    if "data_wait" in metrics:
        waited = np.interp(steps, *metrics["data_wait"])
        values["data_wait"] = round(float(np.average(waited, weights=seconds)), 4)
    return values

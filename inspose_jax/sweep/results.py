"""The result of a run as one small file, named by everything that the result depends on.

A run whose file exists is not repeated, in whichever sweep it occurs, so that the files are also what a sweep resumes
from.  Rows that differ only in fields that matter at test time share a run, and each has its evaluation in the file.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from inspose_jax import config_json, files
from inspose_jax.config import Config, places
from inspose_jax.errors import UserError

CHECKPOINT = "checkpoint"  # key of a hash of the trained model, to which all evaluations in a file belong


class Run(NamedTuple):
    """One training."""

    config: Config  # of a row, with its seed
    steps: int


def identity(run: Run) -> str:
    """12 hexadecimal digits that differ for runs that train differently.

    They cover the number of steps and every training field that has another value than its default, so that a field
    that is added later, with a default that changes nothing, leaves the names of earlier results as they are.
    """
    usual = training_fields(Config(type(run.config.model)()))
    chosen = {name: value for name, value in training_fields(run.config).items() if value != usual[name]}
    return digest({**chosen, "steps": run.steps})


def training_fields(config: Config) -> dict[str, str]:
    """The value of each field that affects training, by its path: all but those of the machine and test time."""
    return {
        ".".join(place.path): repr(place.value)
        for place in places(config)
        if not place.test_time and place.path[0] != "machine"
    }


def tested_fields(config: Config) -> dict[str, str]:
    """The value of each field that matters at test time, by its path."""
    return {".".join(place.path): repr(place.value) for place in places(config) if place.test_time}


def evaluation(config: Config, num_images: int, statistics: dict[str, float]) -> dict[str, Any]:
    """An evaluation as it is stored, with everything that it depends on beside the training."""
    return {"images": num_images, "fields": tested_fields(config), "statistics": statistics}


def statistics_of(stored: dict[str, Any], config: Config, num_images: int) -> dict[str, float] | None:
    """The statistics of a run, evaluated as the config says; None if they are not stored.

    A field that was added later counts as equal if it has its default, since nothing else was possible before.
    """
    usual = tested_fields(Config(type(config.model)()))
    for one in stored["evaluations"]:
        if one["images"] == num_images and {**usual, **one["fields"]} == tested_fields(config):
            return one["statistics"]
    return None


def digest(content: Any) -> str:
    """12 hexadecimal digits of the SHA-256 of a value's JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def path_of(folder: Path, run: Run) -> Path:
    """The file of a run's result."""
    return folder / f"{identity(run)}.json"


def read(folder: Path, run: Run) -> dict[str, Any]:
    """The stored result of a run: its facts, and `evaluations`; without any if there is no file yet.

    Raises UserError if the file is damaged, or of a run that was trained differently, as after a default has changed.
    """
    path = path_of(folder, run)
    if not path.exists():
        return {"evaluations": []}
    again = "remove it, and the run is made again"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        for one in stored["evaluations"]:
            float(
                one["statistics"]["AP"] + stored["minutes"] + one["images"] + len(one["fields"])
            )  # what is read later
        trained = config_json.from_dict(stored["config"], type(run.config.model))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: not a result of a run; {again}") from None
    wanted, found = training_fields(run.config), training_fields(trained)
    if changed := [name for name in wanted if wanted[name] != found[name]]:
        raise UserError(f"{path}: its run had other values of {', '.join(changed)}; {again}")
    return stored


def write(folder: Path, run: Run, facts: dict[str, Any], evaluations: list[dict[str, Any]]) -> None:
    """Write the result of a run, completely or not at all; the folder must exist."""
    stored = {"steps": run.steps, **facts, "evaluations": evaluations, "config": config_json.to_dict(run.config)}
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in stored.items()]
    files.write(path_of(folder, run), "{\n" + ",\n".join(lines) + "\n}\n")

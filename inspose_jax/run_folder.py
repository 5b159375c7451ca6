"""The contents of a run's folder: the names of its files and folders, and the lines of its metrics."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inspose_jax import files
from inspose_jax.errors import UserError

CONFIG = "config.json"  # the config and, beside its parts, everything else that affects the results
VERSIONS = "versions.json"  # of the packages and the code at the latest start or resume
HISTORY = "history.jsonl"  # one line per start: its step, what differs from the previous values, versions, options
OPTIONS = "options"  # in a line of the history: the options of the command line that name data
METRICS = "metrics.jsonl"  # one line per step, and one for each evaluation
CHECKPOINTS, BEST = "checkpoints", "best"  # one folder per step: the newest ones, and the one with the best evaluation
TENSORBOARD, PROFILE = "tensorboard", "profile"
PAGE = "report.html"

VALIDATION = "validation"  # in the line of an evaluation: the fingerprint of the dataset


def is_same_set(first: str, second: str) -> bool:
    """Whether two fingerprints may be of the same dataset; those of early versions do not cover the labels."""
    return first == second or first.startswith(f"{second}, ") or second.startswith(f"{first}, ")


def metrics_line(step: int, values: dict[str, Any]) -> str:
    """The measurements of a step, or of an evaluation after it, as a line of the metrics file."""
    return json.dumps({"step": step, **values}) + "\n"


def read_metrics_lines(workdir: Path) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Step, measurements and text of every line of a run's metrics, as an iterator, since a long run has many lines.

    Yields nothing if there is no such file.  A last line without a newline is still being written, or was when the run
    was killed, and is left out.  Raises UserError, with the line number, for any other invalid line.
    """
    metrics = workdir / METRICS
    if not metrics.is_file():
        return
    with metrics.open(errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith("\n"):
                return
            try:
                row = json.loads(line, parse_int=float)  # an integer may be too large for any array
                step = int(row.pop("step"))
                if abs(step) >= 2**63:
                    raise OverflowError
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
                raise UserError(
                    f"{metrics}: line {number} is not the measurements of a step; remove that line"
                ) from None
            yield step, row, line


def drop_lines_after(workdir: Path, step: int) -> None:
    """Remove from the metrics all lines of later steps and a partial last line; raises as `read_metrics_lines` does."""
    if (workdir / METRICS).is_file():
        files.write(workdir / METRICS, "".join(line for at, _, line in read_metrics_lines(workdir) if at <= step))

"""What stands in a run's folder: the names of everything there, and the lines of its metrics."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inspose_jax import files
from inspose_jax.errors import UserError

CONFIG = "config.json"  # the config and, beside its parts, what else decides the numbers
VERSIONS = "versions.json"  # the packages and the code that it last went on with
HISTORY = "history.jsonl"  # a line a start: its step, what differs from the values before, its versions
METRICS = "metrics.jsonl"  # a line a step, and one for each evaluation
CHECKPOINTS, BEST = "checkpoints", "best"  # a folder a step: the newest ones, and the one that was evaluated best
TENSORBOARD, PROFILE = "tensorboard", "profile"
PAGE = "report.html"

VALIDATION = "validation"  # in the line of an evaluation: the fingerprint of what it looked at


def is_same_set(first: str, second: str) -> bool:
    """Whether two fingerprints are of one data set, as far as they tell: those of early versions lack the labels."""
    return first == second or first.startswith(f"{second}, ") or second.startswith(f"{first}, ")


def metrics_line(step: int, values: dict[str, Any]) -> str:
    """What was measured at a step, or in an evaluation after it, as a line of the metrics."""
    return json.dumps({"step": step, **values}) + "\n"


def measured(workdir: Path) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Step, measurements and text of every line of a run's metrics, one after another: a long run has many.

    None where there is no such file.  A last line that is not ended is being written, or was when the run was killed:
    it is left out.  UserError names any other line that is none.
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
                raise UserError(f"{metrics}: line {number} is no step's measurements; take that line out") from None
            yield step, row, line


def drop_lines_after(workdir: Path, step: int) -> None:
    """Take every line of a later step out of the metrics, and half a line at their end; UserError as `measured`."""
    if (workdir / METRICS).is_file():
        files.write(workdir / METRICS, "".join(line for at, _, line in measured(workdir) if at <= step))

"""The lines of a run's `metrics.jsonl`: what was measured at a step, or in an evaluation after it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inspose_jax.errors import UserError

METRICS = "metrics.jsonl"
VALIDATION = "validation"  # in the line of an evaluation: the fingerprint of what it looked at


def is_same_set(first: str, second: str) -> bool:
    """Whether two fingerprints are of one data set, as far as they tell: those of early versions lack the labels."""
    return first == second or first.startswith(f"{second}, ") or second.startswith(f"{first}, ")


def measured(metrics: Path) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Step, measurements and text of every line of a `metrics.jsonl`, one after another: a long run has many.

    A last line that is not ended is being written, or was when the run was killed: it is left out.  ValueError names
    any other line that is none.
    """
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

"""A trace of some steps of a run, for xprof."""

from pathlib import Path
from typing import Any

import jax


class Trace:
    """Writes what the device does in `steps`, which follow each other, into a folder; also if they end early."""

    def __init__(self, folder: Path, steps: range) -> None:
        self.folder, self.steps, self.is_on = folder, steps, False

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def before(self, step: int) -> None:
        """Begin where this is the first of the steps."""
        if self.steps and step == self.steps[0]:
            jax.profiler.start_trace(self.folder)
            self.is_on = True

    def after(self, step: int, state: Any) -> None:
        """End where this is the last one, when the device has come to its `state`."""
        if self.is_on and step == self.steps[-1]:
            jax.block_until_ready(state)
            self.end()

    def end(self) -> None:
        """Write the trace, if there is one."""
        if self.is_on:
            self.is_on = False
            jax.profiler.stop_trace()

"""A trace of some steps of a run, for xprof."""

from pathlib import Path
from typing import Any

import jax


class Trace:
    """Write a trace of the consecutive `steps` into a folder, even if the run ends before the last of them."""

    def __init__(self, folder: Path, steps: range) -> None:
        self.folder, self.steps, self.is_on = folder, steps, False

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def before(self, step: int) -> None:
        """Begin tracing if this is the first of the steps."""
        if self.steps and step == self.steps[0]:
            jax.profiler.start_trace(self.folder)
            self.is_on = True

    def after(self, step: int, state: Any) -> None:
        """End tracing if this is the last of the steps, once the device has computed its `state`."""
        if self.is_on and step == self.steps[-1]:
            jax.block_until_ready(state)
            self.end()

    def end(self) -> None:
        """Stop tracing and write the trace, if one was begun."""
        if self.is_on:
            self.is_on = False
            jax.profiler.stop_trace()

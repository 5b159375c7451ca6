"""What a run records: one line per step in `metrics.jsonl`, and curves and images for TensorBoard.

Measurements stay on the device and are fetched together every ten steps, while the device works on the step after
them, so that no step waits until measurements are read and written.
"""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

from inspose_jax.errors import NotFinite
from inspose_jax.run_folder import METRICS, TENSORBOARD, VALIDATION, metrics_line

FETCH_EVERY = 10
MOST_SKIPPED = 20  # consecutive steps that are not finite; a run with so many would only waste time


class Log:
    """Carries measurements from the device to a workdir's files, with the speed since the last write.

    `image_ids_of(step)` returns the image ids of a step, so that an error can name them.  Without `writes` nothing is
    written: of several processes only one writes, but all check that measurements are finite.
    """

    def __init__(
        self,
        workdir: Path,
        start: int,
        batch_size: int,
        image_ids_of: Callable[[int], list[int]],
        on_nan: Literal["stop", "skip"],
        writes: bool,
    ):
        self.batch_size, self.image_ids_of, self.on_nan = batch_size, image_ids_of, on_nan
        self.lines = (workdir / METRICS).open("a") if writes else None
        self.board = SummaryWriter(str(workdir / TENSORBOARD), purge_step=start + 1) if writes else None
        self.pending: list[tuple[int, dict[str, jax.Array]]] = []
        self.begin, self.waited = time.perf_counter(), 0.0
        self.num_skipped = 0  # consecutive steps that were not finite, up to now

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        if self.lines is not None and self.board is not None:
            self.lines.close()
            self.board.close()

    def add(self, step: int, measurements: dict[str, jax.Array]) -> None:
        """Keep a step's scalars without reading them."""
        self.pending.append((step, measurements))

    def wait_for_device(self) -> None:
        """Wait until the device has at most one unfinished step, the last one submitted.

        Every submitted step holds its batch in the device's memory, and two steps are enough to keep the device busy.
        """
        if len(self.pending) > 1:
            jax.block_until_ready(self.pending[-2][1])

    def is_device_idle(self) -> bool:
        """Whether the device has finished everything submitted to it."""
        last: Any = self.pending[-1][1]["loss/total"] if self.pending else None
        return last is None or last.is_ready()

    def write(self, unreadable: int, keeps_last: bool = False) -> str:
        """Fetch everything at once and write one line per step; returns a summary for the progress bar.

        `keeps_last` leaves the last step, on which the device may still work, for the next time; if no other is left,
        nothing is written and the summary is empty.  `unreadable` is the number of images left blank so far.  Raises
        NotFinite at the first step that is not finite or, if such steps are skipped, after `MOST_SKIPPED` of them in a
        row.
        """
        later = self.pending[-1:] if keeps_last else []
        fetched = jax.device_get(self.pending[: len(self.pending) - len(later)])
        if not fetched:
            return ""
        seconds = time.perf_counter() - self.begin
        speed = {
            "images_per_s": round(len(fetched) * self.batch_size / seconds, 2),
            "data_wait": round(self.waited / seconds, 4),
            "unreadable": unreadable,
        }
        for step, measurements in fetched:
            broken = first_non_finite(measurements)
            self.num_skipped = self.num_skipped + 1 if broken else 0
            if broken:
                where = f"step {step}: {broken} is {measurements[broken]} (images {self.image_ids_of(step)})"
                if self.on_nan == "stop":
                    raise NotFinite(
                        f"{where}; nothing from this step on was saved. Continue from the last checkpoint with "
                        f"--resume and --on-nan skip, or start again with a lower --config.schedule.learning-rate"
                    )
                tqdm.write(f"inspose: warning: {where}; the step is skipped and the state unchanged", file=sys.stderr)
            self.line(step, {name: value.item() for name, value in measurements.items()}, speed)
            if self.num_skipped == MOST_SKIPPED:
                raise NotFinite(
                    f"{MOST_SKIPPED} steps in a row, from step {step - MOST_SKIPPED + 1} on, were not finite (at the "
                    f"last one, {broken} is {measurements[broken]}); what was saved is intact. Look at their images, "
                    f"or start again with a lower --config.schedule.learning-rate"
                )
        self.pending, self.begin, self.waited = later, time.perf_counter(), 0.0
        loss = fetched[-1][1]["loss/total"]
        return f"loss {loss:.3f}, {speed['images_per_s']:.1f} images/s"

    def line(self, step: int, values: dict[str, float], speed: dict[str, float]) -> None:
        """Write a step's values to the file; every tenth step also the speed, and both to TensorBoard."""
        if self.lines is None or self.board is None:
            return
        if step % FETCH_EVERY == 0:
            values = values | speed
            for name, value in values.items():
                self.board.add_scalar(name, value, step)
        # JSON has neither NaN nor infinity.
        row = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self.lines.write(metrics_line(step, row))
        self.lines.flush()

    def evaluation(self, step: int, statistics: dict[str, float], sheet: np.ndarray, validation: str) -> None:
        """Write a step's evaluation as a line of its own, and to TensorBoard with `sheet`, u8[H,W,3] predictions.

        `validation` is the fingerprint of what the evaluation looked at.
        """
        if self.lines is None or self.board is None:
            return
        values = {f"eval/{name}": value for name, value in statistics.items()}
        self.lines.write(metrics_line(step, {**values, VALIDATION: validation}))
        self.lines.flush()
        for name, value in values.items():
            self.board.add_scalar(name, value, step)
        self.board.add_image("eval/predictions", sheet, step, dataformats="HWC")


def first_non_finite(measurements: dict[str, np.ndarray]) -> str:
    """The first non-finite measurement, loss terms before their sum and the gradient; empty if all are finite."""
    order = sorted(measurements, key=lambda name: (not name.startswith("loss/"), name == "loss/total"))
    return next((name for name in order if not math.isfinite(measurements[name])), "")

"""What a run tells: a line a step in `metrics.jsonl`, curves and pictures for TensorBoard.

Measurements stay on the device and are fetched together every ten steps, so that no step waits for the one before it to
be read.
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
MOST_SKIPPED = 20  # steps in a row that are not finite; a run that came to so many would go on for nothing


class Log:
    """Measurements on their way from the device to a workdir's files, and the speed since the last write.

    `pictures_of(step)` are the image ids of a step, to name where a loss broke.  Without `writes` nothing is written:
    of several processes one writes, and all see what is not finite.
    """

    def __init__(
        self,
        workdir: Path,
        start: int,
        batch_size: int,
        pictures_of: Callable[[int], list[int]],
        on_nan: Literal["stop", "skip"],
        writes: bool,
    ):
        self.batch_size, self.pictures_of, self.on_nan = batch_size, pictures_of, on_nan
        self.lines = (workdir / METRICS).open("a") if writes else None
        self.board = SummaryWriter(str(workdir / TENSORBOARD), purge_step=start + 1) if writes else None
        self.pending: list[tuple[int, dict[str, jax.Array]]] = []
        self.begin, self.waited = time.perf_counter(), 0.0
        self.num_skipped = 0  # steps in a row, up to now

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        if self.lines is not None and self.board is not None:
            self.lines.close()
            self.board.close()

    def add(self, step: int, measurements: dict[str, jax.Array]) -> None:
        """Remember a step's scalars without reading them."""
        self.pending.append((step, measurements))

    def wait_for_device(self) -> None:
        """Wait until the device has no more to do than the last step it was given.

        Every step that waits there has its batch in the device's memory; two of them keep it busy.
        """
        if len(self.pending) > 1:
            jax.block_until_ready(self.pending[-2][1])

    def is_device_idle(self) -> bool:
        """Whether the device has done all that it was given."""
        last: Any = self.pending[-1][1]["loss/total"] if self.pending else None
        return last is None or last.is_ready()

    def write(self, unreadable: int) -> str:
        """Fetch everything at once, write a line a step; a summary for the progress bar.

        `unreadable` pictures were left blank so far.  `NotFinite` at the first step that is not finite or, where such
        steps are skipped, after `MOST_SKIPPED` of them in a row.
        """
        fetched = jax.device_get(self.pending)
        seconds = time.perf_counter() - self.begin
        speed = {
            "images_per_s": round(len(fetched) * self.batch_size / seconds, 2),
            "data_wait": round(self.waited / seconds, 4),
            "unreadable": unreadable,
        }
        for step, measurements in fetched:
            broken = first_broken(measurements)
            self.num_skipped = self.num_skipped + 1 if broken else 0
            if broken:
                where = f"step {step}: {broken} is {measurements[broken]} (pictures {self.pictures_of(step)})"
                if self.on_nan == "stop":
                    raise NotFinite(
                        f"{where}; nothing from this step on was saved. Go on from the last checkpoint with --resume "
                        f"and --on-nan skip, or start anew with a lower --config.schedule.learning-rate"
                    )
                tqdm.write(f"inspose: warning: {where}; skipped, the state stays as it was", file=sys.stderr)
            self.line(step, {name: value.item() for name, value in measurements.items()}, speed)
            if self.num_skipped == MOST_SKIPPED:
                raise NotFinite(
                    f"{MOST_SKIPPED} steps in a row, from step {step - MOST_SKIPPED + 1} on, were not finite (at the "
                    f"last, {broken} is {measurements[broken]}); what was saved stays. Look at their pictures, or "
                    f"start anew with a lower --config.schedule.learning-rate"
                )
        self.pending, self.begin, self.waited = [], time.perf_counter(), 0.0
        loss = fetched[-1][1]["loss/total"]
        return f"loss {loss:.3f}, {speed['images_per_s']:.1f} images/s"

    def line(self, step: int, values: dict[str, float], speed: dict[str, float]) -> None:
        """A step's values into the file; every tenth with the speed, and to TensorBoard."""
        if self.lines is None or self.board is None:
            return
        if step % FETCH_EVERY == 0:
            values = values | speed
            for name, value in values.items():
                self.board.add_scalar(name, value, step)
        # JSON knows neither NaN nor infinity.
        row = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self.lines.write(metrics_line(step, row))
        self.lines.flush()

    def evaluation(self, step: int, statistics: dict[str, float], sheet: np.ndarray, validation: str) -> None:
        """The statistics of a step as a line of their own, and u8[H,W,3] with predictions, to TensorBoard.

        `validation` is the fingerprint of the pictures.
        """
        if self.lines is None or self.board is None:
            return
        values = {f"eval/{name}": value for name, value in statistics.items()}
        self.lines.write(metrics_line(step, {**values, VALIDATION: validation}))
        self.lines.flush()
        for name, value in values.items():
            self.board.add_scalar(name, value, step)
        self.board.add_image("eval/predictions", sheet, step, dataformats="HWC")
        self.begin = time.perf_counter()  # an evaluation is no training time


def first_broken(measurements: dict[str, np.ndarray]) -> str:
    """The first measurement that is not finite, the terms before their sum and its gradient; empty where all are."""
    order = sorted(measurements, key=lambda name: (not name.startswith("loss/"), name == "loss/total"))
    return next((name for name in order if not math.isfinite(measurements[name])), "")

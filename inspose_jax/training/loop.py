"""The run: for each batch a step, a line of metrics, now and then a checkpoint; it goes on exactly where it stopped.

Measurements stay on the device and are fetched together every ten steps, so that no step waits for the one before it to
be read.  Nothing is saved before all measurements up to it were seen to be finite.
"""

import json
import math
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

import inspose_jax
from inspose_jax import config as config_
from inspose_jax.checkpoints import Checkpoints, steps
from inspose_jax.config import Config
from inspose_jax.data import pipeline
from inspose_jax.training import sharding
from inspose_jax.training.step import State

FETCH_EVERY = 10
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "opencv-python-headless")


def train(
    config: Config,
    source: pipeline.Source,
    workdir: Path,
    num_steps: int,
    stop_at: int | None = None,
    resume: bool = False,
    initialise: Callable[[State], State] | None = None,
    note: str = "training",
) -> None:
    """Run `num_steps` steps (the schedule fits them) or up to `stop_at`, from the start or, with `resume`, from the
    newest checkpoint in `workdir`.  `initialise` puts pretrained weights into a new state.

    Raises ValueError for a workdir in use or a config that differs from the stored one, FloatingPointError when a loss
    is not finite; what was saved before stays.
    """
    config_.check(config)
    mesh = sharding.make_mesh(config.schedule.batch_size)
    plan = pipeline.make_plan(source, config, train=True)
    about = {"num_steps": num_steps, **json.loads(config_.to_json(config))}
    start = steps_done(workdir, about, resume)
    stop = min(num_steps, stop_at or num_steps)
    if start == 0:
        state = sharding.new_state(config, num_steps, mesh)
        if initialise is not None:
            state = jax.device_put(initialise(state), sharding.replicated(mesh))
    open_workdir(workdir, about, start)  # last of all that can fail: a run that cannot start leaves nothing behind
    step_function = sharding.jit_train_step(config, num_steps, mesh)
    with Checkpoints(workdir / "checkpoints") as checkpoints, (workdir / "metrics.jsonl").open("a") as lines:
        if start:
            state = checkpoints.restore(start, sharding.abstract_state(config, num_steps, mesh))
        rows = sharding.host_rows(mesh, config.schedule.batch_size)
        batches = pipeline.batches(source, plan, config, start, stop, rows)
        log = Log(lines, config.schedule.batch_size)
        bar = tqdm(range(start, stop), initial=start, total=stop, desc=note, unit="step", dynamic_ncols=True)
        for done in bar:
            asked = time.perf_counter()
            batch = sharding.put_batch(next(batches), mesh)
            log.waited += time.perf_counter() - asked
            state, measurements = step_function(state, batch)
            log.add(done + 1, measurements)
            saves = (done + 1) % config.schedule.save_every == 0 or done + 1 == stop
            if saves or (done + 1) % FETCH_EVERY == 0:
                bar.set_postfix_str(log.write())
            if saves:
                checkpoints.save(done + 1, state, config)


class Log:
    """Measurements on their way from the device to `metrics.jsonl`, and the speed since the last write."""

    def __init__(self, lines: Any, batch_size: int):
        self.lines, self.batch_size = lines, batch_size
        self.pending: list[tuple[int, dict[str, jax.Array]]] = []
        self.begin, self.waited = time.perf_counter(), 0.0

    def add(self, step: int, measurements: dict[str, jax.Array]) -> None:
        """Remember a step's scalars without reading them."""
        self.pending.append((step, measurements))

    def write(self) -> str:
        """Fetch everything at once, refuse what is not finite, write a line a step; a summary for the progress bar."""
        fetched = jax.device_get(self.pending)
        for step, measurements in fetched:
            # The terms before their sum and its gradient: the first that broke is the one to name.
            for name in sorted(measurements, key=lambda name: (not name.startswith("loss/"), name == "loss/total")):
                if not math.isfinite(measurements[name]):
                    raise FloatingPointError(
                        f"step {step}: {name} is {measurements[name]}; nothing from this step on was saved. "
                        f"Go on from the last checkpoint with --resume and a lower --config.schedule.learning-rate"
                    )
        seconds = time.perf_counter() - self.begin
        speed = {
            "images_per_s": round(len(fetched) * self.batch_size / seconds, 2),
            "data_wait": round(self.waited / seconds, 4),
        }
        for step, measurements in fetched:
            line = {"step": step, **{name: value.item() for name, value in measurements.items()}}
            if step % FETCH_EVERY == 0:
                line |= speed
            self.lines.write(json.dumps(line) + "\n")
        self.lines.flush()
        self.pending, self.begin, self.waited = [], time.perf_counter(), 0.0
        return f"loss {fetched[-1][1]['loss/total']:.3f}, {speed['images_per_s']:.1f} images/s"


def steps_done(workdir: Path, about: dict[str, Any], resume: bool) -> int:
    """At which step a run in `workdir` starts, 0 for a new one; ValueError where it cannot start there."""
    if not workdir.exists() or not any(workdir.iterdir()):
        return 0
    if not resume:
        raise ValueError(f"{workdir}: holds a run already; take another folder, or --resume to go on with it")
    stored = workdir / "config.json"
    if not stored.exists():
        raise ValueError(f"{workdir}: holds files but no run (no config.json); take another folder")
    differing = differences(json.loads(stored.read_text()), about)
    if differing:
        raise ValueError(
            f"{workdir}: was started with other values: {'; '.join(differing)}. Take those, or another folder"
        )
    return max(steps(workdir / "checkpoints"), default=0)


def open_workdir(workdir: Path, about: dict[str, Any], start: int) -> None:
    """Make `workdir` ready: resolved config, versions in use, no metrics of steps that are done again."""
    workdir.mkdir(parents=True, exist_ok=True)
    versions = {name: version(name) for name in PACKAGES} | {
        "inspose-jax": inspose_jax.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    (workdir / "versions.json").write_text(json.dumps(versions, indent=2))
    (workdir / "config.json").write_text(json.dumps(about, indent=2))
    metrics = workdir / "metrics.jsonl"
    if metrics.exists():
        # A run that was killed while it wrote leaves a line without an end.
        whole = [line for line in metrics.read_text().splitlines(keepends=True) if line.endswith("\n")]
        partial = metrics.with_suffix(".partial")
        partial.write_text("".join(line for line in whole if json.loads(line)["step"] <= start))
        partial.replace(metrics)


def differences(before: Any, now: Any, where: str = "") -> list[str]:
    """`field: before -> now` for every field of two nested dicts that differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = []
        for name in {**before, **now}:
            found += differences(before.get(name), now.get(name), f"{where}.{name}".lstrip("."))
        return found
    return [] if before == now else [f"{where} {before} -> {now}"]


def run_length(config: Config, source: pipeline.Source) -> int:
    """Steps of `schedule.epochs` epochs over `source`."""
    return config.schedule.epochs * pipeline.make_plan(source, config, train=True).steps_per_epoch

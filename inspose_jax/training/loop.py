"""The run: one step and one line of metrics per batch, sometimes a checkpoint; it resumes exactly where it stopped.

Before anything is saved, all measurements up to that step are checked to be finite.  Every process of a run does the
same at the same step; only the first one writes.
"""

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
from tqdm import tqdm

from inspose_jax import checkpoints, processes, run_folder
from inspose_jax.checkpoints import Checkpoints
from inspose_jax.config import Config
from inspose_jax.data import pipeline
from inspose_jax.method import Method
from inspose_jax.structures import Batch
from inspose_jax.training import sharding
from inspose_jax.training.interruption import Interruption
from inspose_jax.training.log import Log
from inspose_jax.training.start import Evaluation, Extras, Pretrained, Run, begin
from inspose_jax.training.step import State
from inspose_jax.training.trace import Trace
from inspose_jax.training.workdir import logged_value


class Records(NamedTuple):
    """Where a run writes."""

    latest: Checkpoints
    best: Checkpoints
    log: Log
    bar: tqdm


def train(
    config: Config,
    source: pipeline.LabelledSource,
    workdir: Path,
    num_steps: int,
    stop_at: int | None = None,
    resume: bool = False,
    pretrained: Pretrained | None = None,
    extras: Extras = Extras(),  # noqa: B008 (immutable)
    note: str = "training",
    method: Method | None = None,
) -> int:
    """Train up to step `num_steps`, for which the schedule is laid out, or only up to `stop_at`.

    A run starts from step 0 or, with `resume`, from the newest readable checkpoint in `workdir`.  Returns the step it
    reached, an earlier one after SIGTERM or Ctrl-C.  `method` is what is trained, by default the config's own.  A
    config that leaves its skeleton open gets that of the source.

    Raises UserError if the source has other joints, if the workdir is in use or the run differs from the stored one,
    NotFinite if a loss is not finite, NotWritten if a checkpoint cannot be written; what was saved before stays intact.
    """
    config = pipeline.for_data(config, source)
    run, state = begin(config, source, workdir, num_steps, stop_at, resume, pretrained, extras, method)
    due, batches = run.due, batches_of(run)
    config = run.config  # with the shapes that the given one may leave empty
    train_step = sharding.jit_train_step(run.method, config.schedule, num_steps, run.mesh, extras.on_nan)
    with (
        Interruption() as interruption,  # outermost, so that it covers the wait for the last save
        opened(run, note) as records,
        Trace(run.workdir / run_folder.PROFILE, due.traced) as trace,
    ):
        best_value = run_missed_evaluation(run, records, state)
        compiled: set[tuple[int, ...]] = set()
        for step in due.steps:
            trace.before(step)
            batch = next_batch(batches, run.mesh, records.log)
            asked = time.perf_counter()
            with jax.transfer_guard("disallow"):  # a step that waits for the host would stall the devices
                state, measurements = train_step(state, batch)
            if batch.image.shape not in compiled:
                compiled.add(batch.image.shape)
                report_compilation(batch.image.shape, time.perf_counter() - asked, records)
            records.log.add(step, measurements)

            stops = should_stop(interruption, due.fetches(step))
            saves, evaluates = due.saves(step) or stops, due.evaluates(step)
            if due.fetches(step) or saves or evaluates:
                write_measurements(run, records, keeps_last=not (saves or evaluates))
            records.bar.update()
            if saves:  # before anything else that can fail
                records.latest.save(step, state, config, run.method.recipe, **run.taken_over)
            if evaluates:
                best_value = evaluate(run, records, step, state, best_value)
            if due.tries_out(step):
                try_out_evaluation(run, records, state)
            trace.after(step, state)
            if stops:
                return step
    return due.stop


@contextlib.contextmanager
def opened(run: Run, note: str) -> Iterator[Records]:
    """The records of a run; on exit everything given to them is on disk."""
    start, batch_size, writes = run.due.start, run.config.schedule.batch_size, processes.is_first()

    def image_ids_of(step: int) -> list[int]:
        index = run.plan[step - 1].index
        return run.images.image_ids[index[index >= 0]].tolist()

    with (
        Checkpoints(run.workdir / run_folder.CHECKPOINTS, start) as latest,
        Checkpoints(run.workdir / run_folder.BEST, start, kept=1) as best,
        Log(run.workdir, start, batch_size, image_ids_of, run.extras.on_nan, writes) as log,
        tqdm(initial=start, total=run.due.stop, desc=note, unit="step", dynamic_ncols=True, disable=not writes) as bar,
    ):
        yield Records(latest, best, log, bar)


def batches_of(run: Run) -> Iterator[Batch]:
    """This process's rows of the batches of all steps, on the host."""
    rows = sharding.host_rows(run.config.schedule.batch_size, jax.process_index(), jax.process_count())
    return pipeline.batches(run.images, run.plan, run.config, run.due.start, run.due.stop, rows)


def next_batch(batches: Iterator[Batch], mesh: jax.sharding.Mesh, log: Log) -> Batch:
    """The next batch, on the devices; the log is told how long they waited for it."""
    log.wait_for_device()
    asked = time.perf_counter()
    batch = sharding.put_batch(next(batches), mesh)
    if log.is_device_idle():  # while the device computes, it does not wait
        log.waited += time.perf_counter() - asked
    return batch


def report_compilation(shape: tuple[int, ...], seconds: float, records: Records) -> None:
    """Print how long it took to compile the step for images of a shape, which does not count as training time."""
    records.log.begin += seconds
    if not records.bar.disable:
        number, height, width, _ = shape
        line = f"compiled the step for {number} images of {height} x {width} pixels in {seconds:.1f} s"
        tqdm.write(line, file=sys.stderr)


def should_stop(interruption: Interruption, is_meeting: bool) -> bool:
    """Whether the run ends after this step; several processes agree on it, at steps where `is_meeting` is set."""
    if jax.process_count() == 1:
        return interruption.received
    return is_meeting and processes.total(interruption.received) > 0


def write_measurements(run: Run, records: Records, keeps_last: bool) -> None:
    """Write new measurements, as `Log.write` does; raises as it, and UserError if too many images are unreadable."""
    unreadable = processes.union_size(run.images.unreadable, len(run.images))
    run.images.check(unreadable)
    if summary := records.log.write(unreadable, keeps_last):
        records.bar.set_postfix_str(summary)


def run_missed_evaluation(run: Run, records: Records, state: State) -> float:
    """Make up for an evaluation due at the step that a run resumes from; returns the value of the best checkpoint.

    The earlier run may have been cut off before that evaluation, or between it and saving the best checkpoint.
    """
    best_value = checkpoints.best_value(records.best.folder) if processes.is_first() else -math.inf
    best_value = processes.from_first(best_value)
    if run.due.evaluates(run.due.start):
        logged = processes.from_first(logged_value(run.workdir, run.due.start, run.extras.validation))
        if math.isnan(logged) or logged > best_value:
            return evaluate(run, records, run.due.start, state, best_value, is_logged=not math.isnan(logged))
    return best_value


def evaluate(run: Run, records: Records, step: int, state: State, best_value: float, is_logged: bool = False) -> float:
    """Evaluate, log it unless `is_logged`, save the state if it beats `best_value`; returns the new best value.

    A run that was cut off may have saved the best checkpoint of this very step, which then stays.
    """
    assert run.extras.evaluate is not None
    found: Evaluation = run.extras.evaluate(evaluated_variables(run, state))
    if not is_logged:
        records.log.evaluation(step, *found, run.extras.validation)
    records.log.begin = time.perf_counter()  # an evaluation does not count as training time
    value = next(iter(found.statistics.values()))
    if not value > best_value:
        return best_value
    if processes.from_first(float(records.best.holds(step))):
        return value
    more = {"statistics": found.statistics, "validation": run.extras.validation, **run.taken_over}
    records.best.save(step, state, run.config, run.method.recipe, **more)
    return value


def try_out_evaluation(run: Run, records: Records, state: State) -> None:
    """Check that an evaluation fits on the device; raises JAX's error if it does not."""
    assert run.extras.try_out is not None
    run.extras.try_out(evaluated_variables(run, state))
    records.log.begin = time.perf_counter()  # it does not count as training time


def evaluated_variables(run: Run, state: State) -> Any:
    """The variables of a state that are evaluated, on the host."""
    return jax.device_get(checkpoints.evaluated(state._asdict(), run.config))


def run_length(config: Config, source: pipeline.Source) -> int:
    """Number of steps in `schedule.epochs` epochs over `source`."""
    plan = pipeline.make_plan(source, pipeline.with_shapes(source, config), train=True)
    return config.schedule.epochs * plan.steps_per_epoch

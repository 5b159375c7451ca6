"""The run: for each batch a step, a line of metrics, now and then a checkpoint; it goes on exactly where it stopped.

Nothing is saved before all measurements up to it were seen to be finite.  Every process of a run does the same at the
same step; only the first one writes.
"""

import contextlib
import math
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
from inspose_jax.training.workdir import told_value


class Records(NamedTuple):
    """What a run writes to."""

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
    """Run `num_steps` steps (the schedule fits them) or up to `stop_at`, from the start or, with `resume`, from the
    newest checkpoint in `workdir`; gives back the step it came to, an earlier one after SIGTERM or Ctrl-C.

    `method` is what is trained, by default the one that the config is for.
    Raises ValueError for a workdir in use or a run that differs from the stored one, FloatingPointError when a loss is
    not finite, OSError when a checkpoint cannot be written; what was saved before stays.
    """
    run, state = begin(config, source, workdir, num_steps, stop_at, resume, pretrained, extras, method)
    due, batches = run.due, batches_of(run)
    make_step = sharding.jit_train_step(run.method, config.schedule, num_steps, run.mesh, extras.on_nan)
    with (
        Interruption() as interruption,  # first: what is saved last is waited for inside of it
        opened(run, note) as records,
        Trace(run.workdir / run_folder.PROFILE, due.traced) as trace,
    ):
        best_value = evaluate_what_was_cut_off(run, records, state)
        for step in due.steps:
            trace.before(step)
            batch = next_batch(batches, run.mesh, records.log)
            with jax.transfer_guard("disallow"):
                state, measurements = make_step(state, batch)
            records.log.add(step, measurements)

            leaves = is_told_to_leave(interruption, due.fetches(step))
            saves, evaluates = due.saves(step) or leaves, due.evaluates(step)
            if due.fetches(step) or saves or evaluates:
                write_measurements(run, records)
            records.bar.update()
            if saves:  # before anything else that may fail
                records.latest.save(step, state, config, run.method.recipe)
            if evaluates:
                best_value = evaluate(run, records, step, state, best_value)
            if due.tries_out(step):
                try_out_evaluation(run, records, state)
            trace.after(step, state)
            if leaves:
                return step
    return due.stop


@contextlib.contextmanager
def opened(run: Run, note: str) -> Iterator[Records]:
    """The records of a run; in the end all that was given to them is on disk."""
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
    """The next batch, on the devices; the log learns how long they waited for it."""
    log.wait_for_device()
    asked = time.perf_counter()
    batch = sharding.put_batch(next(batches), mesh)
    if log.is_device_idle():  # what the device computes meanwhile is no waiting
        log.waited += time.perf_counter() - asked
    return batch


def is_told_to_leave(interruption: Interruption, is_meeting: bool) -> bool:
    """Whether the run is to end after this step; several processes, all at the same step, ask each other at some."""
    if jax.process_count() == 1:
        return interruption.came
    return is_meeting and processes.total(interruption.came) > 0


def write_measurements(run: Run, records: Records) -> None:
    """Write what was measured since the last time; errors as `Log.write`, UserError if too little can be read."""
    unreadable = processes.union_size(run.images.unreadable, len(run.images))
    run.images.check(unreadable)
    records.bar.set_postfix_str(records.log.write(unreadable))


def evaluate_what_was_cut_off(run: Run, records: Records, state: State) -> float:
    """What the best checkpoint was chosen by; before the first step, an evaluation that is missing is made up, as it
    may have been cut off, or the best checkpoint after it.
    """
    best_value = checkpoints.best_value(records.best.folder) if processes.is_first() else -math.inf
    best_value = processes.of_first(best_value)
    if run.due.evaluates(run.due.start):
        told = processes.of_first(told_value(run.workdir, run.due.start, run.extras.validation))
        if math.isnan(told) or told > best_value:
            return evaluate(run, records, run.due.start, state, best_value, is_told=not math.isnan(told))
    return best_value


def evaluate(run: Run, records: Records, step: int, state: State, best_value: float, is_told: bool = False) -> float:
    """Evaluate, tell it unless it was told before, save where it is better than `best_value`; the best value now."""
    assert run.extras.evaluate is not None
    found: Evaluation = run.extras.evaluate(evaluated_variables(run, state))
    if not is_told:
        records.log.evaluation(step, *found, run.extras.validation)
    value = next(iter(found.statistics.values()))
    if not value > best_value:
        return best_value
    judged = {"statistics": found.statistics, "validation": run.extras.validation}
    records.best.save(step, state, run.config, run.method.recipe, **judged)
    return value


def try_out_evaluation(run: Run, records: Records, state: State) -> None:
    """See that an evaluation fits on the device; jax's error where it does not."""
    assert run.extras.try_out is not None
    run.extras.try_out(evaluated_variables(run, state))
    records.log.begin = time.perf_counter()  # it is no training time


def evaluated_variables(run: Run, state: State) -> Any:
    """What is evaluated of a state, on the host."""
    return jax.device_get(checkpoints.evaluated(state._asdict(), run.config))


def run_length(config: Config, source: pipeline.Source) -> int:
    """Steps of `schedule.epochs` epochs over `source`."""
    return config.schedule.epochs * pipeline.make_plan(source, config, train=True).steps_per_epoch

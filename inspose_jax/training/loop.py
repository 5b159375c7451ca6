"""The run: for each batch a step, a line of metrics, now and then a checkpoint; it goes on exactly where it stopped.

Nothing is saved before all measurements up to it were seen to be finite.  Every process of a run does the same at the
same step; only the first one writes.
"""

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from inspose_jax import checkpoints, config, devices, paths, processes, run_folder
from inspose_jax.checkpoints import Checkpoints
from inspose_jax.config import Config
from inspose_jax.data import pipeline
from inspose_jax.errors import UserError
from inspose_jax.method import Method
from inspose_jax.method import of as method_of
from inspose_jax.training import sharding
from inspose_jax.training import workdir as workdir_
from inspose_jax.training.interruption import Interruption
from inspose_jax.training.log import FETCH_EVERY, Log
from inspose_jax.training.step import State, state_of

# The step of an early checkpoint: a disk that cannot hold one is found before hours were spent. So is a device that an
# evaluation does not fit on: one is tried out then or, where a run goes on after that, at its first step.
FIRST_SAVE = 50


class Evaluation(NamedTuple):
    """What is known of a model in the middle of its training."""

    statistics: dict[str, float]  # the first is what the best checkpoint is chosen by
    sheet: np.ndarray  # u8[H,W,3] pictures with predictions


class Pretrained(NamedTuple):
    """Weights that a new run starts from."""

    path: Path  # the file they come from: a run goes on with no other
    into: Callable[[Any], Any]  # puts them into new variables


class Extras(NamedTuple):
    """What a launch may add to a run without changing the numbers of its steps."""

    evaluate: Callable[[Any], Evaluation] | None = None  # variables on the host -> how good they are
    eval_every: int = 0  # steps; at the end in any case
    on_nan: Literal["stop", "skip"] = "stop"  # what a step does whose loss or gradient is not finite
    profile: range = range(0)  # steps that are traced into the workdir
    validation: str = ""  # the fingerprint of what `evaluate` looks at
    try_out: Callable[[Any], None] | None = None  # variables on the host -> fails where `evaluate` lacks memory


def train(
    config_: Config,
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
    config.check(config_)
    devices.check()
    workdir = paths.absolute(workdir)  # a program may change its folder meanwhile
    schedule, method = config_.schedule, method or method_of(config_.model)
    mesh = sharding.make_mesh(schedule)
    pictures = pipeline.Tolerant(source)
    plan = pipeline.make_plan(pictures, config_, train=True)
    about = workdir_.description(config_, method, num_steps, source, pretrained and pretrained.path)
    saved = checkpoints.steps(workdir / run_folder.CHECKPOINTS)
    changed = []
    if workdir_.is_in_use(workdir, resume):
        changed = workdir_.changes(workdir, about, config_, method, has_saved=bool(saved))
    start, state = start_of(workdir, saved, method, schedule, pretrained, num_steps, mesh)
    if not processes.is_same(start):
        raise UserError(
            f"{workdir}: step {start} is what this process can read, another one reads another step; see "
            f"that all of them have the same folder, and that it can be read"
        )
    stop = max(start, min(num_steps, stop_at or num_steps))
    traced = range(max(start + 1, extras.profile.start), min(stop + 1, extras.profile.stop))
    if extras.profile and not traced:
        makes = f"makes the steps {start + 1} to {stop}" if start < stop else f"is done, at step {stop}"
        raise UserError(f"no step of {extras.profile[0]} to {extras.profile[-1]} can be traced: this run {makes}")
    processes.wait_for_all("start")  # nobody looks at the workdir any more when the first changes it
    is_first = processes.is_first()
    if is_first:  # last of all that can fail: a run that cannot start leaves nothing behind
        workdir_.open_workdir(workdir, about, changed, start, extras.validation)
    processes.wait_for_all("workdir")

    step_function = sharding.jit_train_step(method, schedule, num_steps, mesh, extras.on_nan)
    rows = sharding.host_rows(schedule.batch_size, jax.process_index(), jax.process_count())
    batches = pipeline.batches(pictures, plan, config_, start, stop, rows)

    def pictures_of(step: int) -> list[int]:
        index = plan[step - 1].index
        return source.image_ids[index[index >= 0]].tolist()

    with (
        Interruption() as interruption,  # first: what is saved last is waited for inside of it
        Checkpoints(workdir / run_folder.CHECKPOINTS, start) as latest,
        Checkpoints(workdir / run_folder.BEST, start, kept=1) as best,
        Log(workdir, start, schedule.batch_size, pictures_of, extras.on_nan, writes=is_first) as log,
        contextlib.ExitStack() as trace,
        tqdm(initial=start, total=stop, desc=note, unit="step", dynamic_ncols=True, disable=not is_first) as bar,
    ):
        best_so_far = processes.of_first(checkpoints.best_value(best.folder) if is_first else -math.inf)
        trial_at = max(FIRST_SAVE, start + 1)

        def evaluates(step: int) -> bool:
            at_intervals = extras.eval_every and step % extras.eval_every == 0
            return bool(extras.evaluate and step and (step == num_steps or at_intervals))

        def variables() -> Any:
            return jax.device_get(checkpoints.evaluated(state._asdict(), config_))

        def evaluate(step: int, is_told: bool) -> None:
            nonlocal best_so_far
            assert extras.evaluate is not None
            found = extras.evaluate(variables())
            if not is_told:
                log.evaluation(step, *found, extras.validation)
            value = next(iter(found.statistics.values()))
            if value > best_so_far:
                best_so_far = value
                judged = {"statistics": found.statistics, "validation": extras.validation}
                best.save(step, state, config_, method.recipe, **judged)

        if evaluates(start):  # it may have been cut off, or the best checkpoint after it
            told = processes.of_first(workdir_.evaluation(workdir, start, extras.validation))
            if math.isnan(told) or told > best_so_far:
                evaluate(start, is_told=not math.isnan(told))
        for step in range(start + 1, stop + 1):
            if traced and step == traced[0]:
                trace.enter_context(jax.profiler.trace(workdir / run_folder.PROFILE))
            log.wait_for_device()
            asked = time.perf_counter()
            batch = sharding.put_batch(next(batches), mesh)
            if log.is_device_idle():  # what the device computes meanwhile is no waiting
                log.waited += time.perf_counter() - asked
            with jax.transfer_guard("disallow"):
                state, measurements = step_function(state, batch)
            log.add(step, measurements)

            fetches = step % FETCH_EVERY == 0 or step == stop
            leaves = interruption.came
            if jax.process_count() > 1:  # all of them at the same step
                leaves = fetches and processes.total(interruption.came) > 0
            saves = step % config_.machine.save_every == 0 or step in (FIRST_SAVE, stop) or leaves
            if fetches or saves or evaluates(step):
                unreadable = processes.union_size(pictures.unreadable, len(pictures))
                pictures.check(unreadable)
                bar.set_postfix_str(log.write(unreadable))
            bar.update()
            if saves:  # before anything else that may fail
                latest.save(step, state, config_, method.recipe)
            if evaluates(step):
                evaluate(step, is_told=False)
            if extras.try_out and step == trial_at and not any(map(evaluates, range(start + 1, step + 1))):
                extras.try_out(variables())
                log.begin = time.perf_counter()  # no training time either
            if traced and step == traced[-1]:
                jax.block_until_ready(state)
                trace.close()
            if leaves:
                return step
    return stop


def start_of(
    workdir: Path,
    saved: list[int],
    method: Method,
    schedule: config.Schedule,
    pretrained: Pretrained | None,
    num_steps: int,
    mesh: jax.sharding.Mesh,
) -> tuple[int, State]:
    """How many steps are done, and the state after them: a new one, or that of the newest readable checkpoint."""
    if saved:
        like = sharding.abstract_state(method, schedule, num_steps, mesh)
        found, fields = checkpoints.newest(workdir / run_folder.CHECKPOINTS, like)
        return found["step"], State(**fields)
    if method.needs_weights and pretrained is None:
        raise UserError(method.needs_weights)
    state = sharding.new_state(method, schedule, num_steps, mesh)
    if pretrained is not None:
        variables = pretrained.into({"params": state.params, "batch_stats": state.batch_stats})
        state = state_of(variables, method, schedule, num_steps)
        state = jax.device_put(state, sharding.replicated(mesh))
    return 0, state


def run_length(config_: Config, source: pipeline.Source) -> int:
    """Steps of `schedule.epochs` epochs over `source`."""
    return config_.schedule.epochs * pipeline.make_plan(source, config_, train=True).steps_per_epoch

"""How a run starts: its inputs, and its first state, which is new or restored from a checkpoint."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from inspose_jax import checkpoints, devices, methods, paths, processes, run_folder
from inspose_jax.config import Config, Schedule
from inspose_jax.config_check import check
from inspose_jax.data import pipeline
from inspose_jax.data.plan import Plan
from inspose_jax.errors import UserError
from inspose_jax.method import Method
from inspose_jax.provenance import TAKEN_OVER
from inspose_jax.training import sharding
from inspose_jax.training.step import State, state_of
from inspose_jax.training.timetable import Timetable, traced_steps
from inspose_jax.training.workdir import changes, description, is_in_use, open_workdir, stored_run


class Evaluation(NamedTuple):
    """What an evaluation finds out about a model during training."""

    statistics: dict[str, float]  # the first one selects the best checkpoint
    sheet: np.ndarray  # u8[H,W,3] images with predictions


class Pretrained(NamedTuple):
    """Weights that a new run starts from."""

    identity: str  # a hash of what they are; a run resumes with no others
    into: Callable[[Any], tuple[Any, dict[str, str]]]  # new variables -> with them, and what was taken over, in words


class Extras(NamedTuple):
    """What a launch may add to a run without changing the numbers that its steps compute."""

    evaluate: Callable[[Any], Evaluation] | None = None  # variables on the host -> how good they are
    eval_every: int = 0  # steps; the end of the run is always evaluated
    on_nan: Literal["stop", "skip"] = "stop"  # what to do at a step whose loss or gradient is not finite
    profile: range = range(0)  # steps that are traced into the workdir
    validation: str = ""  # the fingerprint of what `evaluate` looks at
    try_out: Callable[[Any], None] | None = None  # variables on the host -> fails if `evaluate` would lack memory
    options: dict[str, Any] | None = None  # of the command line, to be kept in the run's history


class Run(NamedTuple):
    """What stays the same throughout a run."""

    config: Config
    method: Method
    workdir: Path
    images: pipeline.Tolerant
    plan: Plan
    mesh: jax.sharding.Mesh
    due: Timetable
    extras: Extras
    taken_over: dict[str, Any]  # what every checkpoint tells of the weights that the run started from


def with_shapes(config: Config, source: pipeline.LabelledSource, workdir: Path, resume: bool) -> Config:
    """The config with the shapes that it leaves empty: with `resume` those of the run in `workdir`, else found anew.

    Raises UserError as `stored_run` does.
    """
    if not config.data.shapes and resume and is_in_use(workdir, resume):
        _, then = stored_run(workdir, type(config.model))
        return replace(config, data=replace(config.data, shapes=then.data.shapes))
    return pipeline.with_shapes(source, config)


def begin(
    config: Config,
    source: pipeline.LabelledSource,
    workdir: Path,
    num_steps: int,
    stop_at: int | None,
    resume: bool,
    pretrained: Pretrained | None,
    extras: Extras,
    method: Method | None,
) -> tuple[Run, State]:
    """Prepare a run and its first state.

    The folder is prepared last, so that a run that cannot start leaves nothing behind.  `method` is what is trained, by
    default the config's own.

    Raises UserError if the run cannot start, OSError if a file cannot be read.
    """
    check(config)
    devices.check()
    method = method or methods.for_model(config.model)
    workdir = paths.absolute(workdir)  # the program may change its working directory meanwhile
    config = with_shapes(config, source, workdir, resume)
    mesh = sharding.make_mesh(config.schedule)
    images = pipeline.Tolerant(source)
    about = description(config, method, num_steps, source, pretrained and pretrained.identity)
    saved = checkpoints.steps(workdir / run_folder.CHECKPOINTS)
    # Before the plan: other data than the run's may not fit its shapes, which would be a misleading fault.
    changed = changes(workdir, about, config, method, bool(saved)) if is_in_use(workdir, resume) else []
    plan = pipeline.make_plan(images, config, train=True)
    start, state, taken_over = first_state(workdir, saved, method, config.schedule, pretrained, num_steps, mesh)
    if not processes.is_same(start):
        raise UserError(
            f"{workdir}: step {start} is the one that this process reads, but another process reads another step; make "
            f"sure that all processes see the same folder and can read it"
        )
    stop = max(start, min(num_steps, stop_at or num_steps))
    due = Timetable(
        start=start,
        stop=stop,
        num_steps=num_steps,
        save_every=config.machine.save_every,
        eval_every=extras.eval_every,
        has_evaluation=extras.evaluate is not None,
        has_trial=extras.try_out is not None,
        traced=traced_steps(extras.profile, start, stop),
    )
    processes.wait_for_all("start")  # all have finished reading the workdir before the first changes it
    if processes.is_first():
        open_workdir(workdir, about | taken_over, changed, start, extras.validation, extras.options)
    processes.wait_for_all("workdir")
    return Run(config, method, workdir, images, plan, mesh, due, extras, taken_over), state


def first_state(
    workdir: Path,
    saved: list[int],
    method: Method,
    schedule: Schedule,
    pretrained: Pretrained | None,
    num_steps: int,
    mesh: jax.sharding.Mesh,
) -> tuple[int, State, dict[str, Any]]:
    """The number of steps done and the state after them: a new one, or the newest readable one of the steps `saved`.

    The third value is what config.json and every checkpoint tell of the initial weights.
    """
    if saved:
        like = sharding.abstract_state(method, schedule, num_steps, mesh)
        found, fields = checkpoints.newest(workdir / run_folder.CHECKPOINTS, like)
        return found["step"], State(**fields), {TAKEN_OVER: found[TAKEN_OVER]} if TAKEN_OVER in found else {}
    if method.needs_weights and pretrained is None:
        raise UserError(method.needs_weights)
    state = sharding.new_state(method, schedule, num_steps, mesh)
    if pretrained is None:
        return 0, state, {}
    variables, told = pretrained.into({"params": state.params, "batch_stats": state.batch_stats})
    state = jax.device_put(state_of(variables, method, schedule, num_steps), sharding.replicated(mesh))
    return 0, state, {TAKEN_OVER: told} if told else {}

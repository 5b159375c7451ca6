"""`inspose sweep`: train and evaluate every row of a table that has no result yet, and write the table."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from inspose_jax.cli import arguments
from inspose_jax.errors import NotFinite, UserError

DEVICES = "CUDA_VISIBLE_DEVICES"  # what tells a process which GPUs it may use
HELD_OUT_SEED = 0  # of the images that all runs of all seeds are evaluated on


@dataclass
class Sweep:
    """Train and evaluate the rows of a table, with several seeds each, and write the table.

    A run that has a result file is not repeated, and one that was stopped resumes; the same command goes on.

    Example: inspose sweep experiments/table2
             inspose sweep experiments/table2 --processes 8     (one on each of eight GPUs)
    """

    folder: tyro.conf.Positional[Path]
    """Folder with a sweep.py."""
    workdirs: Path = Path("runs/sweep")
    """Folder for the runs' own folders.  Once a run has its result file, its folder is needed only if rows are added
    that differ from its row at test time alone; without it the run is made again."""
    processes: int = 1
    """Processes that share the runs; each sees one GPU, the first of those that may be used, the second, ..."""
    list: bool = False
    """Only list the runs and which of them have a result, and write the table."""


def run(argv: list[str]) -> None:
    """Make the missing runs, by this process or by several, and write the table after each of them."""
    launch, _ = arguments.parse(Sweep, argv, "sweep")
    arguments.check_range("processes", launch.processes, 1, arguments.MOST_WORKERS)

    from inspose_jax import files
    from inspose_jax.sweep import results, rows, tables

    sweep = rows.read(launch.folder)
    planned = plan(sweep)  # before any training, so that a wrong row is named at once
    folder = Path(os.path.normpath(launch.folder / sweep.results))
    if launch.list:
        for label, one in planned:
            is_done = results.statistics_of(results.read(folder, one), one.config, sweep.num_images) is not None
            print(f"{results.identity(one)}  {'done' if is_done else 'open'}  seed {one.config.schedule.seed}  {label}")
    elif launch.processes > 1:
        share(launch)
    else:
        with files.results_folder(folder), files.results_folder(launch.workdirs):
            make_runs(launch, sweep, planned, folder)
    tables.write(launch.folder, sweep, table(sweep, planned, folder))
    print(f"{launch.folder / tables.README}: the table, with {tables.CSV} and {tables.PLOT} beside it")


def plan(sweep: Any) -> list[tuple[str, Any]]:
    """(label of the row, run) of every row and seed; all rows of the first seed come first, so that a table fills up.

    Raises UserError for a row whose changes do not fit one of its recipes.
    """
    from inspose_jax import recipes
    from inspose_jax.cli import config_flags
    from inspose_jax.sweep import rows
    from inspose_jax.sweep.results import Run

    base, configs = recipes.read(sweep.recipe).config, {}
    if base.data.source != "drawn":
        raise UserError(f"the sweep's recipe {sweep.recipe} does not draw its images; give one with data.source drawn")
    for row in sweep.rows:
        try:
            configs[row.label] = config_flags.override(base, rows.arguments_here(row))
            full = recipes.read(row.full_recipe or sweep.full_recipe).config
            config_flags.override(full, rows.arguments_of(row.changes))
        except UserError as error:
            raise UserError(f"row {row.label}: {error}") from None
    return [
        (label, Run(replace(config, schedule=replace(config.schedule, seed=seed)), sweep.steps))
        for seed in sweep.seeds
        for label, config in configs.items()
    ]


def make_runs(launch: Sweep, sweep: Any, planned: list[tuple[str, Any]], folder: Path) -> None:
    """Train and evaluate what has no result yet and is not being made by another process.

    A run whose loss is not finite is left out, and named at the end by a UserError; the others go on.
    """
    from inspose_jax.sweep import results, tables

    failed = {}
    for number, (label, one) in enumerate(planned, start=1):
        with claimed(launch.workdirs / f"{results.identity(one)}.lock") as is_mine:
            if not is_mine or results.identity(one) in failed:
                continue
            if results.statistics_of(results.read(folder, one), one.config, sweep.num_images) is not None:
                continue
            print(f"run {number} of {len(planned)}: {label}, seed {one.config.schedule.seed}", flush=True)
            try:
                make_run(launch, sweep, one, f"run {number}/{len(planned)}", folder)
            except NotFinite as error:
                failed[results.identity(one)] = f"{label}, seed {one.config.schedule.seed}: {error}"
                continue
            tables.write(launch.folder, sweep, table(sweep, planned, folder))
    if failed:
        raise UserError(
            f"{len(failed)} of the runs failed, the others have their results: {'; '.join(failed.values())}"
        )


def make_run(launch: Sweep, sweep: Any, one: Any, note: str, folder: Path) -> None:
    """Train one run, or go on with it, evaluate it and write its result; raises KeyboardInterrupt if it was stopped."""
    from inspose_jax import checkpoints, provenance
    from inspose_jax.cli import sources
    from inspose_jax.evaluation import evaluator
    from inspose_jax.predictor import Predictor
    from inspose_jax.report.run import read_run, throughput
    from inspose_jax.sweep import results
    from inspose_jax.training import loop

    stored = results.read(folder, one)
    workdir = launch.workdirs / results.identity(one)
    source = sources.training_source(one.config, sources.Given())
    done = loop.train(one.config, source, workdir, one.steps, resume=True, note=note)
    if done < one.steps:
        print(f"stopped at step {done} of {one.steps}; the same command goes on from there")
        raise KeyboardInterrupt
    loaded = checkpoints.load(workdir)
    # The run's own config has the shapes and the skeleton that the planned one may leave open.
    data, model = replace(one.config.data, shapes=loaded.config.data.shapes), one.config.model
    tested = replace(one.config, data=data, model=replace(model, skeleton=loaded.config.model.skeleton))
    fixed = replace(tested, schedule=replace(tested.schedule, seed=HELD_OUT_SEED))
    held_out = sources.drawn(fixed, "test", sweep.num_images)
    statistics, _ = evaluator.evaluate(Predictor(tested, loaded.variables), held_out)
    seconds = throughput(read_run(workdir).metrics, one.config.schedule.batch_size).get("training_seconds", 0.0)
    facts = {"seed": one.config.schedule.seed, "minutes": round(seconds / 60, 1), "made_by": provenance.about()}
    results.write(
        folder, one, facts, [*stored["evaluations"], results.evaluation(one.config, sweep.num_images, statistics)]
    )


def table(sweep: Any, planned: list[tuple[str, Any]], folder: Path) -> Any:
    """The finished runs of every row."""
    from inspose_jax.sweep import results
    from inspose_jax.sweep.tables import Trained

    found: dict[str, list[Trained]] = {row.label: [] for row in sweep.rows}
    for label, one in planned:
        stored = results.read(folder, one)
        statistics = results.statistics_of(stored, one.config, sweep.num_images)
        if statistics is not None:
            name = results.path_of(folder, one).stem
            found[label].append(Trained(one.config.schedule.seed, name, stored["minutes"], statistics))
    return [(row, found[row.label]) for row in sweep.rows]


@contextlib.contextmanager
def claimed(lock: Path) -> Iterator[bool]:
    """Whether this process alone may make a run; the system releases the claim of a process that ends in any way."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def share(launch: Sweep) -> None:
    """Start processes that share the runs, each with one visible GPU; raises UserError if one of them fails.

    SIGTERM is passed on to them, so that each saves its run.
    """
    command = [sys.executable, "-m", "inspose_jax", "sweep", str(launch.folder), "--workdirs", str(launch.workdirs)]
    given = [device for device in os.environ.get(DEVICES, "").split(",") if device]
    if given and len(given) < launch.processes:
        raise UserError(f"--processes is {launch.processes}, but {DEVICES} names {len(given)} devices; give as many")
    devices = given or [str(number) for number in range(launch.processes)]
    children = [
        subprocess.Popen(command, env={**os.environ, DEVICES: device}) for device in devices[: launch.processes]
    ]

    def pass_on(number: int, _: object) -> None:
        for child in children:
            child.send_signal(number)

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        codes = [child.wait() for child in children]
    except KeyboardInterrupt:  # the terminal sends it to the children too; each saves its run first
        for child in children:
            child.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    if any(codes):
        raise UserError(f"{sum(map(bool, codes))} of {len(codes)} processes failed; their own lines say why")

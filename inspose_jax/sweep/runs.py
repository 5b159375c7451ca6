"""The runs of a sweep: which ones it needs, how the missing ones are made, and what came out of each row.

What reads the command line and what chooses data belongs to `cli`, which hands it over: `override` applies
`--config.FIELD VALUE` arguments to a config, `drawn` gives the drawn images of a split.
"""

import contextlib
import errno
import fcntl
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from inspose_jax import checkpoints, files, provenance, recipes
from inspose_jax.config import Config
from inspose_jax.data.pipeline import LabelledSource
from inspose_jax.data.splits import Split
from inspose_jax.errors import NotFinite, UserError
from inspose_jax.evaluation import evaluator
from inspose_jax.predictor import Predictor
from inspose_jax.report.run import read_run, throughput
from inspose_jax.sweep import hours, results, rows
from inspose_jax.sweep.results import Run
from inspose_jax.sweep.rows import Sweep
from inspose_jax.sweep.tables import Line, Trained
from inspose_jax.training import loop

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what a file system that cannot lock files answers
HELD_OUT_SEED = 0  # of the images that all runs of all seeds are evaluated on

Override = Callable[[Config, list[str]], Config]
Drawn = Callable[[Config, Split, int], LabelledSource]


class Planned(NamedTuple):
    """A sweep, its folder, and what each of its rows trains."""

    folder: Path
    sweep: Sweep
    here: dict[str, Config]  # by the row's label: the small config of its runs, but for their seed
    full: dict[str, Config]  # .. and its config at full size

    @property
    def results(self) -> Path:
        """The folder of the result files."""
        return (self.folder / self.sweep.results).resolve()

    def runs(self) -> list[tuple[str, Run]]:
        """(row's label, run), all rows of the first seed first, so that a table fills up."""
        return [
            (label, Run(replace(config, schedule=replace(config.schedule, seed=seed)), self.sweep.steps))
            for seed in self.sweep.seeds
            for label, config in self.here.items()
        ]

    def statistics(self, run: Run) -> dict[str, float] | None:
        """The stored statistics of a run; None if it has not been made, or not been evaluated as its config says."""
        return results.statistics_of(results.read(self.results, run), run.config, self.sweep.num_images)


class Wanted(NamedTuple):
    """An evaluation of a run that a row of a sweep asks for."""

    planned: Planned
    label: str  # of the row
    run: Run


def plan(folder: Path, override: Override) -> Planned:
    """Read the sweep of a folder; raises as `rows.read`, and UserError for a row that does not fit its recipes."""
    sweep = rows.read(folder)
    base, here, full = own_config(sweep.recipe), {}, {}
    if base.data.source != "drawn":
        raise UserError(f"the sweep's recipe {sweep.recipe} does not draw its images; give one with data.source drawn")
    for row in sweep.rows:
        try:
            here[row.label] = override(base, rows.arguments_here(row))
            full[row.label] = override(own_config(sweep.full_recipe_of(row)), rows.arguments_of(row.changes))
        except UserError as error:
            raise UserError(f"row {row.label}: {error}") from None
    return Planned(folder, sweep, here, full)


def own_config(name: str) -> Config:
    """The config of a recipe; raises as `recipes.read`, and UserError if the recipe defines a method."""
    recipe = recipes.read(name)
    if recipe.make_method is not None:
        raise UserError(f"{recipe.path}: defines its own method, but a sweep trains those of this package only")
    return recipe.config


def make_missing(
    sweeps: Sequence[Planned], workdirs: Path, drawn: Drawn, after: Callable[[Planned], None], start: str
) -> list[str]:
    """Make the runs without a result that no other process is making; `after` takes each sweep that such a run is of.

    Rows of several sweeps may share a run.  If one of them lacks it, all have it made and evaluated together: a run
    that is trained again loses its stored evaluations.

    `workdirs` and the folders of results must exist.  A run whose loss is not finite is left out, also by others with
    the same `start`; returns the reasons of all such runs.  Raises KeyboardInterrupt if a run was stopped.
    """
    groups: dict[tuple[Path, str], list[Wanted]] = {}
    for planned in sweeps:
        for label, run in planned.runs():
            groups.setdefault((planned.results, results.identity(run)), []).append(Wanted(planned, label, run))
    failed = []
    for number, ((_, name), group) in enumerate(groups.items(), start=1):
        failure = workdirs / f"{name}.failed"  # holds the start in which the run failed last
        with claimed(workdirs / f"{name}.lock") as is_mine:
            if not is_mine or (failure.exists() and failure.read_text() == start):
                continue
            if all(wanted.planned.statistics(wanted.run) is not None for wanted in group):
                continue
            labels = " / ".join(dict.fromkeys(wanted.label for wanted in group))
            labels = f"{labels}, seed {group[0].run.config.schedule.seed}"
            print(f"run {number} of {len(groups)}: {labels}", flush=True)
            try:
                make(group, workdirs / name, drawn, f"run {number}/{len(groups)}")
            except NotFinite as error:
                files.write(failure, start)
                failed.append(f"{labels}: {error}")
                continue
            for planned in {id(wanted.planned): wanted.planned for wanted in group}.values():
                after(planned)
    return failed


def make(group: Sequence[Wanted], workdir: Path, drawn: Drawn, note: str) -> None:
    """Train the run that a group shares, or go on with it, and evaluate it as each of their configs says.

    Stored evaluations of an earlier training are dropped.  Raises KeyboardInterrupt if the run was stopped.
    """
    folder, run = group[0].planned.results, group[0].run
    first = run.config
    done = loop.train(first, drawn(first, "train", first.data.num_drawn), workdir, run.steps, resume=True, note=note)
    if done < run.steps:
        print(f"stopped at step {done} of {run.steps}; the same command goes on from there")
        raise KeyboardInterrupt
    loaded = checkpoints.load(workdir)
    seconds = throughput(read_run(workdir).metrics, first.schedule.batch_size).get("training_seconds", 0.0)
    facts = {
        "seed": first.schedule.seed,
        "minutes": round(seconds / 60, 1),
        "made_by": provenance.about(),
        results.CHECKPOINT: checkpoints.identity(workdir)[:12],
    }
    stored = results.read(folder, run)
    is_same = stored.get(results.CHECKPOINT) == facts[results.CHECKPOINT]
    evaluations = stored["evaluations"] if is_same else []
    counts = {planned.sweep.num_images for planned, _, _ in group}
    tested = replace(first, schedule=replace(first.schedule, seed=HELD_OUT_SEED))
    held_out = {number: drawn(tested, "test", number) for number in counts}
    for planned, _, wanted in group:
        config, number = wanted.config, planned.sweep.num_images
        if results.statistics_of({"evaluations": evaluations}, config, number) is None:
            # The trained config has the shapes and the skeleton that the planned one may leave open.
            data = replace(config.data, shapes=loaded.config.data.shapes)
            model = replace(config.model, skeleton=loaded.config.model.skeleton)
            predictor = Predictor(replace(config, data=data, model=model), loaded.variables)
            statistics, _ = evaluator.evaluate(predictor, held_out[number])
            evaluations = [*evaluations, results.evaluation(config, number, statistics)]
            results.write(folder, run, facts, evaluations)


def table(planned: Planned) -> list[Line]:
    """The finished runs of every row, and what it takes at full size."""
    found: dict[str, list[Trained]] = {row.label: [] for row in planned.sweep.rows}
    for label, run in planned.runs():
        statistics = planned.statistics(run)
        if statistics is not None:
            minutes = results.read(planned.results, run)["minutes"]
            found[label].append(Trained(run.config.schedule.seed, results.identity(run), minutes, statistics))
    evaluate = "inspose eval --test-dev NAME" if planned.sweep.measured_on == rows.TEST_DEV else "inspose eval"
    lines, first = [], {}  # the label of the first row that trains something
    for row in planned.sweep.rows:
        config = planned.full[row.label]
        shares = first.setdefault(str(results.training_fields(config)), row.label)
        is_shared = shares != row.label
        command = evaluate if is_shared else f"inspose train {planned.sweep.full_recipe_of(row)}"
        command = f"{command} {row.changes}".strip()
        lines.append(Line(row, found[row.label], command, hours.hours(config), shares if is_shared else ""))
    return lines


@contextlib.contextmanager
def claimed(lock: Path) -> Iterator[bool]:
    """Whether this process alone may make a run; the system releases the claim of a process that ends in any way.

    On a file system without locks every process may, which is to be the only one.
    """
    with lock.open("w") as file:
        is_mine = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            is_mine = False
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
        yield is_mine


def has_locks(folder: Path) -> bool:
    """Whether the file system of a folder, which is made if it is not there, can lock files."""
    with files.results_folder(folder), tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            return False
    return True

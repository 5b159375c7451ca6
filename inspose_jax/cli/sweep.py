"""`inspose sweep`: train and evaluate every row of a table that has no result yet, and write the table."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from inspose_jax.cli import arguments
from inspose_jax.errors import NotFound, UserError

DEVICES = "CUDA_VISIBLE_DEVICES"  # what tells a process which GPUs it may use
START = "INSPOSE_SWEEP_START"  # tells processes that share the runs that they were started together
STOPPED = (130, -signal.SIGTERM, -signal.SIGINT)  # how a process ends that a signal stops in a run, or elsewhere


@dataclass
class Sweep:
    """Train and evaluate the rows of tables, with several seeds each, and write the tables.

    A run that has a result file is not repeated, and one that was stopped resumes; the same command goes on.

    Example: inspose sweep experiments/table2
             inspose sweep experiments/table2 --processes 8     (one on each of eight GPUs)
    """

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Folders with a sweep.py each."""
    workdirs: Path = Path("runs/sweep")
    """Folder for the runs' own folders.  Once a run has its result file, its folder is needed only if rows are added
    that differ from its row at test time alone; without it the run is made again."""
    processes: int = 1
    """Processes that share the runs; each sees one GPU, the first of those that may be used, the second, ..."""
    list: bool = False
    """Only list the runs and which of them have a result, and write the tables."""
    summary: arguments.Place = None
    """A Markdown file, such as a README.md, in which a table of all rows with a number in the paper is renewed."""


def run(argv: list[str]) -> None:
    """Make the missing runs, by this process or by several, and write a folder's table after each of them."""
    launch, _ = arguments.parse(Sweep, argv, "sweep")
    if not launch.folders:
        raise UserError("there is no sweep to make: give a folder with a sweep.py, such as experiments/table2")
    arguments.check_range("processes", launch.processes, 1, arguments.MOST_WORKERS)
    if launch.summary is not None and not launch.summary.is_file():
        raise NotFound(f"{launch.summary}: no such file; give an existing one, in which a table is renewed")

    from inspose_jax import files
    from inspose_jax.cli import config_flags, sources
    from inspose_jax.sweep import results, runs, tables

    # All of them before any training, so that a wrong row is named at once.
    sweeps = [runs.plan(folder, config_flags.override) for folder in launch.folders]
    for written in (*(folder / tables.README for folder in launch.folders), *filter(None, [launch.summary])):
        tables.check_marks(written)
    failed: list[str] = []
    codes: list[int] = []
    if launch.list:
        for planned in sweeps:
            for label, one in planned.runs():
                state = "open" if planned.statistics(one) is None else "done"
                print(f"{results.identity(one)}  {state}  seed {one.config.schedule.seed}  {label}")
    elif launch.processes > 1:
        codes = share(launch)
    else:
        start = os.environ.get(START) or secrets.token_hex(8)
        with contextlib.ExitStack() as folders:
            for folder in (launch.workdirs, *(planned.results for planned in sweeps)):
                folders.enter_context(files.results_folder(folder))
            failed = runs.make_missing(
                sweeps,
                launch.workdirs,
                sources.drawn,
                lambda planned: tables.write(planned.folder, planned.sweep, runs.table(planned)),
                start,
            )
    lines = [runs.table(planned) for planned in sweeps]
    for planned, table in zip(sweeps, lines, strict=True):
        tables.write(planned.folder, planned.sweep, table)
        print(f"{planned.folder / tables.README}: the table, with its numbers in {tables.CSV} beside it")
    if launch.summary is not None:
        named = [(planned.folder, planned.sweep, table) for planned, table in zip(sweeps, lines, strict=True)]
        tables.write_summary(launch.summary, named)
        print(f"{launch.summary}: the rows of the paper's tables")
    if failed:
        raise UserError(f"{len(failed)} of the runs failed, the others have their results: {'; '.join(failed)}")
    if broken := [code for code in codes if code not in (0, *STOPPED)]:
        raise UserError(f"{len(broken)} of {len(codes)} processes failed; their own lines say why")
    if any(codes):
        raise KeyboardInterrupt


def share(launch: Sweep) -> list[int]:
    """Let processes share the runs, each with one visible GPU; returns their exit codes.

    SIGTERM is passed on to them, so that each saves its run.
    """
    from inspose_jax.sweep import runs

    folders = [str(folder) for folder in launch.folders]
    command = [sys.executable, "-m", "inspose_jax", "sweep", *folders, "--workdirs", str(launch.workdirs)]
    given = [device for device in os.environ.get(DEVICES, "").split(",") if device]
    if given and len(given) < launch.processes:
        raise UserError(f"--processes is {launch.processes}, but {DEVICES} names {len(given)} devices; give as many")
    if not runs.has_locks(launch.workdirs):
        raise UserError(
            f"{launch.workdirs}: its file system has no locks, by which processes share the runs; choose other "
            f"--workdirs, or one process"
        )
    devices = given or [str(number) for number in range(launch.processes)]
    environment = {**os.environ, START: secrets.token_hex(8)}
    children = [
        subprocess.Popen(command, env={**environment, DEVICES: device}) for device in devices[: launch.processes]
    ]

    def pass_on(number: int, _: object) -> None:
        for child in children:
            child.send_signal(number)

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        return [child.wait() for child in children]
    except KeyboardInterrupt:  # the terminal sends it to the children too; each saves its run first
        return [child.wait() or 130 for child in children]
    finally:
        signal.signal(signal.SIGTERM, before)

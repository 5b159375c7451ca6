"""The results of a sweep as `results.csv`, as a table in its README.md, and as a plot beside the paper's numbers.

A summary has the rows of several sweeps that have a number in the paper.
"""

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from inspose_jax import files
from inspose_jax.errors import UserError
from inspose_jax.report.curves import COLOURS
from inspose_jax.report.figure import FAINT, INK, STYLE
from inspose_jax.sweep.hours import ASSUMED
from inspose_jax.sweep.rows import BOX_AP, MINIVAL, RECALLS, SECONDS, STATISTICS, TEST_DEV, Row, Sweep

CSV, README, PLOT = "results.csv", "README.md", "plot.svg"
BEGIN, END = "<!-- written by inspose sweep -->", "<!-- end of what inspose sweep wrote -->"
OF_PAPER = {
    MINIVAL: "The paper's numbers are those of COCO's minival, the images of val2017.",
    TEST_DEV: "The paper's numbers are those of COCO's test-dev, whose labels are secret.",
}
FULL = {
    MINIVAL: "The rows at full size, on COCO; `train` also needs `--data`, `--init` and a `--workdir` of its own, "
    "`eval` needs `--data` and the run that is named as `--checkpoint`:",
    TEST_DEV: "The rows at full size, on COCO; `train` also needs `--data`, `--init` and a `--workdir` of its own. "
    "`eval` writes the file from which COCO's server computes the numbers; it also needs `--images coco/test2017`, "
    "`--annotations coco/annotations/image_info_test-dev2017.json`, a folder as `--out`, and as `--checkpoint` the run "
    "that is named. So does the evaluation of a row that is trained, by `inspose eval --test-dev NAME`:",
}


class Trained(NamedTuple):
    """A finished run of a row."""

    seed: int
    run: str  # the name of its result file
    minutes: float
    statistics: dict[str, float]  # fractions; -1 where there is nothing to measure


class Line(NamedTuple):
    """A row of a table."""

    row: Row
    runs: list[Trained]  # the finished ones
    command: str  # at full size, without its data
    hours: float | None  # of training at full size on one accelerator, if that is known
    shares: str = ""  # the label of a row above it that trains the same run at full size


Table = list[Line]


def write(folder: Path, sweep: Sweep, table: Table) -> None:
    """Write all three files into the sweep's folder, each completely or not at all; no plot before there is a run.

    Raises as `check_marks`.
    """
    check_marks(folder / README)
    files.write(folder / CSV, as_csv(table))
    readme = folder / README
    text = readme.read_text(encoding="utf-8") if readme.exists() else f"# {sweep.question}\n\n{BEGIN}\n{END}\n"
    files.write(readme, with_table(text, as_markdown(sweep, table)))
    if any(line.runs for line in table):
        with files.atomic(folder / PLOT) as partial:
            plot(table, partial)


def columns(table: Table) -> tuple[str, ...]:
    """The statistics that a table shows: average recall if the paper has it, box AP if the paper or a run has it."""
    papers = [line.row.paper for line in table]
    statistics = [run.statistics for line in table for run in line.runs]
    recalls = [name for name in RECALLS if any(name in paper for paper in papers)]
    boxes = [BOX_AP] if any(BOX_AP in values for values in (*papers, *statistics)) else []
    return (*STATISTICS, *recalls, *boxes)


def as_csv(table: Table) -> str:
    """One line for each run."""
    shown = columns(table)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "seed", "run", "minutes", *shown])
    for line in table:
        for run in line.runs:
            writer.writerow(
                [line.row.label, run.seed, run.run, run.minutes, *(run.statistics.get(name, "") for name in shown)]
            )
    return text.getvalue()


def check_marks(path: Path) -> None:
    """Raise UserError if a file, which need not be there, has the mark before a table but none after it.

    Then it is unknown which text belongs to an earlier table.
    """
    _, mark, rest = (path.read_text(encoding="utf-8") if path.exists() else "").partition(BEGIN)
    if mark and END not in rest:
        raise UserError(f"{path}: has the line `{BEGIN}`, but no line `{END}` after it; add it after the table")


def with_table(readme: str, table: str) -> str:
    """A README with the table between the two marks, in place of an earlier one; at its end if it has no marks."""
    before, mark, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before if mark else readme.rstrip() + chr(10) * 2}{BEGIN}\n\n{table}\n{END}{after if mark else chr(10)}"


def as_markdown(sweep: Sweep, table: Table) -> str:
    """A line for each row: the paper's numbers, and the mean and standard deviation of the seeds here, in percent."""
    shown = columns(table)
    in_paper = [name for name in (*shown, SECONDS) if any(name in line.row.paper for line in table)]
    header = ["", *(f"paper's {name}" for name in in_paper), *(f"{name} here" for name in shown), "runs", "hours"]
    cells = []
    for line in table:
        paper = [of_paper(line.row, name) for name in in_paper]
        hours = "shared" if line.shares else "" if line.hours is None else f"{line.hours:.1f}"
        cells.append(
            [line.row.label, *paper, *(mean_and_deviation(line, name) for name in shown), made(sweep, line), hours]
        )
    text = markdown_table(header, cells)
    if in_paper:
        text += f"\n\n{OF_PAPER[sweep.measured_on]}"
    minutes = [run.minutes for line in table for run in line.runs]
    if minutes:
        shown_as = "Mean ± standard deviation of the seeds" if len(sweep.seeds) > 1 else "One seed"
        text += (
            f"\n\nHere: `inspose sweep` of this folder, {sweep.steps} steps of `{sweep.recipe}`, evaluated on "
            f"{sweep.num_images} held-out images. {shown_as}, in percent. "
            f"Training took {np.median(minutes):.0f} minutes a run in the median.\n\n![AP of every row]({PLOT})"
        )
    commands = "\n".join(
        f"{line.command}    # {line.row.label}{line.shares and f': the run of {line.shares}'}" for line in table
    )
    return f"{text}\n\n{FULL[sweep.measured_on]}\n\n```sh\n{commands}\n```\n\n{ASSUMED}\n"


def write_summary(path: Path, sweeps: list[tuple[Path, Sweep, Table]]) -> None:
    """Renew, in a Markdown file, the table of the rows of some sweeps, each with its folder.

    Raises as `check_marks`.
    """
    check_marks(path)
    summary = as_summary(path, sweeps)
    files.write(path, with_table(path.read_text(encoding="utf-8"), summary))


def as_summary(path: Path, sweeps: list[tuple[Path, Sweep, Table]]) -> str:
    """A line for each row with an AP in the paper; links start from the folder of `path`."""
    cells = []
    for folder, sweep, table in sweeps:
        link = f"[{sweep.question.partition(':')[0]}]({os.path.relpath(folder / README, path.parent)})"
        for line in table:
            if "AP" in line.row.paper:
                paper, here = of_paper(line.row, "AP"), mean_and_deviation(line, "AP")
                command = f"`{line.command}`{line.shares and f', on the run of {line.shares}'}"
                cells.append([link, line.row.label, paper, sweep.measured_on, here, made(sweep, line), command])
    header = ["", "row", "paper's AP", "on COCO's", "AP here", "runs here", "at full size"]
    return markdown_table(header, cells, numbers=(2, 4)) + "\n"


def markdown_table(header: list[str], cells: list[list[str]], numbers: Iterable[int] | None = None) -> str:
    """A table in Markdown, in which the columns `numbers` are flush right; by default all but the first."""
    right = range(1, len(header)) if numbers is None else numbers
    rule = ["---:" if i in right else "---" for i in range(len(header))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *cells))


def of_paper(row: Row, name: str) -> str:
    """A number of a row in the paper, with as many decimals as there; empty if it has none."""
    return f"{row.paper[name]:.{2 if name == SECONDS else 1}f}" if name in row.paper else ""


def mean_and_deviation(line: Line, name: str) -> str:
    """A statistic of a row's runs, as `in_percent` writes it."""
    return in_percent([run.statistics.get(name, -1.0) for run in line.runs])


def made(sweep: Sweep, line: Line) -> str:
    """How many of a row's runs are finished."""
    return f"{len(line.runs)} of {len(sweep.seeds)}"


def in_percent(values: list[float]) -> str:
    """Mean and standard deviation of fractions, in percent; empty if none of them was measured."""
    measured = [100 * value for value in values if value >= 0]
    if not measured:
        return ""
    if len(measured) == 1:
        return f"{measured[0]:.1f}"
    return f"{np.mean(measured):.1f} ± {np.std(measured, ddof=1):.1f}"


def plot(table: Table, path: Path) -> None:
    """Write `figure_of` as an SVG."""
    import matplotlib

    with matplotlib.rc_context(rc=STYLE | {"svg.hashsalt": "inspose"}):  # the same file for the same runs
        figure_of(table).savefig(path, format="svg", metadata={"Date": None})


def figure_of(table: Table) -> Any:
    """AP of every row: the paper's in one panel, if it has any; every run here, with the rows' means, in another."""
    from matplotlib.figure import Figure

    has_paper = any("AP" in line.row.paper for line in table)
    longest = max(len(line.row.label) for line in table)  # characters, of .085 inches
    size = (0.085 * longest + 3 * (1 + has_paper), 0.9 + 0.36 * len(table))
    figure = Figure(figsize=size, layout="constrained")
    axes: Any = figure.subplots(1, 1 + has_paper, squeeze=False, sharey=True)[0]
    places = range(len(table))
    if has_paper:
        axes[0].plot([line.row.paper.get("AP", np.nan) for line in table], places, "D", color=INK, markersize=4.5)
        axes[0].set_xlabel("AP in the paper, %")
    for place, line in zip(places, table, strict=True):
        values = [100 * run.statistics["AP"] for run in line.runs]
        axes[-1].plot(values, [place] * len(values), "o", color=COLOURS[0], markersize=3.5, alpha=0.6)
        if values:
            axes[-1].plot([np.mean(values)], [place], "|", color=COLOURS[1], markersize=13, markeredgewidth=2)
    axes[-1].set_xlabel("AP here, %: every run, and the mean")
    axes[0].set_yticks(list(places), [line.row.label for line in table], color=INK)
    axes[0].set_ylim(len(table) - 0.5, -0.5)
    for axis in axes:
        axis.margins(x=0.1)
        axis.locator_params(axis="x", nbins=5)  # so that numbers such as 58.75 do not touch
        axis.tick_params(axis="y", length=0)
        axis.xaxis.label.set_color(FAINT)
    return figure

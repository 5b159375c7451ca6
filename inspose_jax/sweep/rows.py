"""What a sweep compares: the rows of a table, each of which changes some fields of one recipe."""

import math
import runpy
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inspose_jax.errors import NotFound, UserError

FILE = "sweep.py"  # in a sweep's folder
STATISTICS = ("AP", "AP50", "AP75", "APM", "APL")
RECALLS = ("AR", "AR50", "AR75")
BOX_AP = "box AP"
SECONDS = "seconds an image"
IN_PAPER = (*STATISTICS, *RECALLS, BOX_AP, SECONDS)  # what a row may have in the paper
MINIVAL, TEST_DEV = "minival", "test-dev"  # parts of COCO; the labels of the second are secret


@dataclass(frozen=True)
class Row:
    """A row of a table: what differs from the sweep's recipes, as typed on the command line.

    `changes` are `--config.FIELD VALUE` arguments for both recipes, `changes_here` are more of them for the small
    recipe, whose layers may have other sizes.
    """

    label: str
    changes: str = ""
    changes_here: str = ""
    full_recipe: str = ""  # of this row at full size, if it is not the sweep's
    paper: Mapping[str, float] = field(default_factory=dict)  # some of `IN_PAPER`; statistics in percent, as AP: 63.1


@dataclass(frozen=True)
class Sweep:
    """A question, the rows that answer it, and how each row is trained and evaluated here.

    Every row is trained from the small `recipe` for `steps` steps with each of the `seeds`, and evaluated on the same
    `num_images` held-out drawn images.  `full_recipe` is the row's recipe for COCO, which a sweep only shows.
    """

    question: str
    rows: tuple[Row, ...]
    steps: int
    recipe: str = "drawn_people_p3"
    full_recipe: str = "r50_coco_36e"
    seeds: tuple[int, ...] = (0, 1, 2)
    num_images: int = 500
    results: str = "results"  # folder of the result files, from the sweep's folder; several sweeps may share it
    measured_on: str = MINIVAL  # the part of COCO that the paper's numbers are of, MINIVAL or TEST_DEV

    def full_recipe_of(self, row: Row) -> str:
        """The recipe of a row for COCO."""
        return row.full_recipe or self.full_recipe


def read(folder: Path) -> Sweep:
    """Execute the file `sweep.py` of a folder, whose function `sweep` returns a `Sweep`.

    Raises NotFound if there is no such file, and UserError if it fails or does not return a valid sweep.
    """
    path = folder / FILE
    if not path.is_file():
        raise NotFound(
            f"{path}: no such file; a sweep is a folder with a {FILE}, whose function `sweep` returns a Sweep"
        )
    try:
        found = runpy.run_path(str(path))
        made = found["sweep"]() if callable(found.get("sweep")) else None
    except (Exception, SystemExit) as error:  # a user's file may raise anything
        raise UserError(f"{path}: fails with {type(error).__name__}: {error}; correct it") from error
    if not isinstance(made, Sweep):
        raise UserError(f"{path}: not a sweep; it needs a function `sweep` that returns a Sweep")
    if wrong := fault(made):
        raise UserError(f"{path}: {wrong}")
    return made


def fault(sweep: Sweep) -> str:
    """The reason why a sweep is invalid, as text; empty for a valid one.  A user's file may put anything anywhere."""
    if wrong := not_text(sweep, ("question", "recipe", "full_recipe", "results")):
        return wrong
    for name in ("steps", "num_images"):
        value = getattr(sweep, name)
        if not is_whole(value, 1):
            return f"`{name}` is {value!r}; it must be a whole number of at least 1"
    if sweep.measured_on not in (MINIVAL, TEST_DEV):
        return f"`measured_on` is {sweep.measured_on!r}; it must be {MINIVAL} or {TEST_DEV}"
    if not isinstance(sweep.seeds, Sequence) or not all(is_whole(seed, 0) for seed in sweep.seeds):
        return f"`seeds` is {sweep.seeds!r}; it must be a tuple of whole numbers of at least 0"
    if not sweep.seeds or len(set(sweep.seeds)) < len(sweep.seeds):
        return "`seeds` must hold at least one seed, and none twice"
    if not isinstance(sweep.rows, Sequence) or not all(isinstance(row, Row) for row in sweep.rows):
        return "`rows` must be a tuple of Rows only"
    for row in sweep.rows:
        if wrong := row_fault(row):
            return f"row {row.label}: {wrong}"
    labels = [row.label for row in sweep.rows]
    if not labels or len(set(labels)) < len(labels):
        return "`rows` must hold at least one row, and no label twice"
    return ""


def row_fault(row: Row) -> str:
    """The reason why a row is invalid, as text; empty for a valid one."""
    if wrong := not_text(row, ("label", "changes", "changes_here", "full_recipe")):
        return wrong
    if not isinstance(row.paper, Mapping):
        return f"`paper` is {row.paper!r}; it must map names of statistics to numbers"
    for name, value in row.paper.items():
        if name not in IN_PAPER:
            return f"`paper` has {name!r}; it may have {', '.join(IN_PAPER)}"
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return f"`paper` has {value!r} for {name}; give a number"
    return ""


def not_text(holder: Row | Sweep, names: Sequence[str]) -> str:
    """Which of some fields is no text, and what it is; empty if all of them are."""
    for name in names:
        value = getattr(holder, name)
        if not isinstance(value, str):
            return f"`{name}` is {value!r}; it must be text"
    return ""


def is_whole(value: object, least: int) -> bool:
    """Whether a value is a whole number of at least `least`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def arguments_of(changes: str) -> list[str]:
    """Changes as the words of a command line; raises UserError for an unclosed quote."""
    try:
        return shlex.split(changes)
    except ValueError as error:
        raise UserError(f"its changes {changes!r} cannot be read ({error}); correct them") from None


def arguments_here(row: Row) -> list[str]:
    """A row's changes of the small recipe, as words of a command line."""
    return arguments_of(f"{row.changes} {row.changes_here}")

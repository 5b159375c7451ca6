"""What a sweep compares: the rows of a table, each of which changes some fields of one recipe."""

import runpy
import shlex
from collections.abc import Mapping
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
    """The reason why a sweep is invalid, as text; empty for a valid one."""
    labels = [getattr(row, "label", None) for row in sweep.rows]
    if not labels or len(set(labels)) < len(labels):
        return "`rows` must hold at least one row, and no label twice"
    if not sweep.seeds or len(set(sweep.seeds)) < len(sweep.seeds):
        return "`seeds` must hold at least one seed, and none twice"
    if not all(isinstance(row, Row) for row in sweep.rows):
        return "`rows` must hold Rows only"
    for name in ("steps", "num_images"):
        value = getattr(sweep, name)
        if not isinstance(value, int) or value < 1:
            return f"`{name}` is {value}; it must be a whole number of at least 1"
    return ""


def arguments_of(changes: str) -> list[str]:
    """Changes as the words of a command line; raises UserError for an unclosed quote."""
    try:
        return shlex.split(changes)
    except ValueError as error:
        raise UserError(f"its changes {changes!r} cannot be read ({error}); correct them") from None


def arguments_here(row: Row) -> list[str]:
    """A row's changes of the small recipe, as words of a command line."""
    return arguments_of(f"{row.changes} {row.changes_here}")

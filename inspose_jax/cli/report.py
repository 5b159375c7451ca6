"""`inspose report`: one HTML page of a run."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from inspose_jax import run_folder
from inspose_jax.cli import arguments
from inspose_jax.errors import UserError


@dataclass
class Report:
    """Show a run on one self-contained HTML page, even while it is going on or after it was killed.

    Example: inspose report runs/a                        (writes runs/a/report.html)
             inspose report runs/a --out a.html --images holiday/
    """

    workdir: tyro.conf.Positional[Path]
    """A run's folder, the --workdir of its training."""
    out: arguments.Place = None
    """The page; by default WORKDIR/report.html."""
    images: arguments.Place = None
    """Folder of images: the first twelve are shown with the people found in them."""
    recipe: arguments.Place = None
    """The run's recipe, if it defines a method of its own."""


def run(argv: list[str]) -> None:
    """Read the run, find people in images if there is a checkpoint, and write the page."""
    launch, _ = arguments.parse(Report, argv, "report")
    out = launch.out or launch.workdir / run_folder.PAGE
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{out}: not named like a page; the name must end in .html")

    from inspose_jax import files, recipes
    from inspose_jax.cli.predict import is_video, list_files, skipped_files
    from inspose_jax.data import image_files
    from inspose_jax.report import page, people
    from inspose_jax.report.run import read_run

    trained_run = read_run(launch.workdir)
    recipe = recipes.read(launch.recipe) if launch.recipe is not None else None
    found = list_files((launch.images,)) if launch.images is not None else []
    paths = [path for path in found if not is_video(path)]
    if found and not paths:
        raise UserError(f"{launch.images}: no image there, only videos; `inspose predict` draws them")
    others = skipped_files((launch.images,), image_files.SUFFIXES) if launch.images is not None else []
    with files.atomic(out) as partial:
        partial.write_text(page.page_of(trained_run, people.show_run(launch.workdir, paths, recipe)), encoding="utf-8")
    for line in others:
        print(line)
    print(out)

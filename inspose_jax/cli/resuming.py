"""`inspose train --resume` without the recipe and the data: they are those that the run was started with.

Every start writes the options that name data into a line of the run's history; its config.json has all the rest.
"""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from inspose_jax import run_folder
from inspose_jax.cli.arguments import Parts
from inspose_jax.config import Config
from inspose_jax.errors import NotFound, UserError

TOGETHER = (  # options of `inspose train`; those of a row are given together
    ("data", "images", "annotations"),
    ("val_data", "val_images", "val_annotations"),
    ("category",),
    ("eval_every",),
)


class Options(NamedTuple):
    """The options that a start which resumes may leave out."""

    parts: Parts
    eval_every: int | None

    def by_name(self) -> dict[str, Any]:
        """The value of each."""
        return {**vars(self.parts), "eval_every": self.eval_every}

    def given(self) -> dict[str, Any]:
        """Those that have a value, as JSON has them; paths are absolute."""
        return {
            name: str(value.absolute()) if isinstance(value, Path) else value
            for name, value in self.by_name().items()
            if value
        }


def completed(options: Options, workdir: Path) -> tuple[Options, str]:
    """The options of a start that resumes, with those of the run's earlier one where it gives none.

    The second value is what was added, as the user would type it.
    """
    earlier = next((found for found in starts(workdir) if found), {})
    values = options.by_name()
    missing = [name for row in TOGETHER if not any(values[name] for name in row) for name in row]
    if "data" not in missing:  # other data, which need not have the category
        missing = [name for name in missing if name != "category"]
    added = {name: earlier[name] for name in missing if name in earlier}
    values |= {name: value if name in ("category", "eval_every") else Path(value) for name, value in added.items()}
    words = " ".join(f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in added.items())
    eval_every = values.pop("eval_every")
    return Options(Parts(**values), eval_every), words


def starts(workdir: Path) -> Iterator[dict[str, Any]]:
    """What each start of a run was given, the latest first; a line that cannot be read counts as nothing."""
    history = workdir / run_folder.HISTORY
    for line in reversed(history.read_text(errors="replace").splitlines() if history.is_file() else []):
        try:
            yield dict(json.loads(line).get(run_folder.OPTIONS) or {})
        except (ValueError, TypeError, AttributeError):
            yield {}


def stored(workdir: Path) -> tuple[Config, int]:
    """The config of a run, and its number of steps; UserError if the folder holds no run, or one of a recipe's own."""
    from inspose_jax.training import workdir as run_workdir

    if not workdir.is_dir():
        raise NotFound(
            f"{workdir}: no such run; give the folder of the run that is to go on, or a recipe for a new one"
        )
    if own := run_workdir.stored_description(workdir).get("recipe"):
        raise UserError(f"{workdir}: its recipe, {own.split()[0]}, has a method of its own; give the recipe again")
    about, config = run_workdir.stored_run(workdir, type(Config().model))
    return config, about["num_steps"]

"""A recipe: found by its path, or by a name in ./configs or the package; changed by flags; described."""

import dataclasses
import inspect
import runpy
import textwrap
import typing
from pathlib import Path
from typing import Any

from inspose_jax import config, paths
from inspose_jax.cli import arguments
from inspose_jax.config import Config
from inspose_jax.errors import UserError

PACKAGE = Path(__file__).parents[1]
CARRIED = [PACKAGE / "configs", PACKAGE.parent / "configs"]  # in a wheel, in a checkout


def carried(name: str) -> Path:
    """The file of a recipe that comes with the package, whatever lies where one stands."""
    return next(path for place in CARRIED if (path := place / f"{name}.py").is_file())


def find(name: str) -> Path:
    """The file of a recipe; ValueError lists the known names."""
    places = [Path("configs"), *CARRIED]  # those where one stands come first
    for path in (paths.expanded(name), *(place / f"{name}.py" for place in places)):
        if path.is_file() and path.suffix == ".py":
            return path
    known = sorted({path.stem for place in places for path in place.glob("*.py") if path.stem != "__init__"})
    hint = arguments.did_you_mean(name, known, f"there are {', '.join(known)}")
    raise UserError(f"{name}: no such recipe file or name; {hint}")


def load(name: str) -> Config:
    """The config that a recipe returns; ValueError if the file fails or has no function `recipe`."""
    path = find(name)
    try:
        recipe = runpy.run_path(str(path)).get("recipe")
        made = recipe() if callable(recipe) else None
    except (Exception, SystemExit) as error:  # whatever a user's file may raise
        raise UserError(f"{path}: the recipe fails with {type(error).__name__}: {error}; mend it") from error
    if not isinstance(made, Config):
        raise UserError(f"{path}: no recipe; it needs a function `recipe` that returns a Config")
    try:
        config.check(made)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return made


def override(base: Config, overrides: list[str]) -> Config:
    """`base` with `--config.FIELD VALUE` arguments put in; ValueError names a wrong one."""
    given = [argument.replace("--config.", "--", 1) for argument in overrides]
    try:
        changed = arguments.tyro_cli(Config, "the fields are in inspose_jax/config.py", default=base, args=given)
    except UserError as error:
        raise UserError(str(error).replace("--", "--config.")) from None
    config.check(changed)
    return changed


def describe(config_: Config) -> str:
    """Every field of a config: its flag, type and value, the default where that is another, and what it means."""
    head = [
        "* and (default ..): not the default.  Any of them can be set for one run: --config.schedule.batch-size 4;",
        "a bool by its flag alone: --config.model.heatmap or --config.model.no-heatmap.",
    ]
    return "\n".join(head + describe_part(config_, Config(), "--config"))


def describe_part(part: Any, default: Any, where: str) -> list[str]:
    """The lines of one dataclass of a config, then those of the dataclasses in it."""
    lines, inner = [], []
    told = meanings(type(part))
    for field in dataclasses.fields(part):
        value, usual = getattr(part, field.name), getattr(default, field.name)
        flag = f"{where}.{field.name.replace('_', '-')}"
        if dataclasses.is_dataclass(value):
            inner += describe_part(value, usual, flag)
            continue
        shown = words(value) + ("" if value == usual else f" (default {words(usual)})")
        line = f"{' ' if value == usual else '*'} {flag:<42} {type_words(field.type):<27} {shown}"
        lines += textwrap.wrap(line, 120, subsequent_indent=" " * 10, break_on_hyphens=False)
        lines += textwrap.wrap(told[field.name], 120, initial_indent=" " * 6, subsequent_indent=" " * 6)
    heading = ["", f"{where.removeprefix('--')}: {inspect.getdoc(type(part))}"]
    return (heading + lines if lines else []) + inner


def meanings(kind: type) -> dict[str, str]:
    """The docstring below each field of a dataclass."""
    from docstring_parser import parse_from_object

    return {field.arg_name: field.description or "" for field in parse_from_object(kind).params}


def words(value: Any) -> str:
    """A value as it is typed on the command line."""
    if isinstance(value, tuple):
        return " ".join(map(words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def type_words(kind: Any) -> str:
    """A field's type as what is to be typed: `int`, `sgd|adamw|muon`, `int int`, `float ..` for any number of them."""
    if kind is Ellipsis:
        return ".."
    if typing.get_origin(kind) is typing.Literal:
        return "|".join(typing.get_args(kind))
    return " ".join(map(type_words, typing.get_args(kind))) or kind.__name__

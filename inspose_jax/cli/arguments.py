"""Parse a command's own flags and separate them from the `--config.FIELD VALUE` pairs that override a recipe."""

import contextlib
import dataclasses
import inspect
import io
import os
import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from inspose_jax import paths
from inspose_jax.data import splits
from inspose_jax.data.splits import Split
from inspose_jax.errors import UserError, did_you_mean

Launch = TypeVar("Launch")
# An optional path; its help text says what happens without it, which a printed default of None would not.
Place = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]

MeasuringRecipe = Annotated[str, tyro.conf.arg(metavar="RECIPE", help_behavior_hint="")]
Category = Annotated[str, tyro.conf.arg(metavar="NAME", help_behavior_hint="")]
Count = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")]  # as for `Place`
MOST_WORKERS = 1024  # threads or processes; more would be a mistake


def split_of(words: list[str]) -> Split:
    """The split that a word names; raises UserError if it names none."""
    found = splits.named(words[0])
    if found is None:
        raise UserError(f"{words[0]} is no split; it must be train, val or test")
    return found


SplitOf = Annotated[
    Split,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="train|val|test",
        instance_from_str=split_of,
        is_instance=lambda value: value in splits.WORDS,
        str_from_instance=lambda split: [split],
    ),
]


@dataclass(frozen=True)
class Named:
    """The options by which any command names annotated images."""

    data: Place = None
    """Annotated images: a file or folder of any kind that docs/data.md lists."""
    images: Place = None
    """Instead of --data: the folder of images .."""
    annotations: Place = None
    """.. and their COCO keypoint JSON."""


@dataclass(frozen=True)
class Given(Named):
    """The options of a command that takes one part of them."""

    split: SplitOf = "train"
    """Which part of --data, if it has several."""
    category: Category = ""
    """The category to use, if several have joints."""


@dataclass(frozen=True)
class Parts(Named):
    """The options of a command that takes images for training, and others for validation."""

    val_data: Place = None
    """Annotated images for validation, in the same way."""
    val_images: Place = None
    """Instead of --val-data: the folder of images .."""
    val_annotations: Place = None
    """.. and their COCO keypoint JSON."""
    category: Category = ""
    """The category to use, if several have joints."""

    def train(self, split: Split = "train") -> Given:
        """What --data or --images and --annotations name."""
        return Given(self.data, self.images, self.annotations, split, self.category)

    def val(self) -> Given | None:
        """What the options for validation name; None if there are none."""
        given = Given(self.val_data, self.val_images, self.val_annotations, "val", self.category)
        return given if given.data or given.images or given.annotations else None


# In a command's dataclass: these options, without a prefix.
GivenData = Annotated[Given, tyro.conf.arg(name="")]
GivenParts = Annotated[Parts, tyro.conf.arg(name="")]
OF_TRAIN, OF_VAL, OF_NOTHING = Given(), Given(split="val"), Parts()  # their defaults


def parse(
    launch: type[Launch], arguments: list[str], command: str, with_config: bool = False
) -> tuple[Launch, list[str]]:
    """Parse `arguments` into a dataclass of flags and the remaining config arguments; `~` in a path is expanded.

    Raises UserError for an unknown flag, naming the nearest known one, and for a URL where a path is expected.  --help
    prints the dataclass's docstring and exits.
    """
    for word in arguments:  # checked as typed, since a `Path` would merge the two slashes of a URL
        paths.refuse_url(word.partition("=")[2] if word.startswith("--") else word)
    known, rest = tyro_cli(
        launch,
        f"see inspose {command} --help",
        args=arguments,
        prog=f"inspose {command}",
        description=inspect.getdoc(launch),
        return_unknown_args=True,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    for argument in rest:
        # A negative number is the value of a field, which the config's own check may refuse.
        is_number = argument.removeprefix("-").replace(".", "", 1).isdecimal()
        is_field = with_config and re.match(r"--config\.[a-z]", argument)
        if argument.startswith("-") and not is_number and not is_field:
            hint = did_you_mean(argument, flags_of(known), f"see inspose {command} --help")
            if with_config and argument.split("=")[0].rstrip(".") == "--config":
                hint = (
                    "set a field with --config.FIELD VALUE; inspose train drawn_people --config-help lists the fields"
                )
            raise UserError(f"{argument}: no such option of inspose {command}; {hint}")
    if rest and not rest[0].startswith("--config."):
        raise UserError(f"{rest[0]}: not expected here; see inspose {command} --help")
    return with_home(known), rest


def flags_of(launch: Any) -> list[str]:
    """The flags of a command."""
    found = []
    for field in dataclasses.fields(launch):
        value = getattr(launch, field.name)
        found += flags_of(value) if isinstance(value, Named) else [f"--{field.name.replace('_', '-')}"]
    return found


def check_range(name: str, value: int | None, low: int, high: int) -> None:
    """Raise UserError unless the number given as `--name` is from `low` to `high`; None means that none is given."""
    if value is not None and not low <= value <= high:
        raise UserError(f"--{name} is {value}; it must be {low} to {high}")


def num_workers(given: int | None) -> int:
    """The number of threads that --workers gives, or one for each processor; raises UserError if it cannot be."""
    check_range("workers", given, 1, MOST_WORKERS)
    return given or os.cpu_count() or 1


def with_home(launch: Launch) -> Launch:
    """The flags with `~` expanded in every path; the shell expands it only at the beginning of a word."""

    def expanded(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(expanded, value))
        if isinstance(value, Named):
            return with_home(value)
        return paths.expanded(value) if isinstance(value, Path) else value

    fields = dataclasses.fields(launch)  # pyright: ignore[reportArgumentType]
    return type(launch)(**{field.name: expanded(getattr(launch, field.name)) for field in fields})


def tyro_cli(kind: Any, remedy: str, **options: Any) -> Any:
    """Call `tyro.cli`, turning its error box into a one-line UserError: the fault, and the nearest flag or `remedy`."""
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(kind, **options)
    except SystemExit as ending:
        if not ending.code:
            raise  # --help is no error
    # The box has a title, a message, perhaps the nearest flags, and a hint, separated by rules, which are dashes if the
    # terminal has no line-drawing characters.
    rows = [row.strip("│╭╮╰╯─ ") for row in box.getvalue().replace("╮", "\n").splitlines()]
    _, message, *more = [list(part) for is_text, part in groupby(rows, lambda row: bool(row.strip("-"))) if is_text]
    meant = [part[1].split()[0] for part in more if part[0].startswith("Perhaps you meant")]
    raise UserError(f"{' '.join(message)}; " + (f"did you mean {meant[0]}?" if meant else remedy))

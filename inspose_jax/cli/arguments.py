"""Parsing: the few flags of a launch, apart from the `--config.FIELD VALUE` pairs that override a recipe."""

import dataclasses
import difflib
import inspect
from typing import TypeVar

import tyro

Launch = TypeVar("Launch")


def parse(
    launch: type[Launch], arguments: list[str], command: str, with_config: bool = False
) -> tuple[Launch, list[str]]:
    """A dataclass of flags from `arguments`, and what belongs to the config.

    ValueError names an unknown flag and the nearest known one; --help prints the dataclass's docstring and ends.
    """
    known, rest = tyro.cli(
        launch,
        args=arguments,
        prog=f"inspose {command}",
        description=inspect.getdoc(launch),
        return_unknown_args=True,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    for argument in rest:
        if not (with_config and argument.startswith("--config.")) and argument.startswith("-"):
            flags = [f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(launch)]  # type: ignore[arg-type]
            near = difflib.get_close_matches(argument, flags, n=1)
            hint = f"did you mean {near[0]}?" if near else f"see inspose {command} --help"
            raise ValueError(f"{argument}: no such option of inspose {command}; {hint}")
    if rest and not rest[0].startswith("--config."):
        raise ValueError(f"{rest[0]}: not expected here; see inspose {command} --help")
    return known, rest

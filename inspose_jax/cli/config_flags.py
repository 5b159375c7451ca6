"""A config on the command line: `--config.model.backbone resnet18` overrides a field, `--config-help` lists them all.

A flag is the path of its field; the fields of a flat part are addressed as if they belonged to its owner.
"""

import inspect
import textwrap
import typing
from dataclasses import replace
from functools import reduce
from typing import Any

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from inspose_jax import config, config_check, skeletons
from inspose_jax.cli import arguments
from inspose_jax.config import Config, Place
from inspose_jax.errors import UserError
from inspose_jax.skeletons import Skeleton

SKELETONS = ConstructorRegistry()


@SKELETONS.primitive_rule
def skeleton_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Tell tyro how to parse a skeleton: one word, the name of a preset or of a file."""
    if info.type is not Skeleton:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PRESET|JSON",
        instance_from_str=lambda words: skeletons.read(words[0]),
        is_instance=lambda value: isinstance(value, Skeleton),
        str_from_instance=lambda skeleton: [skeleton.name],
    )


def override(base: Config, overrides: list[str], skeleton: str = "") -> Config:
    """Apply `--config.FIELD VALUE` arguments and another skeleton to `base`; raises UserError naming a wrong one."""
    full_flags = {flag_of(place.typed): flag_of(place.path) for place in config.places(base)}
    given = [full_flag(argument, full_flags) for argument in overrides]
    if skeleton:
        base = replace(base, model=replace(base.model, skeleton=skeletons.read(skeleton)))
    kind = Config[type(base.model)]
    try:
        changed = arguments.tyro_cli(
            kind, "the fields are in inspose_jax/config.py", default=base, args=given, registry=SKELETONS
        )
    except UserError as error:
        raise UserError(as_typed(str(error), full_flags)) from None
    config_check.check(changed)
    return changed


def as_typed(message: str, full_flags: dict[str, str]) -> str:
    """A message from tyro with every flag as the user types it."""
    for typed, stood in sorted(full_flags.items(), key=lambda item: len(item[1]), reverse=True):
        message = message.replace(stood, typed)
    return message.replace("--", "--config.")


def flag_of(path: tuple[str, ...]) -> str:
    """The flag of a field's path: `--model.kp-net.depth` for ("model", "kp_net", "depth")."""
    return f"--{'.'.join(path)}".replace("_", "-")


def full_flag(argument: str, full_flags: dict[str, str]) -> str:
    """An argument with the typed flag of a field replaced by the field's full path; others are unchanged."""
    if not argument.startswith("--config."):
        return argument
    flag, equals, value = argument.replace("--config.", "--", 1).partition("=")
    flag = flag.replace("_", "-")  # as the fields are written in Python, and in messages about their values
    owner, _, name = flag.rpartition(".")
    negated = name.startswith("no-") and f"{owner}.{name.removeprefix('no-')}" in full_flags
    found = full_flags.get(f"{owner}.{name.removeprefix('no-')}" if negated else flag, flag)
    if negated:
        owner, _, name = found.rpartition(".")
        found = f"{owner}.no-{name}"
    return f"{found}{equals}{value}"


def describe(described: Config) -> str:
    """List every field of a config: its flag, type and value, the default if it differs, and its meaning."""
    lines = [
        "* and (default ..) mark values other than the default.  Set a field with --config.schedule.batch-size 4,",
        "a bool with --config.model.heatmap or --config.model.no-heatmap.",
    ]
    defaults = {place.path: place.value for place in config.places(Config(type(described.model)()))}
    owner = None
    for place in config.places(described):
        if place.path[:-1] != owner:
            owner = place.path[:-1]
            part: Any = reduce(getattr, owner, described)
            lines += ["", f"config.{'.'.join(place.typed[:-1])}: {inspect.getdoc(type(part))}"]
        lines += describe_field(place, defaults[place.path])
    return "\n".join(lines)


def describe_field(place: Place, usual: Any) -> list[str]:
    """The lines that describe one field."""
    is_usual = place.value == usual
    shown = value_text(place.value) + ("" if is_usual else f" (default {value_text(usual)})")
    flag = flag_of(("config", *place.typed))
    line = f"{' ' if is_usual else '*'} {flag:<42} {type_text(place.field.type):<27} {shown}"
    return [
        *textwrap.wrap(line, 120, subsequent_indent=" " * 10, break_on_hyphens=False),
        *textwrap.wrap(place.field.metadata.get("meaning", ""), 120, initial_indent=" " * 6, subsequent_indent=" " * 6),
    ]


def value_text(value: Any) -> str:
    """A value as typed on the command line."""
    if isinstance(value, tuple):
        return " ".join(map(value_text, value))
    if isinstance(value, Skeleton):
        return value.name
    return f"{value:g}" if isinstance(value, float) else str(value)


def type_text(kind: Any) -> str:
    """A field's type as what to type: `int`, `sgd|adamw|muon`, `int int`, or `float ..` for any number of them."""
    if kind is Ellipsis:
        return ".."
    if kind is Skeleton:
        return "PRESET|JSON"
    if typing.get_origin(kind) is typing.Literal:
        return "|".join(typing.get_args(kind))
    return " ".join(map(type_text, typing.get_args(kind))) or kind.__name__

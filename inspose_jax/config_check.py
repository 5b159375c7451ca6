"""Check that the values of a config are allowed and fit together, and build one from plain values such as JSON's."""

import dataclasses
import typing
from typing import Any, Literal

from inspose_jax import skeletons
from inspose_jax.config import ANY, Config, Model, places
from inspose_jax.errors import UserError


def check(config: Config) -> None:
    """Raise UserError, in one line, if values have the wrong type, are out of range or do not fit together."""
    for one in dataclasses.fields(config):
        value = getattr(config, one.name)
        build(type(value), dataclasses.asdict(value), f"config.{one.name}", tuple)
    for place in places(config):
        allowed = place.field.metadata.get("allowed", ANY)
        if not allowed.holds(place.value):
            raise UserError(f"{'.'.join(place.typed)} is {place.value}; it must {allowed.words}")
    if isinstance(config.model, Model):
        check_levels(config.model)
    check_passes(config)


def check_levels(model: Model) -> None:
    """Raise UserError if a model's levels do not fit its `level_limits` or its `map_level`."""
    levels, limits = model.network.levels, model.assignment.level_limits
    if len(limits) != len(levels) - 1:
        raise UserError(
            f"model.level_limits has {len(limits)} numbers for {len(levels)} levels; give one fewer than levels"
        )
    if levels[0] < model.network.map_level:
        raise UserError(f"model.levels {levels} must start at map_level {model.network.map_level} or above")


def check_passes(config: Config) -> None:
    """Raise UserError if the model or its shapes do not allow the passes over a test image."""
    data, skeleton = config.data, config.model.skeleton
    if data.passes.test_flip and skeleton != skeletons.FROM_DATA and not skeleton.flip_pairs:
        raise UserError(
            f"data.test_flip needs a skeleton whose joints change places in a mirrored image; {skeleton.name} has no "
            f"flip_pairs"
        )
    if data.passes.test_flip and data.passes.test_merge == "maps" and not isinstance(config.model, Model):
        raise UserError("data.test_merge maps needs the paper's model; take oks")
    if data.test_padding == "own" or not data.shapes:
        return
    largest = max(min(shape) for shape in data.shapes)
    if too_large := [side for side in data.passes.test_scales if side > largest]:
        raise UserError(
            f"data.test_scales has {', '.join(map(str, too_large))}, but no image of that shorter side fits any of "
            f"data.shapes {data.shapes}; set data.test_padding to own, or add larger shapes"
        )


def other_fields(kind: Any, value: Any, where: str) -> list[str]:
    """`config.model: missing fields ['a']` for each stored dataclass whose fields differ from those of this version."""
    if not dataclasses.is_dataclass(kind) or not isinstance(value, dict):
        return []
    hints = typing.get_type_hints(kind)
    sides = (("missing", hints.keys() - value.keys()), ("unknown", value.keys() - hints.keys()))
    found = [f"{where}: {fault} fields {sorted(names)}" for fault, names in sides if names]
    for name in hints.keys() & value.keys():
        found += other_fields(hints[name], value[name], f"{where}.{name}")
    return sorted(found)


def build(kind: Any, value: Any, where: str, sequence: type) -> Any:
    """Build a `kind` from `value`, in which dicts stand for dataclasses and `sequence` (list in JSON) for tuples.

    Raises UserError for any value of the wrong type.
    """
    inner = typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        parts = {name: build(hints[name], value[name], f"{where}.{name}", sequence) for name in hints}
        return typing.cast(Any, kind)(**parts)
    if typing.get_origin(kind) is tuple and isinstance(value, sequence):
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        if len(value) == len(kinds):
            return tuple(build(kind, item, where, sequence) for kind, item in zip(kinds, value, strict=True))
    if typing.get_origin(kind) is Literal and value in inner:
        return value
    if kind is float and type(value) in (int, float) and abs(value) < 1e38:  # within the range of f32
        return value
    if kind is int and type(value) is int and abs(value) < 2**31:
        return value
    if kind in (bool, str) and type(value) is kind:
        return value
    if typing.get_origin(kind) is Literal:
        wanted = f"one of {', '.join(map(str, inner))}"
    else:
        wanted = KINDS.get(kind) or (f"a {kind.__name__}" if isinstance(kind, type) else f"a {kind}")
    raise UserError(f"{where} is {value!r:.40}; it must be {wanted}")


# The names of types in error messages.
KINDS = {int: "a whole number below 2^31", float: "a finite number", bool: "True or False", str: "text"}

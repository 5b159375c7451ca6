"""Configs as JSON, for checkpoints and runs.  Old ones stay readable: each format has an upgrade to the next.

A format defines the fields and their meaning.  To change either, increment `FORMAT`, add an upgrade from the previous
format that sets new fields to the values that reproduce the earlier behaviour, and add a run in the previous format to
`tests/formats`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from inspose_jax import config, config_check, methods, skeletons
from inspose_jax.config import Config
from inspose_jax.errors import UserError

FORMAT = 2
OWN = "own"  # the method's name if a recipe defines its own config class
PARTS = tuple(field.name for field in dataclasses.fields(Config))
NAMES = ("format", "method", *PARTS)


class OtherFields(UserError):
    """A stored config whose fields differ from those of this version, since another version wrote it."""


def to_dict(config: Config) -> dict[str, Any]:
    """A config in the form of JSON, with every field written out."""
    values = as_lists({name: dataclasses.asdict(getattr(config, name)) for name in PARTS})
    return {"format": FORMAT, "method": methods.name_of(config.model) or OWN, **values}


def as_lists(value: Any) -> Any:
    """Convert tuples, at any depth, to the lists that JSON makes of them."""
    if isinstance(value, dict):
        return {name: as_lists(item) for name, item in value.items()}
    return [as_lists(item) for item in value] if isinstance(value, tuple | list) else value


def from_dict(stored: Any, own: type | None = None) -> Config:
    """The config from the output of `to_dict`, in this format or an earlier one.

    `own` is the class of `Config.model` if a recipe defines its own.  Raises `OtherFields`, which lists all missing
    and unknown fields, or UserError for an invalid value.
    """
    stored = upgrade(stored)
    kind = own if stored.get("method") == OWN else methods.config_class(stored.get("method"))
    if kind is None:
        raise UserError(f"config.method is {stored.get('method')!r:.40}, which this version does not have")
    kinds = {"model": kind, "data": config.Data, "schedule": config.Schedule, "machine": config.Machine}
    found = [
        f"config: {fault} fields {sorted(names)}"
        for fault, names in (("missing", set(NAMES) - stored.keys()), ("unknown", stored.keys() - set(NAMES)))
        if names
    ]
    for name in kinds:
        found += config_check.other_fields(kinds[name], stored.get(name), f"config.{name}")
    if found:
        raise OtherFields("; ".join(sorted(found)))
    made = Config(*(config_check.build(kinds[name], stored[name], f"config.{name}", list) for name in PARTS))
    config_check.check(made)
    return made


# --- earlier formats ------------------------------------------------------------------------------------------------


def upgrade(stored: Any) -> dict[str, Any]:
    """A stored config in this version's format; raises UserError if it is no config or its format is a later one."""
    if not isinstance(stored, dict) or not isinstance(stored.get("model"), dict):
        raise UserError("it is not a configuration")
    number = stored.get("format", 1)
    if number not in (*UPGRADES, FORMAT):
        raise OtherFields(f"config.format is {number!r:.40}; this version reads 1 to {FORMAT}")
    for earlier in range(number, FORMAT):
        stored = UPGRADES[earlier](stored)
    return with_later_fields(stored)


def with_later_fields(stored: dict[str, Any]) -> dict[str, Any]:
    """A config of format 2 with the fields that were added to it later, with the meaning that they had before."""
    if stored.get("method") == "inspose":
        later = {
            "network": {"map_ratio": 1.0, "box_head": False},
            "assignment": {"assigned_boxes": "pseudo", "classification_loss": "focal"},
            "weights": {"box": 1.0},
            "decoding": {"suppression": "boxes", "least_score": 0.001},
        }
        model = stored["model"]
        parts = {name: {**fields, **model[name]} for name, fields in later.items() if isinstance(model.get(name), dict)}
        stored = {**stored, "model": {**model, **parts}}
    data, schedule = stored.get("data"), stored.get("schedule")
    if not isinstance(data, dict) or not isinstance(schedule, dict):
        return stored
    if "only_labelled" in data:
        data = {"train_images": "labelled" if data["only_labelled"] else "all", **data}
        del data["only_labelled"]
    off, once = (as_lists(dataclasses.asdict(part)) for part in (config.Augmentation(), config.Passes()))
    later = {"augmentation": off, "passes": once}
    data = {"test_padding": "shapes", "short_side_step": 1, "train_images": "labelled", **later, **data}
    return {**stored, "data": data, "schedule": {"warmup_from": 1 / 3, **schedule}}


def upgrade_1_to_2(stored: dict[str, Any]) -> dict[str, Any]:
    """Upgrade format 1 to 2.

    The model's fields are grouped into parts, the loss weights move to the model, the machine's fields get a part of
    their own, and the skeleton is stored as a value instead of a name.
    """
    given, data, schedule = (dict(stored.get(part) or {}) for part in ("model", "data", "schedule"))
    # The first checkpoints lack these fields, since they could not be chosen yet.
    given = {"compute_dtype": "float32", **given}
    schedule = {"accumulate": 1, **schedule}
    if given.get("skeleton") == "coco":
        given["skeleton"] = as_lists(dataclasses.asdict(skeletons.COCO))
    if given.get("backbone_widths") == [64, 128, 256, 512]:  # of every ResNet; now an empty list stands for them
        given["backbone_widths"] = []

    def moved(source: dict[str, Any], names: str, prefix: str = "") -> dict[str, Any]:
        return {name: source.pop(f"{prefix}{name}") for name in names.split() if f"{prefix}{name}" in source}

    model = {
        "network": moved(
            given,
            "backbone backbone_widths batch_norm frozen_stages compute_dtype levels map_level fpn_channels "
            "head_channels head_depth controller_kernel keypoint_channels keypoint_depth dense_channels shared_trunk "
            "disk_offset heatmap",
        ),
        "assignment": moved(given, "level_limits centre_radius disk_radius heatmap_overlap num_slots"),
        "decoding": moved(given, "score_threshold num_candidates nms_threshold num_poses pose_score"),
        "weights": moved(schedule, "cls keypoint offset heatmap", "weight_"),
        **given,
    }
    machine = {**moved(data, "num_threads"), **moved(schedule, "save_every")}
    rest = {name: value for name, value in stored.items() if name not in ("model", "data", "schedule")}
    return {
        **rest,
        "format": 2,
        "method": "inspose",
        "model": model,
        "data": data,
        "schedule": schedule,
        "machine": machine,
    }


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: upgrade_1_to_2}

"""Every field of the config means something, comes back from JSON, and is checked."""

import ast
import dataclasses
import json
from pathlib import Path

import pytest
import tiny

from inspose_jax import config
from inspose_jax.cli import recipes

PACKAGE = Path(__file__).parents[1] / "inspose_jax"
RECIPES = sorted(path.stem for path in (PACKAGE.parent / "configs").glob("*.py"))


def fields_of(kind) -> set[str]:
    names = set()
    for field in dataclasses.fields(kind):
        names.add(field.name)
        if dataclasses.is_dataclass(field.type):
            names |= fields_of(field.type)
    return names


def test_every_field_is_read_by_something():
    """Read from a config: `model.levels`, `config.data.flip`, not any `.flip`."""
    owners = {"model", "kp_net", "data", "scene", "schedule", "config"}
    read = set()
    for path in PACKAGE.rglob("*.py"):
        if path.name != "config.py":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
                    read |= {node.attr} & (fields_of(config.Config) if owner.rstrip("_") in owners else set())
    assert fields_of(config.Config) - read == set()


def numbers_of(value, where="") -> set[str]:
    """Names of all single numbers of a config."""
    found = set()
    for field in dataclasses.fields(value):
        inner, name = getattr(value, field.name), f"{where}.{field.name}".lstrip(".")
        if dataclasses.is_dataclass(inner):
            found |= numbers_of(inner, name)
        elif isinstance(inner, int | float) and not isinstance(inner, bool):
            found.add(name)
    return found


def test_every_number_has_its_range():
    named = [name for names, _, _ in config.RANGES for name in names.split()]
    assert sorted(named) == sorted(numbers_of(config.Config()))


def test_json_and_back_is_the_same():
    for one in (config.Config(), tiny.CONFIG):
        assert config.from_json(config.to_json(one)) == one


def test_json_of_another_version_names_the_fields():
    content = json.loads(config.to_json(config.Config()))
    content["model"]["colour"] = 1
    with pytest.raises(ValueError, match=r"config.model: unknown fields \['colour'\]"):
        config.from_json(json.dumps(content))
    del content["model"]["colour"], content["data"]["flip"]
    with pytest.raises(ValueError, match=r"config.data: missing fields \['flip'\]"):
        config.from_json(json.dumps(content))


@pytest.mark.parametrize(
    ("part", "field", "value", "message"),
    [
        ("schedule", "batch_size", "8", "config.schedule.batch_size is '8'; it must be a whole number below 2.31"),
        ("schedule", "batch_size", 2**31, "batch_size is 2147483648; it must be a whole number below 2.31"),
        ("schedule", "learning_rate", 1e39, "learning_rate is 1e.39; it must be a finite number"),
        ("model", "backbone", "resnet34", "backbone is 'resnet34'; it must be one of resnet18, resnet50, resnet101"),
        ("model", "levels", 3, r"config.model.levels is 3; it must be a tuple\[int, ...\]"),
        ("data", "short_side", [1, 2, 3], r"short_side is \[1, 2, 3\]; it must be a tuple\[int, int\]"),
        ("model", "disk_offset", 1, "config.model.disk_offset is 1; it must be True or False"),
        ("model", "kp_net", None, "config.model.kp_net is None; it must be a KPNet"),
        ("model", "kp_net", {"width": 3}, "config.model.kp_net: missing fields"),
        ("schedule", "seed", -1, "schedule.seed is -1; it must not be below 0"),
    ],
)
def test_json_of_a_wrong_type_or_out_of_range_is_refused(part, field, value, message):
    content = json.loads(config.to_json(config.Config()))
    content[part][field] = value
    with pytest.raises(ValueError, match=message):
        config.from_json(json.dumps(content))


@pytest.mark.parametrize(
    ("part", "fields", "message"),
    [
        ("model", {"levels": (3, 4)}, "level_limits has 4 numbers for 2 levels"),
        ("model", {"levels": (3, 5), "level_limits": (64.0,)}, "must count up by one"),
        ("model", {"levels": (12, 13), "level_limits": (64.0,)}, "end at 12"),
        ("model", {"centre_radius": 1e30}, "at most 100 strides"),
        ("model", {"map_level": 4, "levels": (4,), "level_limits": ()}, "map_level is 4"),
        ("model", {"frozen_stages": 5}, "frozen_stages is 5"),
        ("model", {"backbone_widths": (8,)}, "a ResNet has 4 stages"),
        ("model", {"score_threshold": 1.5}, "score_threshold is 1.5"),
        ("data", {"shapes": ((100, 128),)}, "multiple of 32, from 32"),
        (
            "data",
            {"short_side": (800, 640)},
            "data.short_side is 800, 640; it must be its low and its high end, above 0",
        ),
        ("schedule", {"batch_size": 0}, "batch_size is 0; it must be 1 to 1,000,000"),
        ("schedule", {"learning_rate": -1.0}, "learning_rate is -1.0"),
        ("schedule", {"learning_rate": float("inf")}, "learning_rate is inf; it must be a finite number"),
        ("schedule", {"drop_at": (0.5, float("nan"))}, "drop_at is nan; it must be a finite number"),
        ("schedule", {"drop_at": (0.5, 0.2)}, r"drop_at is \(0.5, 0.2\); it must rise"),
        ("model", {"backbone_widths": (8, 8, 0, 8)}, "4 stages of 1 or more"),
        ("schedule", {"seed": -1}, "seed is -1; it must not be below 0"),
        ("model", {"kp_net": config.KPNet(width=0)}, "model.kp_net.width is 0; it must be above 0"),
        (
            "data",
            {"scene": config.Scene(num_people=(3, 1))},
            "data.scene.num_people is 3, 1; it must be its low and its high end, not below 0",
        ),
    ],
)
def test_values_that_cannot_work_are_refused(part, fields, message):
    base = config.Config()
    changed = dataclasses.replace(base, **{part: dataclasses.replace(getattr(base, part), **fields)})
    with pytest.raises(ValueError, match=message):
        config.check(changed)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_config_that_works(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # found wherever one stands
    config.check(recipes.load(name))
    assert f"inspose train {name}" in (recipes.find(name).read_text())


def test_recipes_of_the_paper_have_its_numbers():
    for name, backbone, epochs, drops in (
        ("r50_coco_36e", "resnet50", 36, (27, 33)),
        ("r50_coco_100e", "resnet50", 100, (75, 90)),
        ("r101_coco_100e", "resnet101", 100, (75, 90)),
    ):
        recipe = recipes.load(name)
        assert (recipe.model.backbone, recipe.schedule.epochs) == (backbone, epochs)
        assert [round(f * epochs) for f in recipe.schedule.drop_at] == list(drops)
        assert (recipe.schedule.batch_size, recipe.schedule.learning_rate, recipe.schedule.momentum) == (16, 0.01, 0.9)

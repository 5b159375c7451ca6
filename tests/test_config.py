"""Every field of the config is used, survives JSON, and is checked."""

import ast
import json
from pathlib import Path

import pytest
import tiny

from inspose_jax import config, config_check, config_json, recipes
from inspose_jax.errors import UserError
from inspose_jax.released import config as released_config

PACKAGE = Path(__file__).parents[1] / "inspose_jax"
RECIPES = sorted(path.stem for path in (PACKAGE.parent / "configs").glob("*.py"))


def test_every_field_is_read_by_something():
    """Read from a part of a config: `assignment.num_slots`, `config.data.flip`, not any `.flip`.

    `asdict(model.weights)` reads every field of that part.
    """
    owners = {"skeleton", "model", "data", "scene", "schedule", "machine", "config"}
    owners |= {"augmentation", "passes", "network", "parts", "kp_net", "assignment", "weights", "decoding"}
    paths = [place.path for place in config.places(config.Config())]
    fields = {name for path in paths for name in path}
    read = set()
    for path in PACKAGE.rglob("*.py"):
        if path.name not in ("config.py", "config_check.py", "config_json.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
                    read |= {node.attr} & (fields if owner.rstrip("_") in owners else set())
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "asdict":
                    part = getattr(node.args[0], "attr", "")
                    read |= {path[-1] for path in paths if part in path[:-1]}
    assert fields - read == set()


def test_every_field_has_its_range():
    for place in config.places(config.Config()):
        allowed = place.field.metadata["allowed"]
        assert allowed.holds(place.value), place.path
        is_number = isinstance(place.value, int | float | tuple) and not isinstance(place.value, bool)
        assert (allowed != config.ANY) == (is_number or place.path == ("model", "skeleton")), place.path


def test_no_two_fields_have_the_same_flag():
    typed = [place.typed for place in config.places(config.Config())]
    assert len(set(typed)) == len(typed) > 60


def test_replace_reaches_into_flat_parts_and_refuses_unknown_fields():
    model = config.replace(config.Model(), levels=(3,), num_slots=5, num_people=7)
    assert (model.network.levels, model.assignment.num_slots, model.num_people) == ((3,), 5, 7)
    with pytest.raises(TypeError, match="colour"):
        config.replace(config.Model(), colour=3)


def test_a_config_survives_json():
    released = config.Config(released_config.Model(star_joints=tuple(range(9))))
    for one in (config.Config(), tiny.CONFIG, released):
        assert config_json.from_dict(json.loads(json.dumps(config_json.to_dict(one)))) == one


def test_fields_that_were_added_to_a_format_get_their_old_meaning():
    content = config_json.to_dict(config.Config())
    for name in ("test_padding", "short_side_step", "train_images", "augmentation"):
        del content["data"][name]
    del content["schedule"]["warmup_from"]
    content["data"]["only_labelled"] = False
    found = config_json.from_dict(content)
    assert found == config.Config(data=config.Data(train_images="all"))


def test_json_of_another_version_names_the_fields():
    content = config_json.to_dict(config.Config())
    content["model"]["colour"] = 1
    with pytest.raises(config_json.OtherFields, match=r"config.model: unknown fields \['colour'\]"):
        config_json.from_dict(content)
    del content["model"]["colour"], content["data"]["flip"]
    with pytest.raises(config_json.OtherFields, match=r"config.data: missing fields \['flip'\]"):
        config_json.from_dict(content)
    with pytest.raises(config_json.OtherFields, match=r"config.format is 3; this version reads 1 to 2"):
        config_json.from_dict({**content, "format": 3})
    with pytest.raises(UserError, match=r"config.method is 'other', which this version does not have"):
        config_json.from_dict({**config_json.to_dict(config.Config()), "method": "other"})


FLAT = {  # a model of format 1
    **dict.fromkeys(("fpn_channels", "num_people", "num_slots", "num_poses"), 5),
    "skeleton": "coco",
    "kp_net": {"width": 3},
    "map_level": 2,
}


def test_an_earlier_format_is_upgraded_missing_fields_get_their_old_meaning_and_unknown_fields_stay():
    first = {
        "model": {**FLAT, "colour": "red"},
        "data": {"num_threads": 7, "flip": 0.25, "only_labelled": False},
        "schedule": {"save_every": 9, "weight_cls": 2.0, "seed": 4},
        "num_steps": 3,
    }
    second = config_json.upgrade(first)
    later = {"map_ratio": 1.0, "box_head": False}
    assert second["model"]["network"] == {"fpn_channels": 5, "map_level": 2, "compute_dtype": "float32", **later}
    assert second["model"]["assignment"] == {
        "num_slots": 5,
        "assigned_boxes": "pseudo",
        "classification_loss": "focal",
    }
    assert second["model"]["decoding"] == {"num_poses": 5, "suppression": "boxes", "least_score": 0.001}
    assert second["model"]["weights"] == {"cls": 2.0, "box": 1.0}
    assert second["model"]["skeleton"]["oks_sigmas"][:2] == [0.026, 0.025]
    rest = {name: second["model"][name] for name in ("num_people", "kp_net", "colour")}
    assert rest == {"num_people": 5, "kp_net": {"width": 3}, "colour": "red"}
    assert second["machine"] == {"num_threads": 7, "save_every": 9}
    off = second["data"].pop("augmentation")
    assert off["rotation"] == 0
    assert off["large_scale_jitter"] == [1, 1]
    once = second["data"].pop("passes")
    assert (once["test_scales"], once["test_flip"]) == ([], False)
    assert second["data"] == {"flip": 0.25, "test_padding": "shapes", "short_side_step": 1, "train_images": "all"}
    assert second["schedule"] == {"seed": 4, "accumulate": 1, "warmup_from": 1 / 3}
    assert (second["format"], second["method"], second["num_steps"]) == (2, "inspose", 3)
    assert first["model"]["skeleton"] == "coco", "a given value is kept"


@pytest.mark.parametrize(("earlier", "now"), [([64, 128, 256, 512], []), ([32, 48, 64, 96], [32, 48, 64, 96])])
def test_the_widths_of_an_earlier_format_are_none_where_they_are_the_published_ones(earlier, now):
    """So that a run of a recipe that names none goes on."""
    first = {"model": {"backbone_widths": earlier}, "data": {}, "schedule": {}}
    assert config_json.upgrade(first)["model"]["network"]["backbone_widths"] == now


@pytest.mark.parametrize(
    ("part", "field", "value", "message"),
    [
        ("schedule", "batch_size", "8", "config.schedule.batch_size is '8'; it must be a whole number below 2.31"),
        ("schedule", "batch_size", 2**31, "batch_size is 2147483648; it must be a whole number below 2.31"),
        ("schedule", "learning_rate", 1e39, "learning_rate is 1e.39; it must be a finite number"),
        (
            "model.network",
            "backbone",
            "resnet34",
            "backbone is 'resnet34'; it must be one of resnet18, resnet50",
        ),
        ("model.network", "levels", 3, r"config.model.network.levels is 3; it must be a tuple\[int, ...\]"),
        ("data", "short_side", [1, 2, 3], r"short_side is \[1, 2, 3\]; it must be a tuple\[int, int\]"),
        ("model.network", "disk_offset", 1, "config.model.network.disk_offset is 1; it must be True or False"),
        ("model", "kp_net", None, "config.model.kp_net is None; it must be a KPNet"),
        ("model", "kp_net", {"width": 3}, "config.model.kp_net: missing fields"),
        ("schedule", "seed", -1, "schedule.seed is -1; it must not be below 0"),
    ],
)
def test_json_of_a_wrong_type_or_out_of_range_is_refused(part, field, value, message):
    content = config_json.to_dict(config.Config())
    owner = content
    for name in part.split("."):
        owner = owner[name]
    owner[field] = value
    with pytest.raises(ValueError, match=message):
        config_json.from_dict(content)


@pytest.mark.parametrize(
    ("part", "fields", "message"),
    [
        ("model", {"levels": (3, 4)}, "level_limits has 4 numbers for 2 levels"),
        ("model", {"levels": (3, 5), "level_limits": (64.0,)}, "levels is \\(3, 5\\); it must be consecutive"),
        ("model", {"levels": (12, 13), "level_limits": (64.0,)}, "end at 12"),
        ("model", {"centre_radius": 1e30}, "at most 100 strides"),
        ("model", {"map_level": 4, "levels": (4,), "level_limits": ()}, "map_level is 4"),
        ("model", {"frozen_stages": 5}, "frozen_stages is 5"),
        ("model", {"backbone_widths": (8,)}, "must be 4 numbers of at least 1, one per stage"),
        ("model", {"score_threshold": 1.5}, "score_threshold is 1.5"),
        ("data", {"shapes": ((100, 128),)}, "multiples of 32, from 32"),
        (
            "data",
            {"short_side": (800, 640)},
            r"data.short_side is \(800, 640\); it must be a low and a high end, above 0",
        ),
        ("schedule", {"batch_size": 0}, "batch_size is 0; it must be 1 to 1,000,000"),
        ("schedule", {"learning_rate": -1.0}, "learning_rate is -1.0"),
        ("schedule", {"learning_rate": float("inf")}, "learning_rate is inf; it must be a finite number"),
        ("schedule", {"drop_at": (0.5, float("nan"))}, "drop_at is nan; it must be a finite number"),
        ("schedule", {"drop_at": (0.5, 0.2)}, r"drop_at is \(0.5, 0.2\); it must increase"),
        ("model", {"backbone_widths": (8, 8, 0, 8)}, "4 numbers of at least 1, one per stage"),
        ("schedule", {"seed": -1}, "seed is -1; it must not be below 0"),
        ("model", {"kp_net": config.KPNet(width=0)}, "model.kp_net.width is 0; it must be above 0"),
        (
            "data",
            {"scene": config.Scene(num_people=(3, 1))},
            r"data.scene.num_people is \(3, 1\); it must be a low and a high end, not below 0",
        ),
    ],
)
def test_values_that_do_not_fit_together_are_refused(part, fields, message):
    base = config.Config()
    changed = config.replace(base, **{part: config.replace(getattr(base, part), **fields)})
    with pytest.raises(ValueError, match=message):
        config_check.check(changed)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_returns_a_valid_config(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # found from any current folder
    config_check.check(recipes.read(name).config)
    assert f"inspose train {name}" in (recipes.find(name).read_text())


def test_the_modern_recipe_is_the_paper_s_with_each_element_and_nothing_else():
    """What is listed here is what the recipe and the documentation say; a change of both changes this list."""
    modern, paper = (config.places(recipes.read(name).config) for name in ("modern", "r50_coco_36e"))
    changed = {one.typed[-1] for one, other in zip(modern, paper, strict=True) if one.value != other.value}
    affine, colours = {"rotation", "translation"}, {"brightness", "contrast", "saturation", "hue"}
    single = {"classification_loss", "compute_dtype", "large_scale_jitter", "decay", "ema", "test_flip"}
    assert changed == single | affine | colours


def test_recipes_of_the_paper_have_its_numbers():
    for name, backbone, epochs, drops in (
        ("r50_coco_36e", "resnet50", 36, (27, 33)),
        ("r50_coco_100e", "resnet50", 100, (75, 90)),
        ("r101_coco_36e", "resnet101", 36, (27, 33)),
        ("r101_coco_100e", "resnet101", 100, (75, 90)),
        ("hrnet_w32_coco_36e", "hrnet_w32", 36, (27, 33)),
        ("hrnet_w32_coco_100e", "hrnet_w32", 100, (75, 90)),
        ("hrnet_w48_coco_36e", "hrnet_w48", 36, (27, 33)),
        ("hrnet_w48_coco_100e", "hrnet_w48", 100, (75, 90)),
    ):
        recipe = recipes.read(name).config
        assert (recipe.model.network.backbone, recipe.schedule.epochs) == (backbone, epochs)
        assert [round(f * epochs) for f in recipe.schedule.drop_at] == list(drops)
        assert (recipe.schedule.batch_size, recipe.schedule.learning_rate, recipe.schedule.momentum) == (16, 0.01, 0.9)

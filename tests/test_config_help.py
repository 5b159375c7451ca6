"""`inspose train RECIPE --config-help`: every field with its type, value and meaning, without importing jax."""

import subprocess
import sys
from dataclasses import replace

import pytest

from inspose_jax import cli, config, recipes
from inspose_jax.cli import config_flags


def test_every_field_has_a_meaning():
    places = list(config.places(config.Config()))
    assert [place.path for place in places if not place.field.metadata["meaning"].endswith(".")] == []


def test_every_field_is_listed_and_what_differs_from_the_default_is_marked():
    text = config_flags.describe(recipes.read("drawn_people").config)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for line in (
        "* --config.schedule.batch-size int 8 (default 16)",
        "--config.schedule.momentum float 0.9",
        "* --config.model.backbone resnet18|resnet50|resnet101|hrnet_w32|hrnet_w48 resnet18 (default resnet50)",
        "* --config.model.levels int .. 3 4 (default 3 4 5 6 7)",
        "* --config.data.shapes int int .. 128 128 (default 800 1344 1344 800)",
        "--config.data.scene.height float float 0.4 1",
        "--config.model.disk-offset bool True",
    ):
        assert line in lines
    assert lines[lines.index("--config.model.kp-net.width int 8") + 1] == "Channels of the hidden layers."
    fields = len(list(config.places(config.Config())))
    assert len([line for line in lines if line.removeprefix("* ").startswith("--config.")]) == fields
    assert max(map(len, text.splitlines())) <= 120


def test_every_listed_flag_is_accepted():
    recipe = recipes.read("drawn_people").config
    typed = []
    for place in config.places(recipe):
        flag = config_flags.flag_of(("config", *place.typed))
        if isinstance(place.value, bool):
            owner, name = flag.rsplit(".", 1)
            typed.append(flag if place.value else f"{owner}.no-{name}")
        else:
            typed += [flag, *config_flags.value_text(place.value).split()]
    changed = config_flags.override(config.Config(), typed)
    given = recipe.schedule  # a float is shown with six digits
    schedule = replace(changed.schedule, drop_at=given.drop_at, warmup_from=given.warmup_from)
    assert config.replace(changed, schedule=schedule) == recipe


@pytest.mark.parametrize("given", [["--config.model.backbone=resnet18"], ["--config.model.backbone", "resnet18"]])
def test_a_field_of_a_flat_part_is_typed_as_a_field_of_the_model(given):
    assert config_flags.override(config.Config(), given).model.network.backbone == "resnet18"


def test_a_field_may_be_typed_as_it_is_written_in_python():
    typed = ["--config.model.compute_dtype", "bfloat16", "--config.schedule.batch_size=3", "--config.model.no_heatmap"]
    changed = config_flags.override(config.Config(), typed)
    assert changed.model.network.compute_dtype == "bfloat16"
    assert (changed.schedule.batch_size, changed.model.network.heatmap) == (3, False)


def test_config_help_does_not_import_jax_and_shows_overrides():
    code = (
        "import sys; from inspose_jax import cli\n"
        "cli.main(['train', 'r50_coco_36e', '--config-help', '--config.schedule.seed', '5'])\n"
        "assert 'jax' not in sys.modules, 'jax is imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "* --config.schedule.seed" in done.stdout
    assert "5 (default 0)" in done.stdout


def test_an_unknown_recipe_is_named(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["train", "drawn_peple", "--config-help"])
    assert "did you mean drawn_people?" in capsys.readouterr().err

"""`inspose train RECIPE --config-help`: every field with its type, value and meaning, without waiting for jax."""

import dataclasses
import subprocess
import sys

import pytest

from inspose_jax import cli, config
from inspose_jax.cli import recipes

PARTS = [config.Model, config.KPNet, config.Data, config.Scene, config.Schedule]


@pytest.mark.parametrize("kind", PARTS, ids=lambda kind: kind.__name__)
def test_every_field_has_a_meaning(kind):
    told = recipes.meanings(kind)
    plain = [field.name for field in dataclasses.fields(kind) if not dataclasses.is_dataclass(field.type)]
    assert [name for name in plain if not told.get(name, "").endswith(".")] == []


def test_every_field_is_listed_and_what_differs_from_the_default_is_marked():
    text = recipes.describe(recipes.load("drawn_people"))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for line in (
        "* --config.schedule.batch-size int 8 (default 16)",
        "--config.schedule.momentum float 0.9",
        "* --config.model.backbone resnet18|resnet50|resnet101 resnet18 (default resnet50)",
        "* --config.model.levels int .. 3 4 (default 3 4 5 6 7)",
        "* --config.data.shapes int int .. 128 128 (default 800 1344 1344 800)",
        "--config.data.scene.height float float 0.4 1",
        "--config.model.disk-offset bool True",
    ):
        assert line in lines
    assert lines[lines.index("--config.model.kp-net.width int 8") + 1] == "Channels of the hidden layers."
    fields = sum(not dataclasses.is_dataclass(field.type) for kind in PARTS for field in dataclasses.fields(kind))
    assert len([line for line in lines if line.removeprefix("* ").startswith("--config.")]) == fields
    assert max(map(len, text.splitlines())) <= 120


def test_what_is_listed_can_be_typed():
    recipe = recipes.load("drawn_people")
    typed = []
    for part in ("model", "model.kp_net", "data", "data.scene", "schedule"):
        owner = recipe
        for name in part.split("."):
            owner = getattr(owner, name)
        for field in dataclasses.fields(owner):
            value = getattr(owner, field.name)
            flag = f"--config.{part}.{field.name}".replace("_", "-")
            if isinstance(value, bool):
                typed.append(flag if value else f"--config.{part}.no-{field.name}".replace("_", "-"))
            elif not dataclasses.is_dataclass(value):
                typed += [flag, *recipes.words(value).split()]
    changed = recipes.override(config.Config(), typed)
    # six digits are shown of a float
    assert (
        dataclasses.replace(changed, schedule=dataclasses.replace(changed.schedule, drop_at=recipe.schedule.drop_at))
        == recipe
    )


def test_it_answers_without_jax_and_shows_what_is_overridden():
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

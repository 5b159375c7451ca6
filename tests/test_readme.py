"""The README is correct: its commands, options, recipes, links and make targets exist."""

import re
import shlex
import shutil
from pathlib import Path

import faults
import jax
import numpy as np
import pytest
import tiny
from torch_files import Tensor, backbone, write_zip

import inspose_jax
from inspose_jax import checkpoints, cli, config, recipes

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "docs/data.md", *sorted((ROOT / "experiments").rglob("*.md"))]
BLOCKS = [block for page in PAGES for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)]
LINES = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
COMMANDS = [words for line in LINES if (words := shlex.split(line, comments=True))[:1] == ["inspose"]]


def help_of(capsys, command: list[str]) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit, match="0"):
        cli.main([*command, "--help"])
    return capsys.readouterr().out


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_option_exists(words, capsys):
    command = words[1:3] if words[1] == "data" else words[1:2]
    known = help_of(capsys, command)
    for flag in (word for word in words if word.startswith("--") and not word.startswith("--config.")):
        assert re.search(rf"{flag}\b", known), flag
    fields = [word.removeprefix("--config.") for word in words if word.startswith("--config.")]
    assert bool(fields) <= (command[0] in ("train", "eval"))
    if command == ["train"] and fields:
        base = recipes.read(ROOT / words[2] if words[2].endswith(".py") else words[2]).config
        named = {re.sub(r"\.no-(?=[^.]+$)", ".", field) for field in fields}  # how a bool is turned off
        assert named <= {".".join(place.typed).replace("_", "-") for place in config.places(base)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_has_a_target(page):
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if not link.startswith("http")]
    assert [link for link in links if not (page.parent / link).exists()] == []
    named = re.findall(r"`((?:tests|inspose_jax|experiments|configs|docs)/[\w/.]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_changes_of_this_version_come_first():
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == inspose_jax.__version__


def test_every_make_target_exists():
    targets = re.findall(r"^make (\w+)", "\n".join(LINES), re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert targets == ["demo", "test"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


TINY = """
import sys
sys.path.insert(0, {tests!r})
import dataclasses
import tiny

def recipe():
    data = dataclasses.replace(tiny.CONFIG.data, {data})
    model = tiny.model({model})
    return dataclasses.replace(tiny.CONFIG, model=model, data=data, schedule=tiny.schedule(batch_size=8))
"""
FROZEN = "batch_norm='frozen', frozen_stages=1"


@pytest.fixture
def prepared_folder(place, tmp_path, monkeypatch) -> Path:
    """A current folder with everything that the README assumes, at the smallest size: the demo's run, a COCO folder,
    torchvision's weights, a video; and recipes of the README's names, since a run of theirs takes hours.
    """
    monkeypatch.chdir(tmp_path)
    shutil.copytree(place / "run", tmp_path / "demo_out" / "run")
    for name, data, model in (("drawn_people", "", ""), ("r50_coco_36e", "source='coco'", FROZEN)):
        faults.file(f"configs/{name}.py", TINY.format(tests=str(ROOT / "tests"), data=data, model=model))(tmp_path)
    for part in ("train", "val"):
        shutil.copytree(place / "drawn" / "images", tmp_path / "coco" / f"{part}2017")
        labels = tmp_path / "coco" / "annotations" / f"person_keypoints_{part}2017.json"
        labels.parent.mkdir(exist_ok=True)
        shutil.copy(place / "drawn" / "annotations.json", labels)
    weights = {name: Tensor(np.ones(shape, np.float32)) for name, shape in backbone(tiny.MODEL).items()}
    write_zip(tmp_path / "resnet50.pth", weights)
    faults.video("dance.mp4")(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore:validation takes the same images as training")
@pytest.mark.filterwarnings("ignore:.*14 of its 17 joints are not those of coco_3")
@pytest.mark.slow
def test_the_commands_run_as_they_stand(prepared_folder, capsys):
    """The commands of `Use it`, one after another, in the user's current folder, with relative paths."""
    text = (ROOT / "README.md").read_text()
    chapter = text[text.index("## Use it") : text.index("## Where the paper is")]
    (own,) = re.findall(r"```python\n(# own\.py\n.*?)```", chapter, re.DOTALL)
    assert len(own.splitlines()) <= 25
    Path("own.py").write_text(own)
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", chapter, re.DOTALL)).replace("\\\n", " ").splitlines()
    commands = [words for line in lines if (words := shlex.split(line, comments=True))[:1] == ["inspose"]]
    assert len(commands) > 9
    for words in commands:
        try:
            with jax.numpy_dtype_promotion("standard"):  # as users have it; optax's Adam is not strict
                cli.main(words[1:])
        except SystemExit as ending:
            pytest.fail(f"{shlex.join(words)} exits with {ending.code}: {capsys.readouterr().err.splitlines()[-1]}")
    assert checkpoints.steps(Path("runs/r50/checkpoints")) == [1], "the second command went on with the first one's run"
    assert checkpoints.steps(Path("runs/r50/best")) == [1]
    assert len(list(Path("found").glob("*.jpg"))) == 200
    assert Path("found/dance.mp4").is_file()
    assert checkpoints.steps(Path("runs/own/checkpoints")) == [50, 60]
    assert len(list(Path("found_own").glob("*.jpg"))) == 200
    theta = inspose_jax.load("runs/own", recipe="own.py").variables["params"]["instance_heads"]["theta"]["conv"]
    assert theta["bias"].shape == (33,)
    assert Path("runs/own/report.html").is_file()
    assert Path("runs/mine/report.html").is_file()


@pytest.mark.slow
def test_the_source_of_ones_own_trains_evaluates_and_finds(tmp_path, monkeypatch, capsys):
    """The lines of the README as they stand, with a small recipe of the same name and two steps."""
    monkeypatch.chdir(tmp_path)
    model = "skeleton=inspose_jax.skeletons.FROM_DATA, score_threshold=0.0"
    text = TINY.format(tests=str(ROOT / "tests"), data="source='coco'", model=model)
    faults.file("configs/keypoints.py", text.replace("import tiny", "import inspose_jax.skeletons, tiny"))(tmp_path)
    (lines,) = re.findall(r"```python\n(# own_source\.py\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert "num_steps=200" in lines
    with jax.numpy_dtype_promotion("standard"):
        exec(lines.replace("num_steps=200", "num_steps=2"), {})
    statistics, *_ = capsys.readouterr().out.splitlines()
    assert statistics.startswith("{'AP': ")
    trained = inspose_jax.load("runs/bars")
    assert trained.skeleton.name == "bar"
    assert trained.skeleton.oks_sigmas == (0.1, 0.1)
    assert trained(np.zeros((64, 64, 3), np.uint8)).keypoints.shape[1:] == (2, 2)

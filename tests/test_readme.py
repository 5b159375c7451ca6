"""The README promises nothing that is not there: its commands, options, recipes, links and make targets exist."""

import re
import shlex
from pathlib import Path

import pytest

from inspose_jax import cli
from inspose_jax.cli import recipes

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "experiments").rglob("*.md"))]
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
    if command == ["train"]:
        base = recipes.load(str(ROOT / words[2]) if words[2].endswith(".py") else words[2])
        for field in fields:
            value = base
            for name in field.replace("-", "_").split("."):
                value = getattr(value, name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if not link.startswith("http")]
    assert [link for link in links if not (page.parent / link).exists()] == []
    named = re.findall(r"`((?:tests|inspose_jax|experiments|configs|docs)/[\w/.]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_make_target_exists():
    targets = re.findall(r"^make (\w+)", "\n".join(LINES), re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert targets == ["demo", "test"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)

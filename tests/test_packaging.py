"""Packaging: the version ranges of pyproject.toml, the pins, the wheel and the citation."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import oldest
import pytest
import yaml
from packaging.requirements import Requirement  # pytest needs it too

ROOT = Path(__file__).parents[1]
PROJECT = oldest.project()


def test_every_range_begins_with_a_version_that_can_be_tried():
    assert len(oldest.oldest()) == len(oldest.ranges())
    for exact, allowed in zip(map(Requirement, oldest.oldest()), map(Requirement, oldest.ranges()), strict=True):
        assert exact.name == allowed.name
        assert allowed.specifier.contains(str(exact.specifier).removeprefix("=="))


def test_every_pin_is_in_its_range():
    ranges = {one.name: one.specifier for one in map(Requirement, oldest.ranges())}
    pins = [
        Requirement(line) for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")
    ]
    assert {pin.name for pin in pins} == ranges.keys() - {"supervision"}
    for pin in pins:
        assert ranges[pin.name].contains(str(pin.specifier).removeprefix("==")), pin


def names_of(file: str) -> set[str]:
    """The packages in a file of pins, as pip compares names."""
    lines = (ROOT / file).read_text().splitlines()
    return {plain(Requirement(line).name) for line in lines if not line.startswith("#")}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_dependencies_of_dependencies_are_pinned_too():
    direct, found = names_of("requirements.txt"), set()
    waiting = set(direct)
    while waiting:
        name = waiting.pop()
        found.add(name)
        for line in importlib.metadata.requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting |= {plain(needed.name)} - found
    assert found - direct <= names_of("constraints.txt")


@pytest.mark.parametrize("extra", oldest.ACCELERATORS)
def test_accelerator_extras_use_the_same_range_of_jax(extra):
    (plain,) = (one for one in map(Requirement, PROJECT["dependencies"]) if one.name == "jax")
    (brought,) = map(Requirement, PROJECT["optional-dependencies"][extra])
    assert (brought.name, brought.extras, brought.specifier) == ("jax", {extra}, plain.specifier)


def test_the_wheel_contains_the_recipes_and_py_typed(tmp_path):
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("inspose_jax", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(tmp_path / done.stdout.splitlines()[-1]) as wheel:
        held = set(wheel.namelist())
        wheel.extractall(tmp_path / "site")
    modules = [path.relative_to(ROOT) for path in (ROOT / "inspose_jax").rglob("*.py")]
    recipes = [f"inspose_jax/configs/{path.name}" for path in (ROOT / "configs").glob("*.py")]
    assert {*map(str, modules), *recipes, "inspose_jax/py.typed", "inspose_jax/skeleton_presets.json"} <= held
    # Read from the wheel, in a folder without recipes.
    code = "from inspose_jax import recipes\nfor n in ('drawn_people', 'r50_coco_36e'): print(recipes.read(n).path)"
    elsewhere = {"cwd": tmp_path / "site", "env": {**os.environ, "PYTHONPATH": str(tmp_path / "site")}}
    done = subprocess.run([sys.executable, "-c", code], **elsewhere, capture_output=True, text=True, check=True)
    inside = tmp_path / "site/inspose_jax/configs"
    assert done.stdout.splitlines() == [str(inside / f"{name}.py") for name in ("drawn_people", "r50_coco_36e")]


def test_the_citation_distinguishes_the_paper_and_the_software():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    paper = citation["preferred-citation"]
    assert citation["cff-version"] == "1.2.0"
    assert "unofficial" in citation["title"]
    assert paper["title"] == "InsPose: Instance-Aware Networks for Single-Stage Multi-Person Pose Estimation"
    assert [author["family-names"] for author in paper["authors"]] == ["Shi", "Wei", "Yu", "Tan", "Ren", "Pu"]

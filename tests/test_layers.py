"""Imports point downwards only: the table of who may import whom, and where the heavy packages may appear."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "inspose_jax"
LAYERS = [
    {"errors", "versions"},
    {"paths", "structures", "files", "devices", "processes", "provenance"},
    {"skeletons", "run_folder"},
    {"config"},
    {"config_check"},
    {"geometry", "draw", "recipes", "method"},
    {"network", "data", "targets", "nms"},
    {"soft_nms", "averaged_maps"},
    {"passes"},
    {"losses", "decode"},
    {"paper", "released"},
    {"methods", "counts"},
    {"config_json"},
    {"checkpoints"},
    {"torch_bridge"},
    {"predictor"},
    {"training", "evaluation", "report"},
    {"sweep"},
    {"cli"},
    {"__init__", "__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
NUMERIC = {
    "network", "targets", "losses", "decode", "nms", "soft_nms", "geometry", "method", "methods", "paper", "released",
    "passes", "averaged_maps",
}  # fmt: skip
PAPERS = {"paper", "released", "network", "targets", "losses", "decode", "nms", "soft_nms"}  # imported only by a method
BARE = {"jax", "flax", "optax", "numpy", "jaxtyping"}  # all that step and model need on a bare machine
STANDARD = {"typing", "functools", "itertools", "collections", "dataclasses", "math"}
ALONE = {  # to be copied out of the package: what they need, which is nothing of ours
    "torch_bridge/inspose_torch.py": {"torch", "huggingface_hub"},
    "torch_bridge/inspose_numpy.py": {"numpy", "onnxruntime"},
}
TORCH = "torch_bridge/graph.py"  # writes what torch alone can write


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Full names of everything that a module imports, including inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(path: Path) -> str:
    """First part of a module's place in the package: `network/fpn.py` is in `network`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_module_is_in_the_table():
    assert {room(path) for path in modules()} == LEVEL.keys()


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path):
    here = room(path)
    for name in imports(path):
        package, _, inner = name.partition(".")
        if package != "inspose_jax":
            continue
        there = inner.split(".")[0]
        there = there if there in LEVEL else "__init__"  # the package itself, or a name that only its __init__ defines
        if there != here:
            assert LEVEL[there] < LEVEL[here], f"{here} imports {name}, which stands at or above it"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_packages_are_imported_only_where_allowed(path: Path):
    where = str(path.relative_to(PACKAGE))
    packages = {name.split(".")[0] for name in imports(path)}
    if where in ALONE:
        assert packages <= STANDARD | {"json", "pathlib"} | ALONE[where]
        return
    if room(path) == "data":
        assert not packages & {"jax", "flax", "optax"}, "data never sees a device"
    assert "torch" not in packages or where == TORCH
    assert "raise ValueError" not in path.read_text(), "a user's error is a UserError; anything else is a bug"
    assert "pycocotools" not in packages or room(path) == "evaluation" or where == "data/masks.py"
    assert "tensorflow_datasets" not in packages or where == "data/tfds_builder.py", "importing it takes long"
    if room(path) in NUMERIC or where == "training/step.py":
        assert packages - {"inspose_jax"} <= BARE | STANDARD


@pytest.mark.parametrize("where", ["training", "predictor.py", "report", "evaluation", "cli"])
def test_training_and_inference_import_the_method_and_not_its_parts(where: str):
    place = PACKAGE / where
    for path in place.rglob("*.py") if place.is_dir() else [place]:
        assert not {name.split(".")[1] for name in imports(path) if name.startswith("inspose_jax.")} & PAPERS, path

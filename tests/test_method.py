"""What a method must be: a second one needs nothing of the package but the noun (`toy_recipe.py`), and a network of
one's own for every person needs a function.
"""

import json
import pickle
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from PIL import Image
from torch_files import Tensor, write_zip

import inspose_jax
from inspose_jax import checkpoints, cli, methods, recipes
from inspose_jax.cli import config_flags
from inspose_jax.errors import UserError

TOY = Path(__file__).parent / "toy_recipe.py"
# Another P and another K: a layer, and joints of the demo's drawn people.
OWN = """
import jax.numpy as jnp
import tiny
from dataclasses import replace
from inspose_jax import config, paper
from inspose_jax.network.per_person import lift
from inspose_jax.skeletons import COCO

JOINTS = COCO.subset("nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle")

def recipe():
    model = config.replace(tiny.MODEL, skeleton=JOINTS, score_threshold=0.0)
    return replace(tiny.CONFIG, model=model, schedule=tiny.schedule(batch_size=8))

def method(model):
    joints, inputs = model.skeleton.num_keypoints, model.kp_net.feature_channels + 2
    def one_layer(theta, features, relative):
        weight, bias = theta[:-joints].reshape(joints, inputs), theta[-joints:]
        x = jnp.concatenate([features, jnp.abs(relative)])
        return jnp.einsum("ki,ihw->khw", weight, x) + bias[:, None, None]
    return paper.method(model, lift(one_layer, (inputs + 1) * joints))
"""


def run(*words) -> None:
    with jax.numpy_dtype_promotion("standard"):  # as users have it; optax's Adam is not strict
        cli.main([str(word) for word in words])


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory) -> Path:
    """Three steps on the eight simulated devices, evaluated after the last."""
    assert jax.device_count() == 8
    workdir = tmp_path_factory.mktemp("toy") / "run"
    run("train", TOY, "--workdir", workdir, "--steps", 3, "--eval-every", 3)
    return workdir


@pytest.fixture(scope="module")
def noses(tmp_path_factory) -> Path:
    """A drawn COCO folder with the toy's one joint."""
    folder = tmp_path_factory.mktemp("noses")
    skeleton = recipes.read(TOY).config.model.skeleton
    from inspose_jax.config import Scene
    from inspose_jax.data import coco
    from inspose_jax.data.drawn.people import DrawnPeople

    source = DrawnPeople(Scene(size=64, num_people=(1, 2)), "test", 0, 4, skeleton=skeleton)
    coco.write_folder(folder, map(source.__getitem__, range(4)), skeleton, 0.5)
    return folder


def test_a_second_method_trains_saves_and_evaluates_and_its_terms_have_its_names(toy_run):
    lines = [json.loads(line) for line in (toy_run / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss/total" in line]
    assert [line["step"] for line in steps] == [1, 2, 3]
    for line in steps:
        assert {name for name in line if name.startswith("loss/")} == {"loss/total", "loss/noses", "loss/others"}
        assert line["loss/total"] == pytest.approx(line["loss/noses"] + 0.5 * line["loss/others"], rel=1e-5)
        assert line["num_noses"] > 0
    assert steps[2]["loss/total"] != steps[0]["loss/total"]
    assert any("eval/AP" in line for line in lines)
    assert checkpoints.steps(toy_run / "checkpoints") == [3] == checkpoints.steps(toy_run / "best")
    about = json.loads((toy_run / "config.json").read_text())
    assert (about["method"], about["model"]["channels"]) == ("own", 6)


def test_a_second_method_is_loaded_with_its_recipe_and_finds_noses(toy_run, noses, tmp_path, capsys):
    model = inspose_jax.load(toy_run, recipe=TOY)
    image = np.asarray(Image.open(next((noses / "images").iterdir())))
    people = model(image, threshold=0.0)
    assert people.keypoints.shape == (3, 1, 2)
    assert people.skeleton.keypoint_names == ("nose",)
    with pytest.raises(UserError, match="this model's method has no maps of its people"):
        model.maps(image)

    run("eval", "--checkpoint", toy_run, "--recipe", TOY, "--images", noses / "images", "--annotations",
        noses / "annotations.json", "--out", tmp_path / "scores")  # fmt: skip
    assert set(json.loads((tmp_path / "scores/metrics.json").read_text())) >= {"AP", "AR"}
    assert len(json.loads((tmp_path / "scores/results.json").read_text())) == 4 * 3
    run("predict", "--checkpoint", toy_run, "--recipe", TOY, noses / "images", "--out", tmp_path / "out",
        "--json", tmp_path / "a.json", "--threshold", 0)  # fmt: skip
    assert len(list((tmp_path / "out").iterdir())) == 4
    found = json.loads((tmp_path / "a.json").read_text())
    assert {len(person["keypoints"]) for person in found} == {3}
    run("report", toy_run, "--recipe", TOY, "--out", tmp_path / "a.html", "--images", noses / "images")
    page = (tmp_path / "a.html").read_text()
    assert "A method of its own" in page
    assert "not a field of this version" not in page
    assert "What the model of step 3 finds in 4 of 4" in page
    capsys.readouterr()


def test_a_run_with_its_own_method_resumes_only_with_the_same_recipe_text(toy_run, tmp_path):
    folder = shutil.copytree(toy_run, tmp_path / "run")
    run("train", TOY, "--workdir", folder, "--steps", 3, "--resume")  # nothing left to do
    other = tmp_path / "toy_recipe.py"
    other.write_text(TOY.read_text() + "\n# another text\n")
    with pytest.raises(SystemExit, match="2"):
        run("train", other, "--workdir", folder, "--steps", 3, "--resume")


def test_loading_without_the_recipe_or_with_another_gives_one_line(toy_run, tmp_path, place):
    with pytest.raises(UserError, match=r"run: was trained with the method of the recipe toy_recipe.py"):
        inspose_jax.load(toy_run)
    other = tmp_path / "changed.py"
    other.write_text(TOY.read_text() + "\n")
    with pytest.raises(UserError, match=r"toy_recipe.py, but .*changed.py differs from it; give the original file"):
        inspose_jax.load(toy_run, recipe=other)
    about = json.loads((toy_run / "checkpoints/3/about/metadata").read_text())
    assert about["recipe"]["text"] == TOY.read_text()
    with pytest.raises(UserError, match=r"was not trained with a recipe's own method; leave out .*toy_recipe.py"):
        inspose_jax.load(place / "run", recipe=TOY)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("method = 3", r"`method` is not a function of `Config.model` that returns a Method"),
        ("def method(model): return 3", r"`method` returns int; it must return a Method"),
        (
            "def method(model): return 1 / 0",
            r"own.py, line \d+: the recipe fails with ZeroDivisionError: division by zero; correct it",
        ),
        ("", r"Config.model is a Toy, which has no method in this package; its recipe must define the method"),
    ],
)
def test_a_recipe_whose_method_is_invalid_is_refused(tmp_path, text, line):
    file = tmp_path / "own.py"
    file.write_text(TOY.read_text().replace("def method(", "def unused(") + text)

    def made():
        recipe = recipes.read(file)
        return methods.from_recipe(recipe, recipe.config.model)

    with pytest.raises(UserError, match=line):
        made()


def test_a_recipe_may_have_parts_of_its_own_and_modules_beside_it(tmp_path, monkeypatch, capsys):
    """A part that is a class of the recipe, a class of this package with one more field, and a module to import."""
    own = """
from dataclasses import dataclass, field
from inspose_jax import config
import beside

@dataclass(frozen=True)
class Part:
    width: int = config.setting(beside.WIDTH, config.ABOVE_0, "Channels of the layer.")

@dataclass(frozen=True)
class Mine(config.Model):
    part: Part = field(default_factory=Part)

def recipe():
    return config.Config(Mine())
"""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/own.py").write_text(own)
    (tmp_path / "recipes/beside.py").write_text("WIDTH = 7\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(recipes, "FOLDERS", set())
    recipe = recipes.read(tmp_path / "recipes/own.py")
    assert config_flags.override(recipe.config, []).model.part.width == 7
    assert config_flags.override(recipe.config, ["--config.model.part.width", "8"]).model.part.width == 8
    run("train", tmp_path / "recipes/own.py", "--config-help")
    assert "--config.model.part.width" in capsys.readouterr().out
    shutil.copytree(tmp_path / "recipes", tmp_path / "others")
    (tmp_path / "others/beside.py").write_text("WIDTH = 5\n")
    for folder, width in (("others", 5), ("recipes", 7)):
        assert recipes.read(tmp_path / folder / "own.py").config.model.part.width == width, "each has its own module"
    (tmp_path / "others/beside.py").write_text("\nWIDTH = 1 / 0\n")
    with pytest.raises(UserError, match=r"others/beside.py, line 2: the recipe fails with ZeroDivisionError"):
        recipes.read(tmp_path / "others/own.py")


def test_weights_for_a_method_without_a_backbone_are_refused(tmp_path, capsys):
    write_zip(tmp_path / "a.pth", {"conv1.weight": Tensor(np.zeros((4, 3, 7, 7), np.float32))})
    with pytest.raises(SystemExit, match="2"):
        run("train", TOY, "--workdir", tmp_path / "run", "--init", tmp_path / "a.pth")
    assert "toy_recipe.py has no backbone to load it into; leave out --init" in capsys.readouterr().err


@pytest.fixture(scope="module")
def own_run(tmp_path_factory) -> Path:
    """Two steps of a network of one's own, with five joints; beside its recipe."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(OWN)
    run("train", folder / "own.py", "--workdir", folder / "run", "--steps", 2, "--eval-every", 2)
    return folder


@pytest.mark.slow
def test_a_custom_network_has_its_own_parameters_and_joints(own_run, tmp_path, capsys):
    model = inspose_jax.load(own_run / "run", recipe=own_run / "own.py")
    theta = model.variables["params"]["instance_heads"]["theta"]["conv"]["bias"]
    assert theta.shape == ((8 + 2 + 1) * 5,)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    people = model(image, threshold=0.0)
    assert people.keypoints.shape[1:] == (5, 2)
    seen = model.maps(image, threshold=0.0, most=2)
    np.testing.assert_array_equal(seen.people.keypoints, people.keypoints[:2])
    assert seen.maps.shape == (2, 5, 8, 8)
    np.testing.assert_allclose(seen.maps.sum((2, 3)), 1, rtol=1e-5)
    assert seen.theta.shape == (2, 55)
    assert seen.features.shape == (8, 8, 8)
    # The first joint's map, once more by hand: its weights on F_kp and on the distances to the generating location.
    weight, bias = seen.theta[0, :10], seen.theta[0, 50]
    cells = (np.stack(np.meshgrid(range(8), range(8)), -1) + 0.5) * seen.stride
    scale = 64 * (1 if (seen.points[0] % 8 == 4).all() and (seen.points[0] % 16 != 8).all() else 2)
    relative = np.abs(cells - seen.points[0]) / scale
    logits = seen.features @ weight[:8] + relative @ weight[8:] + bias
    np.testing.assert_allclose(seen.maps[0, 0], jax.nn.softmax(jnp.asarray(logits.ravel())).reshape(8, 8), rtol=2e-3)
    run("report", own_run / "run", "--recipe", own_run / "own.py", "--out", tmp_path / "a.html")
    assert "55 generated numbers" in (tmp_path / "a.html").read_text()
    capsys.readouterr()


@pytest.mark.slow
def test_custom_joints_are_evaluated_with_their_own_sigmas(own_run, monkeypatch):
    from inspose_jax.evaluation import coco_ap

    recipe = recipes.read(own_run / "own.py")
    sigmas = recipe.config.model.skeleton.oks_sigmas
    assert sigmas == (0.026, 0.062, 0.062, 0.089, 0.089)
    assert checkpoints.load(own_run / "run", recipe).config.model.skeleton.oks_sigmas == sigmas
    lines = [json.loads(line) for line in (own_run / "run/metrics.jsonl").read_text().splitlines()]
    assert sum("eval/AP" in line for line in lines) == 1
    truth = {"images": [{"id": 1}], "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "area": 900.0,
             "bbox": [0, 0, 30, 30], "iscrowd": 0, "num_keypoints": 5, "keypoints": [10, 10, 2] * 5}]}  # fmt: skip
    off = [{"image_id": 1, "category_id": 1, "score": 1.0, "keypoints": [12.5, 10, 1] * 5, "bbox": [0, 0, 30, 30]}]
    skeleton = recipe.config.model.skeleton
    # OKS: exp(-2.5² / (2 * 900 * (2 sigma)²)): .28, .80, .80, .90, .90, on average .735 -> five of ten thresholds
    assert coco_ap.keypoint_ap(truth, off, skeleton)["AP"] == pytest.approx(0.5)


def test_the_papers_model_can_be_pickled_with_its_method():
    model = inspose_jax.predictor.Predictor(tiny.CONFIG, tiny.variables())
    assert pickle.loads(pickle.dumps(model)).method is model.method


def test_a_loaded_model_can_be_pickled(place):
    model = inspose_jax.load(place / "run")
    assert pickle.loads(pickle.dumps(model)).method is model.method

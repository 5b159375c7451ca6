"""The authors' checkpoint becomes ours: keys, shapes, and every command that finds people with it."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from PIL import Image
from torch_files import Tensor, write_zip

import inspose_jax
from inspose_jax import cli, config, methods
from inspose_jax.errors import UserError
from inspose_jax.released import config as released_config
from inspose_jax.torch_bridge import released_weights, variants
from inspose_jax.torch_bridge.released_names import released_name

TINY = tiny.RELEASED
FIVE = TINY.skeleton


def run(*words) -> None:
    with jax.numpy_dtype_promotion("standard"):  # as users have it
        cli.main([str(word) for word in words])


def shapes_of(model: released_config.Model) -> dict[str, tuple[int, ...]]:
    """The shape in PyTorch of every tensor of a released model, by its key there."""
    shapes = jax.eval_shape(methods.for_model(model).init, jax.random.key(0))
    found = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(shapes)[0]:
        name = released_name(tuple(entry.key for entry in path[1:]), model.network.keypoint_depth)
        assert name not in found
        found[name] = tuple(leaf.shape[axis] for axis in (3, 2, 0, 1)) if leaf.ndim == 4 else leaf.shape
    return found


def tensors_of(model: released_config.Model) -> dict[str, np.ndarray]:
    """Random weights that find somebody in every image."""
    rng = np.random.default_rng(0)
    tensors = {}
    for name, shape in shapes_of(model).items():
        is_norm = name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight"))
        values = np.ones(shape) if is_norm else rng.normal(0, 1 / np.sqrt(np.prod(shape[1:], initial=1)), shape)
        tensors[name] = values.astype(np.float32)
    return tensors


@pytest.fixture(scope="module")
def skeleton_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("skeleton") / "five.json"
    fields = ("name", "keypoint_names", "limbs", "flip_pairs", "oks_sigmas")
    path.write_text(json.dumps({name: getattr(FIVE, name) for name in fields}))
    return path


@pytest.fixture(scope="module")
def imported(tmp_path_factory, skeleton_file) -> Path:
    """A checkpoint `run`, made from a file as mmcv writes it, of a tiny model of five joints."""
    folder = tmp_path_factory.mktemp("released")
    state = {f"module.{name}": Tensor(tensor) for name, tensor in tensors_of(TINY).items()}
    state["module.backbone.bn1.num_batches_tracked"] = Tensor(np.array(3), "LongStorage")
    state["ema_backbone_conv1_weight"] = Tensor(np.zeros((4, 3, 7, 7), np.float32))
    write_zip(folder / "tiny.pth", {"meta": {"epoch": 36, "CLASSES": ("person",)}, "state_dict": state})
    run("import-torch", folder / "tiny.pth", "--out", folder / "run", "--skeleton", skeleton_file)
    return folder / "run"


def test_full_size_has_the_released_numbers_of_parameters():
    model = released_config.Model()
    shapes = jax.eval_shape(methods.for_model(model).init, jax.random.key(0))["params"]
    sizes = jax.tree.map(lambda leaf: leaf.size, shapes)
    assert sum(jax.tree.leaves(sizes)) == 50_107_888
    trained = jax.tree.map(lambda size, trains: size * trains, sizes, methods.for_model(model).trains(shapes))
    assert sum(jax.tree.leaves(trained)) == 49_882_544
    parts = {"backbone": 23_508_032, "fpn": 3_868_672}
    assert {name: sum(jax.tree.leaves(sizes[name])) for name in parts} == parts
    assert released_config.star_joints(model) == (0, 5, 6, 9, 10, 11, 12, 15, 16)


def test_keys_and_shapes_are_those_of_the_released_checkpoint(reference):
    table = reference / "keys" / "released_r50.tsv"
    if not table.is_file():
        pytest.skip(f"no table of keys at {table}; set INSPOSE_REFERENCE_DATA")
    rows = [line.split("\t") for line in table.read_text().splitlines()[1:]]
    wanted = {
        name: tuple(map(int, shape.split("x"))) for name, shape, _ in rows if not name.endswith("num_batches_tracked")
    }
    assert len(rows) == 412
    assert shapes_of(released_config.Model()) == wanted
    model = released_weights.config_of(table, {name: np.broadcast_to(0.0, shape) for name, shape in wanted.items()})
    assert model == released_config.Model()


def test_an_imported_model_of_five_joints_is_loaded_and_finds_people(imported, skeleton_file):
    model = inspose_jax.load(imported)
    assert model.config.model == TINY
    kernel = model.variables["params"]["instance_heads"]["controller_star"]["conv"]["kernel"]
    expected = tensors_of(TINY)["bbox_head.ctr_star_conv.weight"]
    np.testing.assert_array_equal(kernel, expected.transpose(2, 3, 1, 0))
    image = np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    people = model(image, threshold=0.0)
    assert people.keypoints.shape[1:] == (5, 2)
    assert (np.diff(people.scores) <= 0).all()
    assert np.isfinite(people.keypoints).all()
    seen = model.maps(image, threshold=0.0, most=2)
    np.testing.assert_array_equal(seen.people.keypoints, people.keypoints[:2])
    np.testing.assert_allclose(seen.maps.sum((2, 3)), 1, rtol=1e-5)
    assert seen.theta.shape[1] == 80 + 8 + 64 + 8 + 5 * 8 + 5


@pytest.mark.slow
def test_every_command_takes_an_imported_model(imported, tmp_path, capsys):
    image = np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    (tmp_path / "images").mkdir()
    Image.fromarray(image).save(tmp_path / "images" / "1.png")
    run("predict", "--checkpoint", imported, tmp_path / "images", "--out", tmp_path / "drawn", "--threshold", 0)
    assert (tmp_path / "drawn" / "1.jpg").is_file()
    run("report", imported, "--out", tmp_path / "a.html", "--images", tmp_path / "images")
    page = (tmp_path / "a.html").read_text()
    assert "InsPose as released, on resnet18, with weights from tiny.pth, which were not trained here." in page
    assert "not a field of this version" not in page
    capsys.readouterr()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox_head.conv_cls.bias": None}, r"1 missing: bbox_head\.conv_cls\.bias$"),
        ({"bbox_head.more": np.zeros(2)}, r"1 not in the model: bbox_head\.more$"),
        ({"bbox_head.hm_offset.bias": np.zeros(3)}, r"1 of another shape: bbox_head\.hm_offset\.bias \(3,\), the mo"),
        ({"bbox_head.hm_pred.weight": np.zeros((6, 8, 3, 3))}, "a model of 6 joints; the skeleton coco_5 has 5"),
        ({"bbox_head.controller.weight": np.zeros((9, 8, 3, 3))}, "9 parameters a person"),
        ({"backbone.layer4.1.conv1.weight": None}, r"a backbone of \(2, 2, 2, 1\) blocks"),
    ],
)
def test_what_does_not_fit_is_listed(change, message):
    tensors = {name: tensor for name, tensor in {**tensors_of(TINY), **change}.items() if tensor is not None}

    def read():
        path = Path("a.pth")
        return variants.variables_of(path, tensors, released_weights.config_of(path, tensors, FIVE))

    with pytest.raises(UserError, match=message):
        read()


def test_a_file_of_another_model_is_told(tmp_path, capsys):
    write_zip(tmp_path / "a.pth", {"conv1.weight": Tensor(np.zeros((4, 3, 7, 7), np.float32))})
    with pytest.raises(SystemExit, match="2"):
        run("import-torch", tmp_path / "a.pth", "--out", tmp_path / "run")
    assert "a.pth: not a whole model of InsPose (no bbox_head.controller.weight)" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_star_reads_at_joints_of_the_skeleton():
    of = released_config.star_joints
    assert of(TINY) == (0, 0, 1, 1, 2, 2, 3, 3, 4)
    assert of(config.replace(TINY, star_joints=(4,) * 9)) == (4,) * 9
    with pytest.raises(UserError, match="the skeleton coco_5 has the joints 0 to 4"):
        of(config.replace(TINY, star_joints=(0, 1, 2, 3, 4, 5, 0, 0, 0)))


RECIPE = """
from dataclasses import replace
import test_released_import as tests
from inspose_jax import config

def recipe():
    model = config.replace(tests.TINY, frozen_stages=0)
    data = config.Data(source="drawn", scene=config.Scene(size=64, num_people=(1, 2)), num_drawn=16,
        short_side=(64, 64), long_side=64, test_short_side=64, shapes=((64, 64),))
    return config.Config(model, data, config.Schedule(batch_size=8, epochs=1, optimizer="adamw", learning_rate=1e-3))
"""


@pytest.mark.slow
def test_it_trains_on_drawn_people_with_its_seven_terms(tmp_path, capsys):
    (tmp_path / "tiny_released.py").write_text(RECIPE)
    run("train", tmp_path / "tiny_released.py", "--workdir", tmp_path / "run", "--steps", 2)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    first, second = (line for line in lines if "loss/total" in line)
    terms = {"cls", "keypoint", "coarse", "heatmap", "offset", "pull", "push"}
    assert {name for name in first if name.startswith("loss/")} == {f"loss/{name}" for name in {*terms, "total"}}
    assert first["loss/total"] == pytest.approx(sum(first[f"loss/{name}"] for name in terms), rel=1e-5)
    assert first["num_positives"] > 0
    assert second["loss/total"] != first["loss/total"]
    capsys.readouterr()

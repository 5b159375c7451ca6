"""Weights out and in again without PyTorch: the same bits for every tensor, the same people, and plain errors."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import inspose_jax
from inspose_jax import checkpoints, cli, config, config_check, config_json, methods
from inspose_jax.checkpoints import Checkpoints
from inspose_jax.errors import NotFound, UserError
from inspose_jax.predictor import Predictor
from inspose_jax.released import config as released_config
from inspose_jax.skeletons import COCO
from inspose_jax.torch_bridge import export, load_torch, paper_weights, reading, save_torch
from inspose_jax.training import step

FIVE = COCO.subset("nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle")
FILES = ["README.md", "config.json", "inspose_torch.py", "model.safetensors"]
MODELS = {
    "paper": tiny.model(score_threshold=0.0, nms_threshold=0.9),
    "released": config.replace(tiny.RELEASED, skeleton=FIVE, score_threshold=0.0),
}
FULL = (3, 4, 5, 6, 7)


def run(*words) -> None:
    with jax.numpy_dtype_promotion("standard"):  # as users have it
        cli.main([str(word) for word in words])


def fails(capsys, *words) -> str:
    """The one line that a command ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        run(*words)
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("inspose: error: ")


def shapes_of(model):
    return jax.eval_shape(methods.for_model(model).init, jax.random.key(0))


def random_variables(model, seed: int = 0):
    """Variables of which no two numbers are equal, whatever they would be at first."""
    rng = np.random.default_rng(seed)

    def fill(path, leaf):
        is_positive = path[-1].key in ("scale", "var")
        values = rng.uniform(0.5, 1.5, leaf.shape) if is_positive else rng.normal(0, 0.2, leaf.shape)
        return values.astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes_of(model))


def config_of(model) -> config.Config:
    return replace(tiny.CONFIG, model=model)


def write_run(folder: Path, one: config.Config, variables, average=None, **more) -> Path:
    """A run's folder with a checkpoint of step 7."""
    with Checkpoints(folder / "checkpoints", 0) as saved, jax.numpy_dtype_promotion("standard"):
        state = step.state_of(variables, methods.for_model(one.model), one.schedule, 10)
        saved.save(7, state if average is None else state._replace(average=average), one, **more)
    return folder


@pytest.fixture(scope="module", params=MODELS)
def trained(request, tmp_path_factory) -> tuple[Path, config.Config, dict]:
    """A run of each variant: its folder, config and variables."""
    one, variables = config_of(MODELS[request.param]), random_variables(MODELS[request.param])
    return write_run(tmp_path_factory.mktemp(request.param) / "run", one, variables), one, variables


def assert_same_tensors(found, wanted) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape), name
        assert found[name].tobytes() == np.ascontiguousarray(tensor).tobytes(), name


def assert_same_people(one: Predictor, other: Predictor) -> None:
    image = np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    a, b = one(image, threshold=0.0), other(image, threshold=0.0)
    assert len(a) > 3
    for name in ("keypoints", "keypoint_scores", "scores"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def counted(tensors: dict) -> dict:
    """The tensors with different counts, as a file of PyTorch's own training has."""
    counters = [name for name in tensors if name.endswith("num_batches_tracked")]
    return {**tensors, **{name: np.array(2**40 + i, np.int64) for i, name in enumerate(counters)}}


# --- the same bits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("variant", MODELS)
def test_import_then_export_gives_every_tensor_bit_for_bit(tmp_path, capsys, variant, suffix):
    model = MODELS[variant]
    tensors = counted(export.state_dict(random_variables(model), model))
    assert sum("num_batches_tracked" in name for name in tensors) == 20
    save_torch(tensors, tmp_path / f"a.{suffix}")
    skeleton = tmp_path / "skeleton.json"
    skeleton.write_text(json.dumps(config_json.to_dict(config_of(model))["model"]["skeleton"]))
    run("import-torch", tmp_path / f"a.{suffix}", "--out", tmp_path / "run", "--skeleton", skeleton)
    words = {"paper": "the paper's model on resnet18", "released": "the released model on resnet18"}[variant]
    recipe = {"paper": "r50_coco_36e", "released": "released_r50_coco_3x"}[variant]
    said = capsys.readouterr().out
    assert f"{words}, " in said
    assert f"by its tensors (sizes) and the recipe {recipe} (the rest), stored as float32; inspose predict" in said
    assert checkpoints.load(tmp_path / "run").config.data.test_short_side == 800
    for again in ("pth", "safetensors"):
        (tmp_path / again).mkdir()
        run("export-torch", tmp_path / "run", tmp_path / again / f"b.{again}")
        assert_same_tensors(load_torch(tmp_path / again / f"b.{again}"), tensors)


def test_import_then_export_gives_the_reference_s_tensors_bit_for_bit(tmp_path, golden):
    stored = golden("model")
    tensors = {name: stored[name] for name in stored.files}
    assert len(tensors) == 412
    save_torch(tensors, tmp_path / "a.pth")
    run("import-torch", tmp_path / "a.pth", "--out", tmp_path / "run")
    save_torch(tmp_path / "run", tmp_path / "b.safetensors")
    assert_same_tensors(load_torch(tmp_path / "b.safetensors"), tensors)


def test_full_size_the_keys_and_shapes_are_those_of_the_released_checkpoint(reference):
    table = reference / "keys" / "released_r50.tsv"
    if not table.is_file():
        pytest.skip(f"no table of keys at {table}; set INSPOSE_REFERENCE_DATA")
    wanted = dict(line.split("\t")[:2] for line in table.read_text().splitlines()[1:])
    model = released_config.Model()
    zeros = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes_of(model))
    found = export.state_dict(zeros, model)
    assert len(found) == 412
    assert {name: "x".join(map(str, tensor.shape)) or "scalar" for name, tensor in found.items()} == wanted


def test_counts_are_0_where_nothing_has_counted(trained, tmp_path):
    folder, one, variables = trained
    save_torch(folder, tmp_path / "a.pth")
    found = load_torch(tmp_path / "a.pth")
    counts = [tensor for name, tensor in found.items() if name.endswith("num_batches_tracked")]
    assert len(counts) == 20
    assert all(tensor.dtype == np.int64 and tensor == 0 for tensor in counts)
    assert_same_tensors(found, export.state_dict(variables, one.model))
    theta = variables["params"]["instance_heads"]["theta"]["conv"]
    np.testing.assert_array_equal(found["bbox_head.controller.weight"], theta["kernel"].transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(found["bbox_head.controller.bias"], theta["bias"])


# --- the same people ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["paper", pytest.param("released", marks=pytest.mark.slow)])  # it compiles long
def test_what_is_exported_finds_the_same_people(tmp_path, variant):
    one, variables = config_of(MODELS[variant]), random_variables(MODELS[variant])
    folder = write_run(tmp_path / "run", one, variables)
    save_torch(folder, tmp_path / "hub")
    again = inspose_jax.load(tmp_path / "hub")
    assert again.config == one
    assert_same_people(again, inspose_jax.load(folder))


def test_a_folder_for_a_model_hub_has_everything_and_comes_back(trained, tmp_path, capsys):
    folder, *_ = trained
    run("export-torch", folder, tmp_path / "hub")
    assert "of step 7; in PyTorch: from inspose_torch import load, in that folder" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "hub").iterdir()) == FILES
    run("import-torch", tmp_path / "hub", "--out", tmp_path / "run")
    assert "joints, by the config.json beside it, stored as float32; inspose predict" in capsys.readouterr().out
    before, after = checkpoints.load(folder), checkpoints.load(tmp_path / "run")
    assert after.config == before.config
    jax.tree.map(np.testing.assert_array_equal, after.variables, before.variables)


def test_a_file_with_its_config_is_loaded_directly(trained, tmp_path):
    folder, one, variables = trained
    run("export-torch", folder, tmp_path / "a.pth")
    found = inspose_jax.load(tmp_path / "a.pth")
    assert found.config == one
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(found.variables), variables)
    stored = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**stored, "written_by": {"version": "0.3.1"}}))
    run("export-torch", folder, tmp_path / "b.safetensors")  # the same config is there already
    assert reading.load(tmp_path / "b.safetensors").config == one


def test_a_released_file_is_loaded_directly(tmp_path):
    model = config.replace(MODELS["released"], skeleton=COCO)
    variables = random_variables(model)
    save_torch(export.state_dict(variables, model), tmp_path / "released.pth")
    found = reading.load(tmp_path / "released.pth")
    assert found.config.model == config.replace(model, score_threshold=0.05)
    assert (found.step, found.config.data.test_padding) == (0, "own")
    jax.tree.map(np.testing.assert_array_equal, found.variables, variables)


def test_what_is_evaluated_is_exported_or_the_parameters_on_request(tmp_path):
    one = replace(config_of(MODELS["paper"]), schedule=tiny.schedule(ema=0.9))
    params, average = random_variables(one.model), random_variables(one.model, seed=1)
    folder = write_run(tmp_path / "run", one, params, average)
    run("export-torch", folder, tmp_path / "hub")
    assert_same_tensors(load_torch(tmp_path / "hub/model.safetensors"), export.state_dict(average, one.model))
    run("export-torch", folder, tmp_path / "a.pth", "--raw")
    assert_same_tensors(load_torch(tmp_path / "a.pth"), export.state_dict(params, one.model))
    run("import-torch", tmp_path / "hub", "--out", tmp_path / "again")
    jax.tree.map(np.testing.assert_array_equal, checkpoints.load(tmp_path / "again").variables, average)


# --- sizes ----------------------------------------------------------------------------------------------------------

SIZES = {
    "tiny": tiny.MODEL,
    "no towers": tiny.model(head_depth=0, keypoint_depth=0, controller_kernel=1),
    "shared trunk": tiny.model(shared_trunk=True),
    "no dense branch": tiny.model(disk_offset=False, heatmap=False),
    "no heatmaps": tiny.model(heatmap=False),
    "maps of stride 4": tiny.model(map_level=2),
    "all levels": tiny.model(levels=FULL, level_limits=(64.0, 128.0, 256.0, 512.0), backbone="resnet50"),
    "HRNet": tiny.model(backbone="hrnet_w32", backbone_widths=(4, 8, 16, 32)),
    "published HRNet": tiny.model(backbone="hrnet_w48", backbone_widths=()),
    "published ResNet": tiny.model(backbone="resnet101", backbone_widths=()),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_of_the_paper_s_model_are_read_from_its_tensors(name):
    model = SIZES[name]
    shapes = shapes_of(model)
    variables = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes)
    found = paper_weights.config_of(Path("a.pth"), export.state_dict(variables, model))
    trains = ("batch_norm", "frozen_stages", "compute_dtype")  # leave no trace in the tensors
    gone = {"no towers": ("head_channels", "keypoint_channels"), "no dense branch": ("dense_channels",)}
    gone["shared trunk"] = gone["no dense branch"]
    kept = {field: getattr(found.network, field) for field in (*trains, *gone.get(name, ()))}
    assert found.network == replace(model.network, **kept)
    assert name not in gone or shapes_of(found) == shapes
    assert found.assignment.level_limits == model.assignment.level_limits
    config_check.check(config.Config(found))


# --- the card -------------------------------------------------------------------------------------------------------


def test_the_card_says_what_the_model_is_and_what_was_measured(trained, tmp_path):
    folder, one, variables = trained
    shutil.copytree(folder, tmp_path / "run")
    lines = [{"step": 6, "eval/AP": 0.1}, {"step": 7, "loss/total": 3.0}, {"step": 7, "eval/AP": 0.25, "eval/AR": 0.5}]
    (tmp_path / "run/metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run("export-torch", tmp_path / "run/checkpoints/7", tmp_path / "hub")
    card = (tmp_path / "hub/README.md").read_text()
    number = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    is_released = isinstance(one.model, type(tiny.RELEASED))
    words = "the released model (`released`" if is_released else "the paper's model (`inspose`"
    for expected in (
        "license: apache-2.0",
        f"| variant | {words} in config.json) |",
        f"| parameters | {number:,}, stored as float32 |",
        f"| joints ({one.model.skeleton.name}) | nose, ",
        "| trained | on people that the package draws, 7 steps of 2 images |",
        "| AP | 0.250 |\n| AR | 0.500 |",
        "(123.675, 116.28, 103.53)",
        "(58.395, 57.12, 57.375)",
        "shorter side has 64 pixels",
        "up to the smallest of 64 x 64 that fits",
    ):
        assert expected in card, expected
    assert "authors released carry no licence" not in card
    assert "0.100" not in card


def test_the_card_of_imported_weights_says_so(tmp_path):
    model = MODELS["released"]
    save_torch(export.state_dict(random_variables(model), model), tmp_path / "theirs.pth")
    (tmp_path / "config.json").write_text(json.dumps(config_json.to_dict(config_of(model))))
    run("import-torch", tmp_path / "theirs.pth", "--out", tmp_path / "run")
    run("export-torch", tmp_path / "run", tmp_path / "hub")
    card = (tmp_path / "hub/README.md").read_text()
    assert "license: unknown" in card
    assert "elsewhere; imported from theirs.pth" in card
    assert "those that the paper's authors released carry no licence statement of their own" in card
    assert "The weights are those of the file theirs.pth, and their licence is not known here" in card
    assert "None were measured" in card


def test_the_card_of_a_run_that_started_from_imported_weights_says_so_too(tmp_path):
    one = config_of(MODELS["paper"])
    told = {"kept": "everything", "afresh": "", "derived_from": "theirs.pth"}
    folder = write_run(tmp_path / "run", one, random_variables(one.model), from_weights=told, statistics={"AP": 0.5})
    run("export-torch", folder, tmp_path / "hub")
    card = (tmp_path / "hub/README.md").read_text()
    assert "license: unknown" in card
    assert "| on people that the package draws, 7 steps of 2 images, starting from the weights in theirs.pth |" in card
    assert "The weights derive from the file theirs.pth, and their licence is not known here; those that" in card
    assert "| AP | 0.500 |" in card


HALVES = {"float16": np.float16, "bfloat16": jnp.bfloat16, "float64": np.float64}


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("kind", HALVES)
def test_other_types_become_float32_which_is_said_and_for_half_precision_exact(tmp_path, capsys, kind, suffix):
    one = config_of(MODELS["paper"])
    tensors = export.state_dict(random_variables(one.model), one.model)
    given = {name: x if x.dtype == np.int64 else x.astype(HALVES[kind]) for name, x in tensors.items()}
    save_torch(given, tmp_path / f"theirs.{suffix}")
    (tmp_path / "config.json").write_text(json.dumps(config_json.to_dict(one)))
    run("import-torch", tmp_path / f"theirs.{suffix}", "--out", tmp_path / "run")
    same = "rounded" if kind == "float64" else "the same values"
    said = f"stored as float32; theirs.{suffix} has {kind}: {same}"
    assert said in capsys.readouterr().out
    run("export-torch", tmp_path / "run", tmp_path / "hub")
    assert said in (tmp_path / "hub/README.md").read_text()
    found = load_torch(tmp_path / "hub/model.safetensors")
    for name, x in given.items():
        if x.dtype != np.int64:
            assert found[name].dtype == np.float32
            np.testing.assert_array_equal(found[name], x.astype(np.float32))
            assert kind == "float64" or (found[name].astype(x.dtype).tobytes() == x.tobytes())


def test_the_best_checkpoint_brings_its_statistics_and_the_raw_parameters_none(tmp_path):
    one = replace(config_of(MODELS["paper"]), schedule=tiny.schedule(ema=0.9))
    variables = random_variables(one.model)
    folder = write_run(tmp_path / "run", one, variables, variables, statistics={"AP": 0.75})
    for flags, expected in (((), True), (("--raw",), False)):
        run("export-torch", folder, tmp_path / f"hub{len(flags)}", *flags)
        assert ("| AP | 0.750 |" in (tmp_path / f"hub{len(flags)}/README.md").read_text()) is expected


# --- what cannot be done --------------------------------------------------------------------------------------------


def test_what_cannot_be_exported_is_told_in_one_line(trained, tmp_path, capsys):
    folder, *_ = trained
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.pth").write_text("earlier")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/x").write_text("")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/config.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    for words, line in (
        ((tmp_path / "gone", tmp_path / "new"), "gone: no such checkpoint; give a run's folder"),
        ((tmp_path / "empty", tmp_path / "new"), "empty: holds no checkpoint; give a run's folder"),
        ((folder, tmp_path / "there.pth"), "there.pth: already exists; give a new file"),
        ((folder, tmp_path / "hub"), "hub: already exists; give a new or empty folder"),
        ((folder, tmp_path / "other/a.pth"), "config.json, which is of something else; export to a folder of its own"),
        ((folder, tmp_path / "no/a.pth"), "cannot be written (No such file or directory)"),
    ):
        assert line in fails(capsys, "export-torch", *words)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "there.pth").read_text() == "earlier"


def test_a_recipe_s_own_method_cannot_be_exported(tmp_path, capsys):
    own = {"name": "own.py", "sha256": "0", "text": ""}
    one = config_of(MODELS["paper"])
    with Checkpoints(tmp_path / "run/checkpoints", 0) as saved, jax.numpy_dtype_promotion("standard"):
        variables = random_variables(one.model)
        saved.save(1, step.state_of(variables, methods.for_model(one.model), one.schedule, 10), one, own)
    line = fails(capsys, "export-torch", tmp_path / "run", tmp_path / "new")
    assert line.endswith("run: was trained with a recipe's own method, which has no counterpart in PyTorch; only the "
                         "methods of the package can be exported")  # fmt: skip
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A folder with a file of each variant, without configs."""
    folder = tmp_path_factory.mktemp("weights")
    for name, model in MODELS.items():
        (folder / name).mkdir()
        save_torch(export.state_dict(random_variables(model), model), folder / name / "a.pth")
    return folder


def test_what_cannot_be_imported_is_told_in_one_line(weights, tmp_path, capsys):
    def line_of(file, *more) -> str:
        return fails(capsys, "import-torch", file, "--out", tmp_path / "new", *more)

    assert "a.pth: holds the paper's model, not the released model; leave out --variant" in line_of(
        weights / "paper", "--variant", "released"
    )
    assert "a.pth: holds the released model, not the paper's model; leave out --variant" in line_of(
        weights / "released/a.pth", "--variant", "paper"
    )
    assert "gone.pth: no such file of weights; check the path" in line_of(weights / "gone.pth")
    unnamed = "a model of 5 joints, which the file does not name; the skeleton coco has 17"
    assert unnamed in line_of(weights / "released")
    assert "holds no .safetensors, .pth, .pt file; name the file of weights" in line_of(weights)
    assert not (tmp_path / "new").exists()


def test_a_config_that_does_not_fit_its_weights_is_told(weights, tmp_path, capsys):
    tensors = load_torch(weights / "paper/a.pth")
    for change, message in (
        ("{", "config.json: not JSON ("),
        (config_json.to_dict(config_of(MODELS["released"])), "config.json: describes the released model, but a.pth "),
        (
            config_json.to_dict(config_of(tiny.model(head_channels=4))),
            "a.pth: the weights do not fit the paper's model of its config: 8 of another shape: bbox_head.",
        ),
        ({**config_json.to_dict(config_of(tiny.MODEL)), "method": "later"}, "config.method is 'later'"),
    ):
        place = tmp_path / "a.pth"
        save_torch(tensors, place)
        (tmp_path / "config.json").write_text(change if isinstance(change, str) else json.dumps(change))
        with pytest.raises(UserError) as raised:
            reading.read(place)
        assert message in str(raised.value)
    (tmp_path / "config.json").write_text('{"_class_name": "of another library"}')
    assert reading.read(place).config.model.network == replace(tiny.MODEL.network, batch_norm="frozen", frozen_stages=1)
    (tmp_path / "config.json").write_text(json.dumps(config_json.to_dict(config_of(MODELS["paper"]))))
    line = fails(capsys, "import-torch", place, "--out", tmp_path / "new", "--skeleton", "crowdpose")
    assert "its joints are in config.json beside it; leave out --skeleton" in line


def test_a_checkpoint_comes_before_weights_beside_it_and_of_several_files_one_must_be_named(trained, tmp_path):
    folder, one, variables = trained
    shutil.copytree(folder, tmp_path / "run")
    other = export.state_dict(random_variables(one.model, seed=3), one.model)
    save_torch(other, tmp_path / "run/model.safetensors")
    found = reading.load(tmp_path / "run")
    assert found.step == 7
    jax.tree.map(np.testing.assert_array_equal, found.variables, variables)
    shutil.rmtree(tmp_path / "run/checkpoints")
    save_torch(other, tmp_path / "run/model.pth")
    assert reading.weights_file(tmp_path / "run").name == "model.safetensors", "hubs keep the same weights twice"
    save_torch(other, tmp_path / "run/more.safetensors")
    with pytest.raises(UserError, match=r"run: holds model.safetensors, more.safetensors; name the file of weights"):
        reading.load(tmp_path / "run")
    with pytest.raises(NotFound, match=r"no such checkpoint"):
        reading.load(tmp_path / "gone.pth")

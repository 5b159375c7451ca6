"""Weights of another run as the start of a new one: what is kept, what starts afresh, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
import toy_recipe

import inspose_jax
from inspose_jax import checkpoints, cli, config, config_json, methods, recipes
from inspose_jax.checkpoints import Loaded
from inspose_jax.cli import initial_weights, sources
from inspose_jax.config import Config
from inspose_jax.errors import UserError
from inspose_jax.predictor import Predictor
from inspose_jax.skeletons import COCO, CROWDPOSE
from inspose_jax.torch_bridge import export, imported, reading
from inspose_jax.torch_bridge.tensor_files import write_tensors
from inspose_jax.training import loop
from inspose_jax.training.start import Evaluation, Extras, Pretrained
from inspose_jax.training.transfer import transfer

FIVE = COCO.subset("nose", "right_wrist", "left_wrist", "left_elbow", "left_ankle")
TAIL = replace(FIVE, name="tail", keypoint_names=("left_ankle", "tail", "nose", "left_wrist", "right_wrist"))
MODELS = {"paper": tiny.MODEL, "released": tiny.RELEASED}
PATH = Path("a")


def side(model, seed=0) -> Loaded:
    """A model with random weights and biases."""
    rng = np.random.default_rng(seed)
    variables = jax.tree.map(lambda x: rng.normal(0, 0.1, x.shape).astype(np.float32), tiny.variables(model))
    variables["batch_stats"] = jax.tree.map(np.abs, variables["batch_stats"])
    return Loaded(Config(model), methods.for_model(model), variables, 0, {})


def moved(found: Loaded, here: Loaded):
    return transfer(PATH, found, here.config, here.method, here.variables)


def leaves(variables) -> dict[str, np.ndarray]:
    found = jax.tree_util.tree_leaves_with_path(variables)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in found}


def parts(model) -> dict[str, int]:
    """Layers with outputs for every joint, and how many for each."""
    if model is tiny.MODEL:
        return {"disk_offset.offsets": 2, "heatmap.logits": 1}
    return {"instance_heads.coarse": 2, "dense.heatmaps": 1, "dense.tags": 1, "dense.offsets": 2}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_equal_joints_are_kept_and_the_others_start_afresh(model):
    found, here = side(model), side(replace(model, skeleton=TAIL), seed=1)
    variables, told = moved(found, here)
    old, new, random = map(leaves, (found.variables, variables, here.variables))
    of_coco = {0: 15, 2: 0, 3: 9, 4: 10}  # place in TAIL -> place in COCO; 1 is the tail
    checked = set()

    def check(name, axis_last_new, axis_last_old):
        """Where the last axis of `name` comes from: -1 for nowhere."""
        checked.add(name)
        for place, source in zip(axis_last_new, axis_last_old, strict=True):
            expected = random[name][..., place] if source < 0 else old[name][..., source]
            np.testing.assert_array_equal(new[name][..., place], expected)

    for layer, each in parts(model).items():
        source = [each * of_coco[k] + i if k in of_coco else -1 for k in range(5) for i in range(each)]
        for leaf in ("kernel", "bias"):
            check(f"params.{layer}.conv.{leaf}", range(5 * each), source)
    # Theta: 160 parameters of the first two layers; then 8 weights for each joint, then their biases.
    source = list(range(160))
    source += [160 + 8 * of_coco[k] + i if k in of_coco else -1 for k in range(5) for i in range(8)]
    source += [160 + 8 * 17 + of_coco[k] if k in of_coco else -1 for k in range(5)]
    for leaf in ("kernel", "bias"):
        check(f"params.instance_heads.theta.conv.{leaf}", range(205), source)
    if model is tiny.RELEASED:
        # The stars of TAIL read at its joints 0 0 1 1 2 2 3 3 4, those of COCO at 0 5 6 9 10 11 12 15 16.
        for name in ("classification_star", "controller_star"):
            name = f"params.instance_heads.{name}.conv.kernel"
            checked.add(name)
            kernels = [x[name].reshape(9, *x[name].shape[2:]) for x in (new, old, random)]
            for tap, source in enumerate([7, -1, -1, -1, 0, -1, 3, -1, 4]):
                expected = kernels[2][tap] if source < 0 else kernels[1][source]
                np.testing.assert_array_equal(kernels[0][tap], expected)
    for name in new.keys() - checked:
        np.testing.assert_array_equal(new[name], old[name])
    assert told["kept"].startswith("what does not depend on joints; of left_ankle, nose, left_wrist, right_wrist: ")
    assert "instance_heads.theta 196 of 205" in told["kept"]
    assert "instance_heads.theta 9" in told["afresh"]
    assert told["afresh"].endswith(" (tail)")
    if model is tiny.RELEASED:
        assert "instance_heads.controller_star 4 of 9" in told["kept"]
        assert "instance_heads.controller_star 5" in told["afresh"]


@pytest.mark.parametrize("model", [tiny.MODEL, pytest.param(tiny.RELEASED, marks=pytest.mark.slow)], ids=MODELS)
def test_the_same_joints_in_another_order_are_found_where_they_were(model):
    names = COCO.keypoint_names
    turned = COCO.subset(*names[::-1])
    model = config.replace(model, score_threshold=0.0)
    found, here = side(model), side(replace(model, skeleton=turned), seed=1)
    variables, told = moved(found, here)
    assert told["afresh"] == ""
    data = replace(tiny.CONFIG.data, test_short_side=64)
    image = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    seen = []
    for one, values in ((found, found.variables), (here, variables)):
        predictor = Predictor(replace(one.config, data=data), values, jax.local_devices()[:1])
        seen.append(predictor(image, threshold=0.0))
    assert len(seen[0]) > 0
    np.testing.assert_allclose(seen[1].keypoints[:, ::-1], seen[0].keypoints, atol=1e-3)
    np.testing.assert_allclose(seen[1].scores, seen[0].scores, atol=1e-6)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_same_joints_keep_everything_and_trained_or_frozen_is_no_difference(model):
    found = side(model)
    here = side(config.replace(model, batch_norm="trained", frozen_stages=2, compute_dtype="bfloat16"), seed=1)
    variables, told = moved(found, here)
    jax.tree.map(np.testing.assert_array_equal, variables, found.variables)
    assert told == {"kept": "everything", "afresh": ""}


def test_joints_of_which_only_some_are_known():
    _, told = moved(side(tiny.MODEL), side(replace(tiny.MODEL, skeleton=CROWDPOSE)))
    assert told["afresh"] == "disk_offset.offsets 4, heatmap.logits 2, instance_heads.theta 18 (top_head, neck)"
    none = replace(FIVE, keypoint_names=tuple("abcde"))
    _, told = moved(side(tiny.MODEL), side(replace(tiny.MODEL, skeleton=none)))
    assert told["kept"] == "what does not depend on joints; of no joint: instance_heads.theta 160 of 205"


def test_everything_that_has_to_be_equal_and_is_not_is_listed():
    other = tiny.model(head_channels=16, backbone_widths=(4, 4, 4, 4), keypoint_depth=2)
    other = config.replace(other, num_slots=3, batch_norm="frozen", frozen_stages=1)  # these are no difference
    other = replace(other, kp_net=config.KPNet(depth=2), skeleton=FIVE)
    with pytest.raises(UserError) as error:
        moved(side(tiny.MODEL), side(other))
    assert str(error.value) == (
        "a: the weights of another model: model.backbone_widths (4, 8, 16, 32), here (4, 4, 4, 4); model.head_channels "
        "8, here 16; model.keypoint_depth 1, here 2; model.kp_net.depth 3, here 2; set these fields to its values "
        "(--config.model.FIELD VALUE), or give other weights"
    )


def test_a_kp_net_that_reads_coordinates_of_another_scale_is_another_model():
    other = replace(tiny.MODEL, kp_net=config.KPNet(relative_scale=32.0))
    with pytest.raises(UserError, match=r"another model: model.kp_net.relative_scale 64.0, here 32.0; set"):
        moved(side(tiny.MODEL), side(other))


def test_another_method_is_refused():
    with pytest.raises(UserError, match="a: the weights of another method, released, where the recipe's is inspose"):
        moved(side(tiny.RELEASED), side(tiny.MODEL))


def toy(model) -> Loaded:
    method = toy_recipe.method(model)
    return Loaded(Config(model), method, jax.tree.map(np.asarray, method.init(jax.random.key(0))), 0, {})


def test_a_method_that_does_not_tell_joints_apart_takes_weights_of_the_same_joints_only():
    found = toy(toy_recipe.Toy())
    variables, told = moved(found, toy(toy_recipe.Toy()))
    jax.tree.map(np.testing.assert_array_equal, variables, found.variables)
    assert told["kept"] == "everything"
    with pytest.raises(UserError, match="weights for the joints of coco_1, here coco_5; its method does not say"):
        moved(found, toy(toy_recipe.Toy(skeleton=FIVE)))
    with pytest.raises(
        UserError, match=r"params.heat.kernel \(1, 1, 6, 1\), here \(1, 1, 4, 1\).*use the same network"
    ):
        moved(found, toy(toy_recipe.Toy(channels=4)))


RECIPE = """
import dataclasses
import tiny
from inspose_jax.config import Machine

def recipe():
    # The rate is too low to move anything but the statistics of batch norm.
    schedule = tiny.schedule(batch_size=8, learning_rate=1e-12)
    return dataclasses.replace(tiny.CONFIG, model=tiny.{model}, schedule=schedule)
"""


def train(*words) -> None:
    with jax.numpy_dtype_promotion("standard"):  # as users have it; optax's Adam is not strict
        cli.main(["train", "small.py", "--workdir", "run", *map(str, words)])


def prepare(folder: Path, model: str) -> None:
    (folder / "small.py").write_text(RECIPE.format(model=model))
    fields = ("name", "keypoint_names", "limbs", "flip_pairs", "oks_sigmas")
    (folder / "five.json").write_text(json.dumps({name: getattr(FIVE, name) for name in fields}))


@pytest.mark.slow
def test_a_run_of_five_joints_starts_from_a_run_of_seventeen_and_resumes(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path, "MODEL")
    train("--skeleton", "five.json", "--init", place / "run", "--steps", 1)
    kept = (
        "what does not depend on joints; of nose, right_wrist, left_wrist, left_elbow, left_ankle: "
        "disk_offset.offsets 10 of 10, heatmap.logits 5 of 5, instance_heads.theta 205 of 205"
    )
    assert capsys.readouterr().out.startswith(f"inspose: {place}/run (coco, 17 joints): kept: {kept}\n")
    source = checkpoints.load(place / "run").variables["params"]
    params = checkpoints.load("run").variables["params"]
    of_coco = [0, 10, 9, 7, 15]
    now, before = (x["heatmap"]["logits"]["conv"] for x in (params, source))
    for leaf in ("kernel", "bias"):
        np.testing.assert_allclose(now[leaf], before[leaf][..., of_coco], atol=1e-6)
    np.testing.assert_allclose(params["fpn"]["output3"]["kernel"], source["fpn"]["output3"]["kernel"], atol=1e-6)
    about = json.loads(Path("run/config.json").read_text())
    assert about["weights"] == checkpoints.identity(place / "run")[:12]
    assert about["from_weights"] == {"kept": kept, "afresh": ""}

    again = ("--skeleton", "five.json", "--steps", 1, "--resume")
    with pytest.raises(SystemExit, match="2"):  # other weights
        train(*again, "--init", "run")
    assert f"was started with other values: weights {about['weights']} -> " in capsys.readouterr().err
    train(*again, "--config.machine.num-threads", 3)
    assert capsys.readouterr().out == ""
    assert inspose_jax.load("run").skeleton == FIVE
    changed = json.loads(Path("run/config.json").read_text())
    assert (changed["weights"], changed["from_weights"]) == (about["weights"], about["from_weights"])
    assert changed["machine"]["num_threads"] == 3


def torch_file(path: Path, found: Loaded) -> None:
    """The file with these variables."""
    write_tensors(export.state_dict(found.variables, found.config.model), path)


def test_a_file_without_a_config_is_read_as_coco(tmp_path):
    found = side(tiny.RELEASED)
    torch_file(tmp_path / "a.pth", found)
    read = reading.load(tmp_path / "a.pth")
    assert read.config.model == tiny.RELEASED
    jax.tree.map(np.testing.assert_array_equal, read.variables, found.variables)
    torch_file(tmp_path / "b.pth", side(replace(tiny.RELEASED, skeleton=FIVE)))
    with pytest.raises(UserError, match=r"b.pth: a model of 5 joints, which the file does not name; the skel.* coco"):
        reading.load(tmp_path / "b.pth")


@pytest.fixture
def theirs(tmp_path) -> Path:
    """A run's folder that was imported from theirs.pth."""
    torch_file(tmp_path / "theirs.pth", side(tiny.MODEL))
    (tmp_path / "config.json").write_text(json.dumps(config_json.to_dict(Config(tiny.MODEL))))
    cli.main(["import-torch", str(tmp_path / "theirs.pth"), "--out", str(tmp_path / "imported")])
    return tmp_path / "imported"


def test_the_file_from_elsewhere_that_weights_derive_from_is_handed_on(theirs, place):
    recipe = recipes.read("drawn_people")

    def origin(path: Path) -> str:
        _, told = initial_weights.load_into(path, recipe, tiny.CONFIG, tiny.METHOD, tiny.variables())
        assert told["kept"] == "everything"
        return told.get("derived_from", "")

    found = checkpoints.load(theirs)
    later = theirs.parent / "later"
    with checkpoints.Checkpoints(later / "checkpoints", 0) as saved:
        state = imported.Weights(**found.variables)
        saved.save(3, state, found.config, from_weights={"kept": "some", "derived_from": "theirs.pth"})
    assert [origin(path) for path in (theirs.parent / "theirs.pth", theirs, later)] == ["theirs.pth"] * 3
    assert origin(place / "run") == ""


def test_every_checkpoint_records_where_its_run_started_also_after_it_resumed(tmp_path):
    given = toy_recipe.recipe()
    source = sources.training_source(given, sources.Given())
    method = toy_recipe.method(given.model)
    told = {"kept": "everything", "derived_from": "theirs.pth"}
    weights = Pretrained("a1", lambda variables: (variables, told))
    loop.train(given, source, tmp_path, 2, stop_at=1, pretrained=weights, method=method)
    sheet = np.zeros((2, 2, 3), np.uint8)
    extras = Extras(lambda variables: Evaluation({"AP": 1.0}, sheet), eval_every=2)
    loop.train(given, source, tmp_path, 2, resume=True, extras=extras, method=method)
    for name in ("checkpoints/1", "checkpoints/2", "best/2"):
        assert checkpoints.read_intact_about(tmp_path / name)["from_weights"] == told
    assert json.loads((tmp_path / "config.json").read_text())["from_weights"] == told


@pytest.mark.slow
def test_the_released_file_is_fine_tuned_on_five_joints_with_one_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path, "RELEASED")
    found = side(tiny.RELEASED)
    torch_file(tmp_path / "released.pth", found)
    train("--skeleton", "five.json", "--init", "released.pth", "--steps", 1)
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first.startswith("inspose: released.pth (coco, 17 joints): kept: what does not depend on joints; of nose, r")
    assert second == (
        "inspose: released.pth: starts afresh: instance_heads.classification_star 5, instance_heads.controller_star 5"
    )
    params = checkpoints.load("run").variables["params"]
    tags = found.variables["params"]["dense"]["tags"]["conv"]["kernel"]
    np.testing.assert_allclose(params["dense"]["tags"]["conv"]["kernel"], tags[..., [0, 10, 9, 7, 15]], atol=1e-6)
    cli.main(["export-torch", "run", "hub"])
    card = Path("hub/README.md").read_text()
    assert "license: unknown" in card
    assert "package draws, 1 steps of 8 images, starting from the weights in released.pth |" in card

"""Skeletons: presets, subsets and files; and one of five joints used with all commands."""

import json
from dataclasses import asdict, replace

import jax
import numpy as np
import pytest
import tiny

import inspose_jax
from inspose_jax import cli, skeletons
from inspose_jax.config import Config
from inspose_jax.config_check import check
from inspose_jax.data import category_skeleton
from inspose_jax.errors import UserError
from inspose_jax.skeletons import COCO, PRESETS

FIVE = COCO.subset("nose", "right_wrist", "left_wrist", "left_elbow", "left_ankle")
RECIPE = """
import dataclasses
import tiny

def recipe():
    model = tiny.model(score_threshold=0.0, nms_threshold=1.0)
    return dataclasses.replace(tiny.CONFIG, model=model, schedule=tiny.schedule(batch_size=8))
"""


def test_a_subset_keeps_the_limbs_and_pairs_between_its_joints():
    assert FIVE.keypoint_names == ("nose", "right_wrist", "left_wrist", "left_elbow", "left_ankle")
    assert FIVE.flip_pairs == ((2, 1),)  # left and right wrist
    assert FIVE.limbs == ((3, 2),)  # left elbow to left wrist
    assert FIVE.oks_sigmas == (0.026, 0.062, 0.062, 0.072, 0.089)
    assert FIVE.flip_order == (0, 2, 1, 3, 4)
    with pytest.raises(UserError, match=r"tail: not a joint of coco, which has nose, left_eye"):
        COCO.subset("nose", "tail")


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_presets_are_valid_and_read_by_name(preset):
    assert skeletons.fault(preset) == ""
    assert skeletons.read(preset.name) == preset
    by_name = set(category_skeleton.flip_pairs(preset.keypoint_names))
    pairs = {tuple(sorted(pair)) for pair in preset.flip_pairs}
    assert by_name <= pairs
    numbered = {pair for pair in pairs if "face" in preset.keypoint_names[pair[0]]}  # face-0 to face-67
    assert pairs - by_name == numbered


def test_the_presets_have_the_joints_of_their_datasets():
    numbers = {"coco": 17, "crowdpose": 14, "coco_wholebody": 133, "posetrack18": 17, "ap10k": 17, "mpii": 16}
    numbers |= {"halpe26": 26, "aic": 14, "animalpose": 20}
    assert {name: preset.num_keypoints for name, preset in PRESETS.items()} == numbers
    face = PRESETS["coco_wholebody"]
    assert face.keypoint_names[face.flip_order[face.keypoint_names.index("face-0")]] == "face-16"  # the jaw's ends


def test_a_preset_is_found_by_the_names_of_its_joints():
    assert skeletons.preset_with(COCO.keypoint_names) is COCO
    assert skeletons.preset_with(name.replace("_", " ").title() for name in COCO.keypoint_names[::-1]) is COCO
    assert skeletons.preset_with(COCO.keypoint_names[:16]) is None
    assert skeletons.preset_with([*COCO.keypoint_names[:16], "nose"]) is None


def written(path, **changes):
    path.write_text(json.dumps({**asdict(FIVE), **changes}))
    return path


def test_a_file_is_read_back(tmp_path):
    assert skeletons.read(str(written(tmp_path / "five.json"))) == FIVE


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"oks_sigmas": [0.1]}, "oks_sigmas must be 5 numbers above 0, one per joint"),
        ({"oks_sigmas": [0.1, 0.1, 0, 0.1, 0.1]}, "oks_sigmas must be 5 numbers above 0, one per joint"),
        ({"oks_sigmas": "wide"}, "not a skeleton .*ValueError"),
        ({"limbs": [[0, 5]]}, "limbs must be pairs of two joints, each from 0 to 4"),
        ({"limbs": [[0, 0]]}, "limbs must be pairs of two joints"),
        ({"limbs": [[0, 1, 2]]}, "not a skeleton .*ValueError"),
        ({"limbs": 3}, "not a skeleton .*TypeError"),
        ({"flip_pairs": [[0, 1], [1, 2]]}, "flip_pairs must hold no joint twice"),
        ({"keypoint_names": ["a"] * 5}, "keypoint_names must name at least one joint, and none of them twice"),
        ({"keypoint_names": "abcde"}, "not a skeleton .*keypoint_names must be a list of text"),
    ],
)
def test_a_file_without_a_skeleton_is_refused(tmp_path, changes, line):
    path = written(tmp_path / "five.json", **changes)
    with pytest.raises(UserError, match=rf"five\.json: {line}"):
        skeletons.read(str(path))


def test_missing_files_and_unknown_names_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"kokos: no such skeleton; give coco, .*, animalpose, or a JSON file"):
        skeletons.read("kokos")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"a\.json: not a skeleton \(JSONDecodeError"):
        skeletons.read(str(tmp_path / "a.json"))
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(
        UserError, match=r"b\.json: not a skeleton \(KeyError: 'limbs'\); it must be an object with name"
    ):
        skeletons.read(str(tmp_path / "b.json"))
    broken = replace(COCO, oks_sigmas=COCO.oks_sigmas[1:])
    with pytest.raises(
        UserError, match="it must have joints of different names, one sigma per joint, and pairs of joints"
    ):
        check(Config(tiny.model(skeleton=broken)))


@pytest.mark.slow
def test_five_joints_are_trained_saved_loaded_evaluated_and_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.py").write_text(RECIPE)
    written(tmp_path / "five.json")
    with jax.numpy_dtype_promotion("standard"):  # as users have it; optax's Adam is not strict
        cli.main(
            ["train", "small.py", "--skeleton", "five.json", "--workdir", "run", "--steps", "2", "--eval-every", "2"]
        )
    (tmp_path / "five.json").unlink()  # the checkpoint has all of it
    model = inspose_jax.load("run")
    assert model.skeleton == FIVE
    people = model(np.zeros((64, 64, 3), np.uint8), threshold=0.0)
    assert people.keypoints.shape[1:] == (5, 2)
    # After two steps no score is high.
    confident = replace(people, keypoint_scores=np.ones_like(people.keypoint_scores))
    assert (confident.plot() > 0).any(), "joints are drawn on black"
    lines = map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines())
    (told,) = [line for line in lines if "eval/AP" in line]
    assert -1 <= told["eval/AP"] <= 1
    about = json.loads((tmp_path / "run/config.json").read_text())
    assert about["model"]["skeleton"]["oks_sigmas"] == list(FIVE.oks_sigmas)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["train", "small.py", "--skeleton", "crowdpose", "--workdir", "other", "--steps", "2"])
    assert "drawn people have no joint top_head, neck of the skeleton crowdpose" in capsys.readouterr().err

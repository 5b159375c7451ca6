"""From a folder with joints of its own to a run and its score, through the command line."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
import tiny
from faults import SMALL
from PIL import Image

import inspose_jax
from inspose_jax import cli, recipes, skeletons
from inspose_jax.data import pipeline
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.errors import UserError
from inspose_jax.skeletons import COCO, FROM_DATA

NAMES = ["nose", "left_ear", "right_ear", "tail", "back"]


@pytest.fixture
def horses(tmp_path, monkeypatch):
    """A current folder with a folder `horses` of eight images, each with one horse of five joints, and a recipe."""
    monkeypatch.chdir(tmp_path)
    content = {"images": [], "annotations": [], "categories": [{"id": 3, "name": "horse", "keypoints": NAMES}]}
    (tmp_path / "horses").mkdir()
    for number in range(8):
        Image.new("RGB", (64, 64), (number * 20, 90, 40)).save(tmp_path / f"horses/{number}.jpg")
        content["images"].append({"id": number, "file_name": f"{number}.jpg", "height": 64, "width": 64})
        joints = np.array([[10, 10, 2], [30, 8, 2], [40, 30, 1], [0, 0, 0], [20, 40, 2]]).ravel().tolist()
        content["annotations"].append({"id": number, "image_id": number, "category_id": 3, "keypoints": joints})
    (tmp_path / "horses/labels.json").write_text(json.dumps(content))
    (tmp_path / "small.py").write_text(SMALL.replace("Model(network", "Model(skeleton=FROM_DATA, network").replace(
        "def recipe", "from inspose_jax.skeletons import FROM_DATA\ndef recipe"
    ))  # fmt: skip
    return tmp_path


def run(*words: str) -> None:
    with jax.numpy_dtype_promotion("standard"):  # as users have it
        cli.main([*words])


@pytest.mark.slow
@pytest.mark.filterwarnings("always::UserWarning")
def test_a_folder_with_joints_of_its_own_trains_and_is_evaluated(horses, capsys):
    size = ["--config.schedule.batch-size", "8"]
    run("train", "small.py", "--data", "horses", "--val-data", "horses", "--workdir", "run", "--steps", "2", *size)
    out, error = capsys.readouterr()
    assert out.splitlines()[0] == (
        "inspose: horses/labels.json: COCO keypoints, images in horses: 8 images, 8 people with 5 joints (horse)"
    )
    assert "the people have no box in the file; the box of the labelled joints is taken instead" in error
    skeleton = json.loads((horses / "run/config.json").read_text())["model"]["skeleton"]
    assert (skeleton["keypoint_names"], skeleton["flip_pairs"]) == (NAMES, [[1, 2]])
    model = inspose_jax.load("run")
    assert model.skeleton.keypoint_names == tuple(NAMES)
    run("eval", "--checkpoint", "run", "--data", "horses")
    assert "over 8 images" in capsys.readouterr().out
    run("train", "small.py", "--data", "horses", "--workdir", "run", "--steps", "2", *size, "--resume")
    with pytest.raises(SystemExit, match="2"):
        run("eval", "--checkpoint", "run", "--data", "horses", "--category", "dog")
    assert 'no category is named "dog"' in capsys.readouterr().err


def as_yolo(folder, content):
    """YOLO-pose, with the images of `folder` for training and for validation."""
    settings = {"train": "images", "val": "images", "names": ["horse"], "kpt_shape": [5, 3]}
    names = json.dumps({**settings, "flip_idx": [0, 2, 1, 3, 4], "kpt_names": {0: NAMES}})  # JSON is YAML too
    (folder / "data.yaml").write_text(names)
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for image, person in zip(content["images"], content["annotations"], strict=True):
        joints = np.array(person["keypoints"]).reshape(5, 3) / (64, 64, 1)
        (folder / image["file_name"]).rename(folder / "images" / image["file_name"])
        row = " ".join(map(str, [0, 0.4, 0.4, 0.6, 0.6, *joints.ravel().tolist()]))
        (folder / "labels" / image["file_name"]).with_suffix(".txt").write_text(row)


def as_roboflow(folder, content):
    """Roboflow's export, with a folder for each part."""
    for part in ("train", "valid"):
        (folder / part).mkdir()
        (folder / part / "_annotations.coco.json").write_text(json.dumps(content))
        for image in content["images"]:
            (folder / part / image["file_name"]).write_bytes((folder / image["file_name"]).read_bytes())


def as_cvat(folder, content):
    """CVAT's export of one part."""
    for person in content["annotations"]:
        person |= {"attributes": {"occluded": False}, "bbox": [10, 8, 30, 32], "area": 960}
    (folder / "annotations").mkdir()
    (folder / "annotations/person_keypoints_default.json").write_text(json.dumps(content))
    (folder / "images/default").mkdir(parents=True)
    for image in content["images"]:
        (folder / image["file_name"]).rename(folder / "images/default" / image["file_name"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("write", "said"),
    [
        (as_yolo, "horses/data.yaml: YOLO-pose, images in {here}/horses/images"),
        (as_roboflow, "horses/train/_annotations.coco.json: COCO keypoints of Roboflow, images in horses/train"),
        (
            as_cvat,
            "horses/annotations/person_keypoints_default.json: COCO keypoints of CVAT, images in horses/images/default",
        ),
    ],
)
def test_what_tools_export_trains_and_is_evaluated(horses, capsys, write, said):
    content = json.loads((horses / "horses/labels.json").read_text())
    (horses / "horses/labels.json").unlink()
    write(horses / "horses", content)
    size = ["--config.schedule.batch-size", "8"]
    run("train", "small.py", "--data", "horses", "--val-data", "horses", "--workdir", "run", "--steps", "1", *size)
    assert capsys.readouterr().out.splitlines()[0] == (
        f"inspose: {said.format(here=horses)}: 8 images, 8 people with 5 joints (horse)"
    )
    assert inspose_jax.load("run").skeleton.flip_pairs == ((1, 2),)
    run("eval", "--checkpoint", "run", "--data", "horses")
    assert "over 8 images" in capsys.readouterr().out


@pytest.mark.filterwarnings("always::UserWarning")
@pytest.mark.parametrize("recipe", ["r50_coco_36e", "released_r50_coco_3x"])
def test_a_recipe_that_names_cocos_joints_refuses_others(horses, capsys, recipe):
    with pytest.raises(SystemExit, match="2"):
        run("train", recipe, "--data", "horses", "--workdir", "out")
    *_, line = capsys.readouterr().err.splitlines()
    assert 'category "horse" (id 3) has other joints than coco: joint 2 is "left_ear"' not in line  # COCO has it
    assert 'has other joints than coco: joint 4 is "tail", "left_eye" is missing' in line
    assert not (horses / "out").exists()


@pytest.mark.filterwarnings("always::UserWarning")
def test_labels_are_shown_with_their_own_joints(horses, capsys):
    run("data", "show", "--data", "horses", "--out", "labels.png")
    run("data", "check", "--data", "horses")
    assert "horses/labels.json: no fault found" in capsys.readouterr().out
    assert (horses / "labels.png").is_file()


def test_a_config_takes_the_skeleton_of_the_data_or_refuses_it():
    source = DrawnPeople(tiny.CONFIG.data.scene, "train", 0, 1)
    leaves_open = replace(tiny.CONFIG, model=tiny.model(skeleton=FROM_DATA))
    assert pipeline.for_data(leaves_open, source).model.skeleton == COCO
    assert pipeline.for_data(tiny.CONFIG, source) is tiny.CONFIG
    two = replace(tiny.CONFIG, model=tiny.model(skeleton=COCO.subset("nose", "left_eye")))
    with pytest.raises(UserError, match="the config has the 2 joints of coco_2, the data has the 17 of coco; set"):
        pipeline.for_data(two, source)


def test_the_recipe_for_any_data_leaves_the_skeleton_open():
    assert recipes.read("keypoints").config.model.skeleton == skeletons.read("data") == FROM_DATA

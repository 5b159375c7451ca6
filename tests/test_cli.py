"""The command line: what it writes agrees with Python, and every bad input gets one line and exit code 2."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import pytest
import tiny
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from inspose_jax import cli
from inspose_jax.checkpoints import Checkpoints
from inspose_jax.cli import predict
from inspose_jax.training import step

# Random weights find somebody everywhere once no score is too low.
CONFIG = replace(tiny.CONFIG, model=tiny.model(score_threshold=0.0, nms_threshold=0.9))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a checkpoint `run` and a drawn set `drawn`."""
    place = tmp_path_factory.mktemp("cli")
    variables = tiny.variables(CONFIG.model)
    with Checkpoints(place / "run" / "checkpoints") as checkpoints, jax.numpy_dtype_promotion("standard"):
        checkpoints.save(1, step.state_of(variables["params"], variables["batch_stats"], CONFIG, 10), CONFIG)
    cli.main(["data", "draw", "--out", str(place / "drawn"), "--count", "4", "--size", "64"])
    return place


def drawn(place):
    return ["--images", str(place / "drawn/images"), "--annotations", str(place / "drawn/annotations.json")]


def refused(capsys, *arguments) -> str:
    """The one line that a bad call gives."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        cli.main([str(argument) for argument in arguments])
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    *progress, line = error.splitlines()  # a progress bar ends its own line
    assert line.startswith("inspose: error: ")
    assert all("%|" in bar or not bar for bar in progress)
    return line


def test_predict_scored_outside_the_package_equals_eval(place, capsys):
    out = place / "scores"
    cli.main(["eval", "--checkpoint", str(place / "run"), *drawn(place), "--out", str(out)])
    assert capsys.readouterr().out.split()[:3] == ["AP", "AP50", "AP75"]
    people = place / "people.json"
    found = place / "found"
    checkpoint = ["--checkpoint", str(place / "run"), "--threshold", "0"]
    cli.main(["predict", *checkpoint, str(place / "drawn/images"), "--json", str(people), "--out", str(found)])
    assert len(list(found.glob("*.jpg"))) == 4
    results = json.loads(people.read_text())
    assert all(len(row["bbox"]) == 4 and row["file_name"].endswith(".jpg") for row in results)
    truth = COCO(str(place / "drawn/annotations.json"))
    evaluation = COCOeval(truth, truth.loadRes(str(people)), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    metrics = json.loads((out / "metrics.json").read_text())
    assert list(metrics.values()) == pytest.approx(list(evaluation.stats), abs=1e-6)
    scored = json.loads((out / "results.json").read_text())
    assert scored == [{name: value for name, value in row.items() if name != "file_name"} for row in results]


def test_data_check_passes_what_data_draw_wrote(place, capsys):
    cli.main(["data", "check", *drawn(place)])
    assert "no fault found" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", ["", "demo", "train", "eval", "predict", "data", "data draw", "data check"], ids=lambda c: c or "inspose"
)
def test_help_fits_a_screen_and_imports_no_jax(command):
    code = (
        "import sys; from inspose_jax import cli\n"
        f"try: cli.main({[*command.split(), '--help']!r})\n"
        "except SystemExit as e: assert not e.code\n"
        "assert 'jax' not in sys.modules, 'jax is imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") <= 40
    if command:
        assert "xample" in done.stdout


def test_unknown_words_get_the_nearest_known(place, capsys):
    assert "predicct: no such command; did you mean predict?" in refused(capsys, "predicct")
    line = refused(capsys, "eval", "--checkpoint", place / "run", *drawn(place), "--outt", "x")
    assert "--outt: no such option of inspose eval; did you mean --out?" in line
    assert "did you mean drawn_people?" in refused(capsys, "train", "drawn_peple")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--config.schedule.batch-siz", "3"],
            "--config.schedule.batch-siz, 3; did you mean --config.schedule.batch-size?",
        ),
        (["--config.schedule.optimizer", "adm"], "invalid choice 'adm' for argument '--config.schedule.optimizer'"),
        (["--config.schedule.batch-size"], "Missing value for argument '--config.schedule.batch-size'"),
        (["--steps", "x"], "Error parsing --steps"),
    ],
)
def test_wrong_values_are_one_line(capsys, arguments, message):
    assert message in refused(capsys, "train", "drawn_people", *arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def recipe(:", "the recipe fails with SyntaxError"),
        ("import nothing_here", "the recipe fails with ModuleNotFoundError: No module named 'nothing_here'"),
        ("def recipe(): return 3", "no recipe; it needs a function `recipe`"),
    ],
)
def test_recipes_that_are_none(capsys, tmp_path, content, message):
    (tmp_path / "mine.py").write_text(content)
    assert f"mine.py: {message}" in refused(capsys, "train", tmp_path / "mine.py")


def test_a_missing_option_is_named(place, capsys):
    assert "Missing from inspose predict: --checkpoint PATH" in refused(capsys, "predict", place / "drawn/images")


@pytest.mark.parametrize("lost", ["about", "state/_METADATA"])
def test_a_damaged_checkpoint_is_named(place, capsys, tmp_path, lost):
    run = shutil.copytree(place / "run", tmp_path / "run")
    broken = run / "checkpoints/1" / lost
    shutil.rmtree(broken) if broken.is_dir() else broken.unlink()
    error = refused(capsys, "predict", "--checkpoint", run, place / "drawn/images")
    assert "checkpoints/1: damaged or not written by inspose; take another checkpoint" in error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError(), "ValueError"),
        (ValueError("a\n  b"), "a b"),
        (OSError(28, "No space left"), "No space left; check the path, its permissions and the space there"),
        (OSError(13, "Permission denied", "a/b"), "a/b: Permission denied; check the path"),
    ],
)
def test_no_error_is_silent_or_more_than_a_line(capsys, monkeypatch, error, line):
    def fail(_):
        raise error

    monkeypatch.setattr("inspose_jax.cli.predict.run", fail)
    assert refused(capsys, "predict").startswith(f"inspose: error: {line}")


def test_a_place_that_cannot_be_written_is_named(place, capsys, tmp_path):
    (tmp_path / "file").touch()
    taken = tmp_path / "file" / "in_a_file"
    command = ["predict", "--checkpoint", place / "run", place / "drawn/images"]
    assert "in_a_file: cannot be a folder for results" in refused(capsys, *command, "--out", taken)
    assert "in_a_file: cannot be written" in refused(capsys, *command, "--json", taken)
    assert "check the path" in refused(capsys, "data", "draw", "--out", taken, "--count", 1)
    assert "check the path" in refused(capsys, "train", "drawn_people", "--workdir", taken, "--steps", 1)


def test_a_failed_evaluation_leaves_no_folder(place, capsys, tmp_path):
    content = json.loads((place / "drawn/annotations.json").read_text())
    content["images"][-1]["height"] = 32
    labels, out = tmp_path / "labels.json", tmp_path / "out"
    labels.write_text(json.dumps(content))
    arguments = ["--images", place / "drawn/images", "--annotations", labels, "--out", out]
    assert "labels would not fit" in refused(capsys, "eval", "--checkpoint", place / "run", *arguments)
    assert not out.exists()
    content["annotations"][0]["keypoints"][0] = "x"
    labels.write_text(json.dumps(content))
    assert "labels.json: annotation 1: keypoints are" in refused(
        capsys, "eval", "--checkpoint", place / "run", *arguments
    )


def test_checkpoints_that_are_none(place, capsys, tmp_path):
    assert "gone: no such checkpoint" in refused(capsys, "eval", "--checkpoint", tmp_path / "gone", *drawn(place))
    assert "holds no checkpoint" in refused(capsys, "predict", "--checkpoint", tmp_path, place / "drawn/images")


def test_pictures_and_labels_that_are_none(place, capsys, tmp_path):
    run, images = place / "run", place / "drawn/images"
    (tmp_path / "text.jpg").write_text("hello")
    out = tmp_path / "out.json"
    assert "text.jpg: not a picture" in refused(
        capsys, "predict", "--checkpoint", run, tmp_path / "text.jpg", "--json", out
    )
    assert not out.exists()
    assert "no such picture or folder" in refused(capsys, "predict", "--checkpoint", run, tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    assert "no picture in this folder" in refused(capsys, "predict", "--checkpoint", run, tmp_path / "empty")
    assert "--threshold is 2.0" in refused(capsys, "predict", "--checkpoint", run, images, "--threshold", 2)
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"images": [], "annotations": [{"id": 1, "image_id": 1, "bbox": [0, 0, 1, 1]}]}))
    arguments = ["--checkpoint", run, "--images", images, "--annotations", boxes]
    assert "no annotation has `keypoints`" in refused(capsys, "eval", *arguments, "--out", tmp_path / "never")
    assert not (tmp_path / "never").exists()
    person = {"id": 1, "image_id": 1, "category_id": 1, "keypoints": []}
    boxes.write_text(json.dumps({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [person]}))
    assert "image 1: no height, width; `inspose data check` lists all" in refused(capsys, "eval", *arguments)
    boxes.write_text(json.dumps({"images": [], "annotations": [person]}))
    assert "annotation 1: no bbox, area; `inspose data check` lists all" in refused(capsys, "eval", *arguments)
    missing = ["--images", tmp_path / "gone", "--annotations", place / "drawn/annotations.json"]
    assert "gone: no such folder of pictures" in refused(capsys, "eval", "--checkpoint", run, *missing)
    assert "gone: no such folder of pictures" in refused(capsys, "data", "check", *missing)


def test_a_broken_picture_is_found_before_anything_is_written(place, capsys, tmp_path):
    good = next((place / "drawn/images").iterdir())
    broken, out = tmp_path / "zz.jpg", tmp_path / "out"
    broken.write_text("hello")
    command = ["predict", "--checkpoint", place / "run", "--out", out]
    assert "zz.jpg: not a picture" in refused(capsys, *command, good, broken)
    images = place / "drawn/images"
    before = good.read_bytes()
    assert "is a picture given; choose another --out" in refused(capsys, *command[:3], images, "--out", images)
    assert good.read_bytes() == before
    assert "cannot be written" in refused(capsys, *command, good, "--json", tmp_path / "gone/people.json")
    broken.rename(tmp_path / good.with_suffix(".png").name)
    assert "two pictures would be drawn there" in refused(capsys, *command, good, tmp_path / f"{good.stem}.png")
    assert not out.exists()


def test_image_ids_are_the_files_own_numbers_or_free_ones(place, capsys, tmp_path):
    ids = predict.image_ids([Path("a.jpg"), Path("x/0000.jpg"), Path("b.jpg"), Path("x/2.png"), Path("c.jpg")])
    assert ids == [1, 0, 3, 2, 4]
    good = next((place / "drawn/images").iterdir())
    again = shutil.copy(good, tmp_path / good.name)
    error = refused(capsys, "predict", "--checkpoint", place / "run", good, again, "--json", tmp_path / "j")
    assert "image_id of 2 pictures" in error


def test_a_frozen_recipe_goes_on_without_its_first_weights(place, capsys, tmp_path):
    step = tmp_path / "checkpoints/5"
    step.mkdir(parents=True)
    again = ["train", "r50_coco_36e", "--workdir", tmp_path, "--resume", *drawn(place)]
    assert "give pretrained weights" in refused(capsys, *again)  # no step was saved to its end
    (step / "commit_success.txt").touch()
    assert "holds files but no run" in refused(capsys, *again)  # and not: give pretrained weights


def test_a_config_that_changes_the_network_does_not_fit_the_checkpoint(place, capsys):
    arguments = ["eval", "--checkpoint", place / "run", *drawn(place), "--config.model.kp-net.depth", "2"]
    error = refused(capsys, *arguments)
    assert "the checkpoint does not fit the config: ['params']['instance_heads']['theta']" in error


def test_runs_that_cannot_start(place, capsys, tmp_path):
    workdir = tmp_path / "run"
    base = ["train", "drawn_people", "--workdir", workdir]
    assert "--steps is 0" in refused(capsys, *base, "--steps", 0)
    assert "leave out --images" in refused(capsys, *base, *drawn(place))
    assert "batch_size is 0" in refused(capsys, *base, "--config.schedule.batch-size", 0)
    assert "give pretrained weights" in refused(capsys, "train", "r50_coco_36e", *drawn(place))
    assert "gone.pth: no such file" in refused(capsys, "train", "r50_coco_36e", "--init", tmp_path / "gone.pth")
    (tmp_path / "w.pth").write_bytes(b"nonsense")
    wrong = ["train", "r50_coco_36e", "--init", tmp_path / "w.pth", "--workdir", workdir, *drawn(place)]
    assert "give --images FOLDER" in refused(capsys, "train", "r50_coco_36e", "--init", tmp_path / "w.pth")
    assert "w.pth: not a file that torch.save wrote" in refused(capsys, *wrong)
    assert not workdir.exists()
    workdir.mkdir()
    (workdir / "notes").touch()
    assert "holds a run already" in refused(capsys, *base)


def test_folders_that_are_not_free(place, capsys):
    assert "already holds something" in refused(capsys, "data", "draw", "--out", place / "drawn", "--count", 2)
    assert "the count must be at least 1" in refused(capsys, "data", "draw", "--out", place / "new", "--count", 0)

"""The command line: what it writes agrees with Python, and help is short; `test_bad_input.py` tests bad input."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import faults
import jax
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from inspose_jax import checkpoints, cli
from inspose_jax.cli import compilation_cache, config_flags, predict, sources
from inspose_jax.config import Augmentation, Config, Data, Scene
from inspose_jax.data import pipeline
from inspose_jax.errors import Note, UserError
from inspose_jax.evaluation import coco_ap
from inspose_jax.predictor import Predictor
from inspose_jax.training import loop


def drawn(place):
    return ["--images", str(place / "drawn/images"), "--annotations", str(place / "drawn/annotations.json")]


@pytest.mark.filterwarnings("ignore:validation takes the same images as training")
@pytest.mark.slow
def test_training_evaluates_keeps_the_best_checkpoint_and_traces(place, tmp_path):
    (tmp_path / "small.py").write_text(faults.SMALL)
    run, validation = (
        tmp_path / "run",
        [f"--val-{word.strip('-')}" if word[0] == "-" else word for word in drawn(place)],
    )
    command = ["train", str(tmp_path / "small.py"), "--workdir", str(run), *drawn(place), "--steps", "3", *validation]
    cli.main([*command, "--config.schedule.batch-size", "8", "--eval-every", "2", "--profile", "2:3"])
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "eval/AP" in row] == [2, 3]
    assert len(checkpoints.steps(run / "best")) == 1
    judged_by = checkpoints.about_best(run / "best")["validation"]
    assert judged_by.startswith("4, "), "the four images that it was evaluated on"
    assert len(list(run.glob("profile/**/*.xplane.pb"))) == 1


@pytest.mark.filterwarnings("ignore:validation takes the same images as training")
@pytest.mark.parametrize(("options", "expected"), [([], 5), (["--eval-every", "7"], 7)])
def test_training_evaluates_ten_times_on_all_devices(place, tmp_path, monkeypatch, options, expected):
    (tmp_path / "small.py").write_text(faults.SMALL)
    validation = [f"--val-{word.strip('-')}" if word[0] == "-" else word for word in drawn(place)]
    runs, predictors = [], []
    monkeypatch.setattr(loop, "train", lambda *arguments, **_: runs.append(arguments) or 50)
    command = ["train", str(tmp_path / "small.py"), "--workdir", str(tmp_path / "run"), "--steps", "50"]
    cli.main([*command, *drawn(place), *validation, *options])
    extras = runs[0][-1]
    assert extras.eval_every == expected
    monkeypatch.setattr(Predictor, "find_in", lambda self, *_: predictors.append(self) or iter(()))
    extras.try_out({})
    assert predictors[0].mesh.size == jax.local_device_count() == 8


def test_drawn_images_are_cached_if_they_fit_in_memory():
    def source(side):  # nothing is drawn before it is needed
        return sources.training_source(
            Config(data=Data(source="drawn", num_drawn=100, scene=Scene(size=side))), sources.Given()
        )

    assert isinstance(source(3600), pipeline.InMemory)  # 3.9 GB
    assert not isinstance(source(3700), pipeline.InMemory)  # 4.1 GB


def test_the_compilation_cache_is_in_the_users_cache_folder_unless_set(tmp_path, monkeypatch):
    monkeypatch.delenv(compilation_cache.VARIABLE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # nobody has a home
    compilation_cache.turn_on()
    assert compilation_cache.VARIABLE not in os.environ
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compilation_cache.turn_on()
    folder = Path(os.environ[compilation_cache.VARIABLE])
    assert folder == tmp_path / "inspose_jax" / compilation_cache.machine_type()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    compilation_cache.turn_on()
    assert Path(os.environ[compilation_cache.VARIABLE]) == folder, "the user's choice is kept"


def test_many_sizes_are_padded_to_the_few_shapes_unless_told_otherwise(capsys):
    data = Data(test_padding="own", test_short_side=32, long_side=544, shapes=((32, 544), (544, 32)))
    sizes = [(32, 32 * number) for number in range(1, 17)]
    assert predict.choose_padding(data, [*sizes, (64, 64)]) == data  # 32 x 32 once more
    assert capsys.readouterr().out == ""
    assert predict.choose_padding(data, [*sizes, (32, 544)]) == replace(data, test_padding="shapes")
    assert capsys.readouterr().out.startswith(
        "17 images need 17 different paddings, each of which would be compiled: they are padded to 32 x 544 and 544 x"
    )


def test_predict_scored_outside_the_package_equals_eval(place, tmp_path, capsys):
    out = tmp_path / "scores"
    cli.main(["eval", "--checkpoint", str(place / "run"), *drawn(place), "--out", str(out)])
    printed = capsys.readouterr().out
    assert printed.split()[:3] == ["AP", "AP50", "AP75"]
    assert printed.endswith(f"over 4 images, computed by {coco_ap.library()[0]}\n")
    people = tmp_path / "people.json"
    found = tmp_path / "found"
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


def test_train_finds_the_shapes_that_are_left_open_and_says_so(tmp_path, monkeypatch, capsys):
    given = []
    monkeypatch.setattr(loop, "train", lambda config, source, workdir, num_steps, *_, **__: given.append(config) or 2)
    fields = ["--config.data.shapes", "--config.data.short-side", "64", "96", "--config.data.test-short-side", "96"]
    cli.main(["train", "drawn_people", "--workdir", str(tmp_path / "run"), "--steps", "2", *fields])
    assert given[0].data.shapes == ((64, 64), (96, 96))
    assert capsys.readouterr().out == "padded shapes of images, found for the run's data: 64 x 64, 96 x 96\n"


def test_drawn_people_come_with_masks_only_if_parts_of_them_may_be_cut_off():
    def sample(**fields):
        augmentation = Augmentation(**fields)
        return sources.drawn(Config(data=Data(source="drawn", augmentation=augmentation)), "train", 1)[0]

    assert sample().masks is None
    turned = sample(rotation=10.0)
    assert turned.masks.sum((1, 2)).tolist() == turned.area.tolist()


def test_data_shapes_prints_what_train_accepts(place, tmp_path, capsys):
    content = json.loads((place / "drawn/annotations.json").read_text())
    for image, size in zip(content["images"], [(480, 640), (480, 640), (640, 480), (300, 640)], strict=True):
        image["height"], image["width"] = size  # no image is read
    (tmp_path / "a.json").write_text(json.dumps(content))
    given = ["--images", str(place / "drawn/images"), "--annotations", str(tmp_path / "a.json")]
    fields = ["--config.data.short-side", "400", "400", "--config.data.train-images", "all"]
    cli.main(["data", "shapes", *given, "--num-shapes", "3", *fields])
    blocks = capsys.readouterr().out.split("\n\n")
    assert [block.splitlines()[0] for block in blocks[1:]] == [
        # two for training itself, and one that holds what is tested
        "3 shapes for training (shorter side 400 to 400): 416 x 864, 544 x 544, 1088 x 1344",
        "3 shapes for testing (shorter side 800): 640 x 1344, 800 x 1088, 1088 x 800",
        "2 shapes for images of any aspect: 832 x 1344, 1344 x 832",
    ]
    # 800 x 1067 twice, 1067 x 800, and 625 x 1333, whose shorter side would make the longer one too long
    share = 1 - (3 * 800 * 1067 + 625 * 1333) / (3 * 800 * 1088 + 640 * 1344)
    assert f"in testing: {share:.1%} of all pixels" in blocks[2]
    recipe, words = (line.split(": ")[1] for line in blocks[1].splitlines()[2:])
    flag, *values = words.split()
    assert config_flags.override(Config(), [flag, *values]).data.shapes == eval(recipe.removeprefix("shapes="))
    cli.main(["data", "shapes", *given, "--recipe", "keypoints", *fields[3:]])
    out = capsys.readouterr().out
    assert "for training (shorter side 256 to 384)" in out
    assert "any aspect" not in out  # these two shapes are for the paper's sizes


@pytest.mark.parametrize(
    "command",
    [
        "",
        "demo",
        "train",
        "eval",
        "predict",
        "report",
        "data",
        "import-torch",
        "export-torch",
        "export-onnx",
        "data draw",
        "data show",
        "data check",
        "data shapes",
        "data stats",
    ],
    ids=lambda c: c or "inspose",
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


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("a\n  b"), "a b"),
        (OSError(28, "No space left"), "No space left; check the path, its permissions and the free space"),
        (OSError(13, "Permission denied", "a/b"), "a/b: Permission denied; check the path, its permissions and the "),
    ],
)
def test_every_user_error_gives_exactly_one_line(error, line):
    assert cli.one_line(error, "eval").startswith(line)


@pytest.mark.parametrize("error", [ValueError("of jax"), OSError("of a library"), RuntimeError("ours"), KeyError("x")])
def test_a_bug_passes_through_the_command_line(error, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(predict, "run", fail)
    with pytest.raises(type(error)) as raised:
        cli.main(["predict", "x.jpg"])
    assert raised.value is error


def test_a_note_is_no_warning(capsys):
    for category in (Note, UserWarning):
        cli.show_warning(category("5 joints"), category, "a.py", 1)
    assert capsys.readouterr().err.splitlines() == ["inspose: note: 5 joints", "inspose: warning: 5 joints"]


def test_a_user_error_shows_its_traceback_on_request(monkeypatch, capsys):
    for asked, shows in (("", False), ("1", True)):
        monkeypatch.setenv("INSPOSE_TRACEBACK", asked)
        with pytest.raises(SystemExit, match="2"):
            cli.main(["predict", "--threshold", "2", "x.jpg", "--checkpoint", "x"])
        told = capsys.readouterr().err
        assert ("Traceback" in told and "predict.py" in told) is shows
        assert told.splitlines()[-1].startswith("inspose: error: --threshold is 2.0; ")


def test_resuming_without_a_checkpoint_is_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "train", lambda *_, **__: 3000)
    cli.main(["train", "drawn_people", "--resume"])
    line = "inspose: runs/drawn_people: no checkpoint to resume from; the run starts at its first step\n"
    assert capsys.readouterr().out == line
    (tmp_path / "runs/drawn_people/checkpoints/7").mkdir(parents=True)  # a save that a kill cut off
    cli.main(["train", "drawn_people", "--resume"])
    assert capsys.readouterr().out == line


@pytest.mark.parametrize("command", ["train drawn_people --workdir run", "predict --checkpoint run x.png"])
def test_a_missing_device_is_reported_before_anything_is_read(command, place, tmp_path):
    (tmp_path / "run").mkdir()
    shutil.copytree(place / "run" / "checkpoints", tmp_path / "run" / "checkpoints")
    before = sorted(tmp_path.rglob("*"))
    Image.new("RGB", (64, 64)).save(tmp_path / "x.png")
    command = [sys.executable, "-m", "inspose_jax", *command.split()]
    environment = {**os.environ, "JAX_PLATFORMS": "cuda"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("inspose: error: cuda: no such device is available (")
    assert "damaged" not in line
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "x.png"])


def test_export_onnx_names_the_packages_that_it_lacks(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["export-onnx", "run", "out"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("needs onnxscript, which this Python does not have: pip install 'inspose-jax[onnx]'")


def test_image_ids_are_the_files_own_numbers_or_free_ones():
    ids = predict.image_ids([Path("a.jpg"), Path("x/0000.jpg"), Path("b.jpg"), Path("x/2.png"), Path("c.jpg")])
    assert ids == [1, 0, 3, 2, 4]

"""`inspose train --workdir RUN --resume`: recipe, length and data are those that the run was started with."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from test_own_joints import horses, run  # noqa: F401 (a fixture)

from inspose_jax.cli import resuming
from inspose_jax.cli.arguments import Parts
from inspose_jax.cli.resuming import Options
from inspose_jax.errors import UserError

NOTHING = Options(Parts(), None)


def started(folder, *starts):
    lines = [json.dumps({"step": 0, "options": one.given()} if one else {"step": 0}) for one in starts]
    (folder / "history.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_what_is_not_given_is_taken_from_the_latest_start_that_gave_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = Options(Parts(data=Path("old"), category="cow"), None)
    images = {"images": Path("i"), "annotations": Path("a.json"), "val_data": Path("v")}
    started(tmp_path, first, Options(Parts(**images, category="horse"), 7), None)
    completed, words = resuming.completed(NOTHING, tmp_path)
    here = tmp_path
    assert completed == Options(Parts(**{name: here / path for name, path in images.items()}, category="horse"), 7)
    assert words == f"--images {here}/i --annotations {here}/a.json --val-data {here}/v --category horse --eval-every 7"


def test_what_is_given_counts_and_options_that_go_together_are_not_mixed(tmp_path):
    images = Parts(images=Path("/i"), annotations=Path("/a.json"), val_data=Path("/v"))
    started(tmp_path, Options(images, None))
    given = Options(Parts(data=Path("new"), val_images=Path("x"), val_annotations=Path("y"), category="dog"), 3)
    assert resuming.completed(given, tmp_path) == (given, "")
    assert resuming.completed(Options(Parts(data=Path("new")), None), tmp_path)[0].parts.images is None


def test_a_run_without_history_or_with_a_broken_one_adds_nothing(tmp_path):
    assert resuming.completed(NOTHING, tmp_path) == (NOTHING, "")
    (tmp_path / "history.jsonl").write_text('[1]\n{"options": 3}\n{"step')
    assert resuming.completed(NOTHING, tmp_path) == (NOTHING, "")


def test_a_method_of_its_own_is_known_only_to_its_recipe(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"num_steps": 3, "recipe": "own.py 0123", "model": {}}))
    with pytest.raises(UserError, match=r"its recipe, own\.py, has a method of its own; give the recipe again"):
        resuming.stored(tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("always::UserWarning")
def test_a_run_goes_on_from_anywhere_without_its_recipe_and_data(horses, tmp_path, monkeypatch, capsys):  # noqa: F811
    size = ["--config.schedule.batch-size", "8"]
    run("train", "small.py", "--data", "horses", "--workdir", "run", "--steps", "3", "--stop-at", "1", *size)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    shutil.copytree("../horses", "wide")
    Image.new("RGB", (640, 64)).save("wide/0.jpg")  # fits none of the run's shapes, which is not what is wrong
    content = json.loads(Path("wide/labels.json").read_text())
    content["images"][0]["width"] = 640
    Path("wide/labels.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit, match="2"):
        run("train", "--workdir", "../run", "--resume", "--data", "wide")
    assert "../run: was started with other values: images 8, " in capsys.readouterr().err.replace(f"{tmp_path}/", "../")
    run("train", "--workdir", "../run", "--resume")
    assert capsys.readouterr().out.splitlines()[0] == f"inspose: ../run: goes on with --data {tmp_path}/horses"
    rows = [json.loads(line) for line in (horses / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]

"""The check, its cleaned file and the statistics take any kind of data: a YOLO-pose folder with other joints."""

import json
import re

import pytest
from test_yolo_pose import written

from inspose_jax import cli
from inspose_jax.data import sources


def found(capsys, *arguments):
    """Exit code and the faults that --json names."""
    code = 0
    try:
        cli.main(["data", "check", *map(str, arguments), "--json"])
    except SystemExit as ending:
        code = ending.code
    return code, [(one["severity"], one["kind"], one["file"]) for one in json.loads(capsys.readouterr().out)["faults"]]


@pytest.mark.filterwarnings("ignore:.*(no area|joints of its own|as the person category)")
def test_a_yolo_folder_is_checked_cleaned_and_measured(tmp_path, capsys):
    folder = written(tmp_path / "yolo")
    empty = ("remark", "without-people", "")
    assert found(capsys, "--data", folder) == (0, [empty])
    (folder / "images/train/2.png").write_bytes((folder / "images/train/2.png").read_bytes()[:-20])
    clean = tmp_path / "clean.json"
    assert found(capsys, "--data", folder, "--fix", clean) == (0, [("error", "file", "2.png"), empty])
    content = json.loads(clean.read_text())
    before = sources.read(folder, "train").dataset
    assert [image["file_name"] for image in content["images"]] == ["1.png", "4.png", "sub/3.png"]
    assert content["categories"][0]["name"] == "horse"
    assert content["categories"][0]["keypoints"] == list(before.skeleton.keypoint_names)
    assert found(capsys, "--images", folder / "images/train", "--annotations", clean) == (0, [empty])
    cli.main(["data", "stats", "--images", str(folder / "images/train"), "--annotations", str(clean)])
    assert re.search(r"\nl_hoof +66\.7% +100\.0%\n", capsys.readouterr().out)


@pytest.mark.filterwarnings("ignore:.*(no area|joints of its own|as the person category)")
def test_flips_that_contradict_the_names_are_an_error(tmp_path, capsys):
    folder = written(tmp_path, flip_idx=[3, 4, 2, 0, 1])
    code, faults = found(capsys, "--data", folder)
    assert code == 2
    assert [kind for _, kind, _ in faults] == ["flip", "flip", "without-people"]

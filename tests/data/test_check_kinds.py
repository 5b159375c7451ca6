"""The check, its cleaned file and the statistics take any kind of data: a YOLO-pose folder with other joints."""

import json
import re
import shutil

import horses
import pytest
from test_yolo_pose import GOOD, written

from inspose_jax import cli
from inspose_jax.data import sources
from inspose_jax.data.values import LEFT_OUT, NOT_READ, READ_FROM


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
    assert content["categories"][0]["flip_pairs"] == [[0, 1], [3, 4]]
    assert found(capsys, "--images", folder / "images/train", "--annotations", clean) == (0, [empty])
    cli.main(["data", "stats", "--images", str(folder / "images/train"), "--annotations", str(clean)])
    assert re.search(r"\nl_hoof +66\.7% +100\.0%\n", capsys.readouterr().out)


@pytest.mark.filterwarnings("ignore:.*(no area|joints of its own|as the person category)")
def test_flips_that_contradict_the_names_are_an_error(tmp_path, capsys):
    folder = written(tmp_path, flip_idx=[3, 4, 2, 0, 1])
    code, faults = found(capsys, "--data", folder)
    assert code == 2
    assert [kind for _, kind, _ in faults] == ["flip", "flip", "without-people"]


@pytest.mark.filterwarnings("ignore:.*(no area|joints of its own|as the person category)")
def test_labels_whose_image_is_missing_are_named(tmp_path, capsys):
    """An image that was renamed, or is of a kind that is not read; a file that holds no labels is not meant."""
    folder = written(tmp_path)
    (folder / "images/train/2.png").rename(folder / "images/train/2.heic")
    (folder / "labels/train/classes.txt").write_text("horse\n")
    alone = str(folder / "labels/train/2.txt")
    code, faults = found(capsys, "--data", folder)
    assert (code, faults[0]) == (0, ("warning", "label-without-image", alone))
    with pytest.warns(UserWarning, match=f"no image belongs to 1 text file of labels, such as {alone}"):
        sources.read(folder, "train")


@pytest.mark.filterwarnings("ignore:.*(no area|joints of its own|as the person category)")
def test_a_row_that_ends_after_its_box_becomes_a_person_without_joints(tmp_path, capsys):
    """Whoever is dropped would be learnt as background.  A longer row may be an outline, whose box is unknown."""
    folder = written(tmp_path)
    (folder / "labels/train/1.txt").write_text(f"{GOOD}\n0 .5 .5 .2 .4\n0 .5 .5 .2 .4 .1 .1 .2 .2\n")
    _, faults = found(capsys, "--data", folder, "--fix", tmp_path / "clean.json")
    assert [kind for _, kind, _ in faults[:2]] == ["entry", "entry"]
    content = json.loads((tmp_path / "clean.json").read_text())
    size = content["images"][0]["width"], content["images"][0]["height"]
    people = [person for person in content["annotations"] if person["image_id"] == content["images"][0]["id"]]
    assert [sum(person["keypoints"][2::3]) > 0 for person in people] == [True, False]
    assert people[1]["bbox"] == pytest.approx([0.4 * size[0], 0.3 * size[1], 0.2 * size[0], 0.4 * size[1]])


def test_what_was_left_out_in_reading_is_in_the_notes_of_the_json(tmp_path, capsys):
    folder = written(tmp_path)
    horses.turn(folder / "images/train/1.png", 3)
    cli.main(["data", "check", "--data", str(folder), "--json"])
    notes = json.loads(capsys.readouterr().out)["notes"]
    (left_out,) = [note for note in notes if "left out for their EXIF orientation" in note]
    assert left_out.endswith("1.png; save them upright to use them")
    horses.turn(folder / "images/train/2.png", 3)
    code, faults = found(capsys, "--data", folder, "--fix", tmp_path / "clean.json")
    left_out = [str(folder / f"images/train/{name}.png") for name in (1, 2)]
    assert (code, faults[:2]) == (0, [("warning", "exif-orientation", name) for name in left_out])  # each by its name
    assert LEFT_OUT not in json.loads((tmp_path / "clean.json").read_text())


@pytest.mark.filterwarnings("ignore:.*(no area|joints of its own|as the person category)")
def test_every_fault_of_a_yolo_folder_is_named_once_with_its_line_and_repaired(tmp_path, capsys):
    folder = written(tmp_path / "yolo", train="train.txt", names=["horse", "cow"], kpt_names=None)
    (folder / "train.txt").write_text("".join(f"images/train/{name}.png\n" for name in ("1", "2", "9", "4", "sub/3")))
    labels = folder / "labels/train"
    other = GOOD.replace(".3 .3 1", ".3 .31 1")
    rows = [GOOD, GOOD.replace(".3 .3 1", ".3 .3 3"), "0 .5", "x", "1" + GOOD[1:].replace(".1 .1", "7 7"), other]
    (labels / "1.txt").write_text("\n".join(rows))
    (labels / "2.txt").write_text("0 .5 .5 0 .5" + GOOD[len("0 .5 .5 .5 .5") :])
    (folder / "images/train/4.png").write_text("no image")
    (labels / "4.txt").write_text(f"{GOOD}\n5 5\n")
    clean = tmp_path / "clean.json"
    cli.main(["data", "check", "--data", str(folder), "--category", "horse", "--fix", str(clean)])
    out = capsys.readouterr().out.replace(f"{folder}/", "").splitlines()
    faults = [line for line in out if line.startswith("error: ")]
    assert faults == [
        "error: train.txt, line 3: images/train/9.png is not there; tried images/train/9.png",
        faults[1],
        "error: labels/train/1.txt, line 2: joint 2 has visibility 3, not 0, 1 or 2",
        "error: labels/train/1.txt, line 3: 2 numbers, not 20: class, x, y, width, height, and 5 joints of 3 "
        "(kpt_shape)",
        "error: labels/train/1.txt, line 4: could not convert string to float: 'x'; a row is numbers separated by "
        "spaces",
        "error: labels/train/1.txt, line 5: joint 0 at 7, 7 is not from 0 to 1; joints are fractions of the image's "
        "size",
        "error: labels/train/2.txt, line 1: area is 0; OKS divides by it",
        "error: labels/train/4.txt, line 2: 2 numbers, not 20: class, x, y, width, height, and 5 joints of 3 "
        "(kpt_shape)",
    ]
    assert faults[1].startswith("error: images/train/4.png: not an image that can be read; ")
    assert [line.split(": ", 2)[:2] for line in out if line.startswith(("dropped", "changed"))] == [
        ["dropped", "train.txt, line 3"],
        ["dropped", "images/train/4.png"],
        ["changed", "labels/train/1.txt, line 2"],  # its joints
        ["changed", "labels/train/1.txt, line 2"],  # and its area
        ["dropped", "labels/train/1.txt, line 3"],
        ["dropped", "labels/train/1.txt, line 4"],
        ["dropped", "labels/train/1.txt, line 5"],
        ["changed", "labels/train/2.txt, line 1"],
        ["changed", "labels/train/2.txt, line 1"],
    ]
    rows = [line.replace("dropped: ", "error: ") for line in out if line.startswith("dropped: labels/")]
    assert rows == faults[3:6], "with the same reason"
    code, listed = found(capsys, "--data", folder, "--category", "horse")
    assert code == 2
    assert [kind for _, kind, _ in listed] == ["file", "file", *["entry"] * 6]
    people = json.loads(clean.read_text())["annotations"]
    assert not any(READ_FROM in person or NOT_READ in person for person in people)
    first, ignored, last, *_ = [person for person in people if person["image_id"] == 1]
    assert ignored["keypoints"] == [0] * 15
    assert ignored["bbox"] == first["bbox"] == last["bbox"]
    assert found(capsys, "--images", folder / "images/train", "--annotations", clean) == (0, [])


@pytest.mark.filterwarnings("ignore:.*(no area|joints of its own)")
def test_joints_without_sides_are_a_warning_unless_the_data_states_it(tmp_path, place, capsys):
    folder = written(tmp_path, flip_idx=[0, 1, 2, 3, 4], kpt_names={0: ["poll", "withers", "tail", "near", "off"]})
    expected = (0, [("remark", "flip", ""), ("remark", "without-people", "")])
    assert found(capsys, "--data", folder) == expected
    numbered = written(tmp_path / "numbered", flip_idx=[0, 1, 2, 3, 4], kpt_names=None)  # as Roboflow always states it
    assert found(capsys, "--data", numbered)[1][0] == ("warning", "flip", "")
    cli.main(["data", "build", "--data", str(folder), "--out", str(tmp_path / "built"), "--splits", "train"])
    capsys.readouterr()
    assert found(capsys, "--data", tmp_path / "built") == expected
    shutil.copytree(place / "drawn", tmp_path / "drawn")
    labels = tmp_path / "drawn/annotations.json"
    content = json.loads(labels.read_text())
    (category,) = content["categories"]
    category |= {"name": "worm", "keypoints": [f"ring{i}" for i in "abcdefghijklmnopq"]}
    for severity in ("warning", "remark"):
        labels.write_text(json.dumps(content))
        faults = found(capsys, "--data", tmp_path / "drawn")[1]
        assert [one for one in faults if one[1] == "flip"] == [(severity, "flip", "")]
        category["flip_pairs"] = []


@pytest.mark.filterwarnings("ignore:.*(no area|joints of its own)")
def test_results_may_lie_between_the_folders_of_images_but_not_in_them(tmp_path, capsys, monkeypatch):
    written(tmp_path / "first", train=["images/train", "../second/images/train"])
    written(tmp_path / "second")
    monkeypatch.chdir(tmp_path)
    cli.main(["data", "check", "--data", "first", "--fix", "first/clean.json"])
    cli.main(["data", "show", "--data", "first", "--out", "labels.html"])
    cli.main(["data", "stats", "--data", "first", "--recipe", "keypoints", "--out", "first/stats.html"])
    for command in (
        ["check", "--fix", "first/images/train/clean.json"],
        ["show", "--out", "second/images/train/a.png"],
    ):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["data", *command, "--data", "first"])
        assert "is in a folder of images, which is never changed" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.rglob("*.*") if path.suffix in (".json", ".html")) == [
        "clean.json",
        "labels.html",
        "stats.html",
    ]

"""`inspose data check` on the command line: its output, exit codes, --json, --fix and --against."""

import contextlib
import json
import shlex
import shutil

import pytest

from inspose_jax import cli
from inspose_jax.data import image_facts

FIRST = "000000000000.jpg"


@pytest.fixture
def drawn(tmp_path, place):
    """A folder with a copy of four drawn images and their labels."""
    shutil.copytree(place / "drawn", tmp_path / "drawn")
    return tmp_path / "drawn"


def call(capsys, drawn, *options):
    """Exit code, lines of the output and the last line of the error output of a check."""
    code = 0
    given = ["--images", str(drawn / "images"), "--annotations", str(drawn / "annotations.json"), *map(str, options)]
    try:
        cli.main(["data", "check", *given])
    except SystemExit as ending:
        code = ending.code
    out, error = capsys.readouterr()
    return code, out.splitlines(), error.splitlines()[-1] if error else ""


def labels(drawn, change):
    path = drawn / "annotations.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def outside(content):
    content["annotations"][0]["keypoints"][:3] = [-9, 3, 2]


def test_errors_give_exit_code_2_and_warnings_do_not(drawn, capsys):
    labels(drawn, lambda content: content["annotations"][0].update(num_keypoints=2))
    code, out, _ = call(capsys, drawn)
    assert code == 0
    assert out[0].startswith("warning: annotation 1 (000000000")
    assert out[-1] == f"{drawn}/annotations.json: no error found, 1 warning"
    labels(drawn, outside)
    code, out, error = call(capsys, drawn)
    assert code == 2
    assert [line.split(":")[0] for line in out] == ["error", "warning", "remark"]
    remedy = "correct the file, or write a cleaned one with --fix JSON"
    assert error == f"inspose: error: {drawn}/annotations.json: 1 error, 1 warning; {remedy}"


def test_json_has_every_fault_with_its_id_and_file(drawn, capsys):
    labels(drawn, outside)
    code, out, error = call(capsys, drawn, "--json")
    report = json.loads("\n".join(out))
    assert code == 2
    assert error.startswith("inspose: error: ")
    fault, remark = report["faults"]
    file = fault.pop("file")
    assert file.endswith(".jpg")
    assert fault == {
        "severity": "error",
        "kind": "joint-outside",
        "entry": "annotation",
        "index": 0,
        "id": 1,
        "message": "a labelled joint lies outside the image: nose",
        "read_from": "",
    }
    assert remark == {
        "severity": "remark",
        "kind": "without-people",
        "entry": "dataset",
        "index": None,
        "id": None,
        "file": "",
        "message": remark["message"],
        "read_from": "",
    }
    assert report["counts"] == {"error": 1, "warning": 0, "remark": 1}
    assert (report["format"], report["num_images"], report["changes"]) == (1, 4, [])
    assert report["data"] == str(drawn / "annotations.json")


def test_fix_writes_a_file_that_passes_and_says_what_it_did(drawn, tmp_path, capsys):
    labels(drawn, outside)
    (drawn / "images" / FIRST).write_text("no image")
    before = (drawn / "annotations.json").read_bytes()
    clean = tmp_path / "clean.json"
    code, out, _ = call(capsys, drawn, "--fix", clean)
    assert code == 0
    assert (drawn / "annotations.json").read_bytes() == before
    assert f"{clean}: 3 of 4 images and " in out[-1]
    assert any(line.startswith(f"dropped: image 0 ({FIRST}): not an image") for line in out)
    code, out, _ = call(capsys, drawn, "--json", "--fix", clean)
    first, *_ = json.loads("\n".join(out))["changes"]
    assert code == 0
    assert first.pop("reason").startswith("not an image that can be read")
    assert first == {"action": "dropped", "entry": "image", "id": 0, "file": FIRST, "read_from": ""}
    shutil.copy(clean, drawn / "annotations.json")
    code, out, _ = call(capsys, drawn)
    assert (code, out[-1]) == (0, f"{drawn}/annotations.json: no fault found")
    code, out, _ = call(capsys, drawn, "--json", "--fix", clean)
    assert (code, json.loads("\n".join(out))["changes"]) == (0, [])


def test_the_cleaned_file_knows_its_images_and_the_next_command_is_said(drawn, tmp_path, capsys, monkeypatch):
    (tmp_path / "all").mkdir()
    drawn = drawn.rename(tmp_path / "all/drawn")
    (tmp_path / "all/my labels").mkdir()
    clean = tmp_path / "all/my labels/clean.json"
    labels(drawn, lambda content: content.update(info={"year": 2026}))
    code, out, _ = call(capsys, drawn, "--fix", clean)
    assert code == 0
    monkeypatch.chdir(tmp_path)
    cli.main(shlex.split(out[-1].split("look at it: inspose ")[1]))
    assert (tmp_path / "labels.html").is_file()
    assert json.loads(clean.read_text())["info"] == {"year": 2026, "image_folder": "../drawn/images"}
    moved = (tmp_path / "all").rename(tmp_path / "moved")  # both together
    cli.main(["data", "check", "--data", str(moved / "my labels/clean.json")])
    assert f"images in {moved}/my labels/../drawn/images" in capsys.readouterr().out
    (moved / "drawn/images").rename(moved / "images")  # elsewhere: looked for as for any file
    cli.main(["data", "check", "--data", str(moved / "my labels/clean.json")])
    assert f"images in {moved}/images\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("drawn/annotations.json", "would overwrite the file that is checked"),
        ("drawn/images/../annotations.json", "would overwrite the file that is checked"),
        (
            "drawn/images/clean.json",
            "is in a folder of images, which is never changed; choose another place, such as --fix",
        ),
        ("clean.txt", "must end in .json"),
        ("none/clean.json", "no such folder for the cleaned file"),
    ],
)
def test_a_place_that_fix_cannot_write_to_is_refused_before_any_image_is_read(
    drawn, tmp_path, capsys, monkeypatch, target, message
):
    monkeypatch.setattr(image_facts, "facts_of", None)
    code, _, error = call(capsys, drawn, "--fix", tmp_path / target)
    assert code == 2
    assert message in error


def test_fix_writes_nothing_if_an_error_remains(drawn, tmp_path, capsys):
    for path in (drawn / "images").iterdir():
        path.write_text("no image")
    code, _, error = call(capsys, drawn, "--fix", tmp_path / "clean.json")
    assert code == 2
    assert error.endswith("no person has a labelled joint; --fix does not repair this, so correct it first")
    assert list(tmp_path.iterdir()) == [drawn]
    code, _, error = call(capsys, drawn)
    assert (code, error) == (2, f"inspose: error: {drawn}/annotations.json: 4 errors; correct the file")


def test_images_of_another_split_are_errors_and_are_dropped(drawn, tmp_path, capsys):
    (tmp_path / "val").mkdir()
    shutil.copy(drawn / "images" / FIRST, tmp_path / "val/a.jpg")
    code, out, _ = call(capsys, drawn, "--against", tmp_path / "val")
    assert code == 2
    assert out[0].startswith(f"error: image 0 ({FIRST}): the same file as {tmp_path}/val/a.jpg, in another split")
    code, out, _ = call(capsys, drawn, "--against", tmp_path / "val", "--fix", tmp_path / "clean.json")
    assert code == 0
    assert f"{tmp_path}/clean.json: 3 of 4 images" in out[-1]


def test_other_splits_are_those_of_the_data_other_data_or_folders(tmp_path, place, capsys, monkeypatch):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "elsewhere/val").mkdir(parents=True)  # a folder of something else, which happens to be called val
    monkeypatch.chdir(tmp_path / "elsewhere")
    for split in ("train", "val"):
        shutil.copytree(place / "drawn/images", tmp_path / f"{split}2017")
        shutil.copy(place / "drawn/annotations.json", tmp_path / f"annotations/person_keypoints_{split}2017.json")
    for other in ("val", tmp_path / "annotations/person_keypoints_val2017.json", tmp_path / "val2017"):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["data", "check", "--data", str(tmp_path), "--json", "--against", str(other)])
        faults = json.loads(capsys.readouterr().out)["faults"]
        assert [fault["kind"] for fault in faults] == ["leak"] * 4 + ["without-people"]
    for other in ("train", tmp_path / "annotations/person_keypoints_train2017.json"):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["data", "check", "--data", str(tmp_path), "--against", str(other)])
        assert (
            f"{other}: has exactly the images that are checked; give other data, or leave out --against"
            in capsys.readouterr().err
        )


def test_the_parts_that_were_not_checked_are_named(tmp_path, place, capsys):
    for split in ("train", "valid", "test"):
        shutil.copytree(place / "drawn/images", tmp_path / split)
        shutil.copy(place / "drawn/annotations.json", tmp_path / split / "_annotations.coco.json")

    def last_line(*options):
        with contextlib.suppress(SystemExit):
            cli.main(["data", "check", "--data", str(tmp_path), *options])
        return capsys.readouterr().out.splitlines()[-1]

    both = "--split val, --split test; images in more than one part: --against val test"
    assert last_line() == f"only train was checked; the other parts: {both}"
    one = "only val was checked; the other parts: --split train, --split test"
    assert last_line("--split", "val", "--against", "train") == one  # with errors too
    cli.main(["data", "check", "--data", str(tmp_path), "--json"])
    assert json.loads(capsys.readouterr().out)["notes"] == [f"only train was checked; the other parts: {both}"]
    shutil.rmtree(tmp_path / "test")
    shutil.rmtree(tmp_path / "train")
    assert last_line("--split", "val").endswith("no fault found"), "the only part"


def test_labels_of_other_images_of_the_same_folder_are_another_split(drawn, tmp_path, capsys):
    content = json.loads((drawn / "annotations.json").read_text())
    for name, images in (("a", content["images"][:2]), ("b", content["images"][1:])):
        ids = {image["id"] for image in images}
        people = [person for person in content["annotations"] if person["image_id"] in ids]
        (tmp_path / f"{name}.json").write_text(json.dumps(content | {"images": images, "annotations": people}))
    given = ["--images", drawn / "images", "--annotations", tmp_path / "a.json", "--against", tmp_path / "b.json"]
    with pytest.raises(SystemExit, match="2"):
        cli.main(["data", "check", *map(str, given)])
    out = capsys.readouterr().out
    assert out.count("error: ") == 1
    assert f"error: image 1 (000000000001.jpg): the same file as {drawn}/images/000000000001.jpg, in another" in out


def test_images_that_are_all_missing_are_one_error(drawn, tmp_path, capsys):
    (drawn / "images").rename(tmp_path / "photos")
    (drawn / "images").mkdir()
    code, out, error = call(capsys, drawn, "--fix", tmp_path / "clean.json")
    assert (code, out) == (2, [])
    assert error == (
        f"inspose: error: {drawn}/annotations.json: none of the images that it lists (4) is there, such as "
        f"{drawn}/images/{FIRST}; put them there, or give their folder with --images and the labels with --annotations"
    )
    assert not (tmp_path / "clean.json").exists()
    (tmp_path / "photos" / FIRST).rename(drawn / "images" / FIRST)
    code, out, error = call(capsys, drawn)
    assert (code, sum("no such image" in line for line in out)) == (2, 3), "each that is missing has a line"


def test_ctrl_c_leaves_nothing(drawn, tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(image_facts, "facts_of", interrupted)
    code, _, error = call(capsys, drawn, "--fix", tmp_path / "clean.json")
    assert (code, error) == (130, "inspose: stopped")
    assert list(tmp_path.iterdir()) == [drawn]


def test_the_number_of_workers_changes_nothing_and_is_checked(drawn, capsys):
    labels(drawn, outside)
    outputs = [call(capsys, drawn, "--workers", number)[1] for number in (1, 3)]
    assert outputs[0] == outputs[1]
    code, _, error = call(capsys, drawn, "--workers", -1)
    assert code == 2
    assert "--workers is -1; it must be 1 to 1024" in error


@pytest.mark.parametrize("split", ["train", "val"])
def test_real_images_are_no_copies_within_or_between_splits(coco_real, split, capsys):
    other = {"train": "val", "val": "train"}[split]
    labelled = coco_real / f"annotations/person_keypoints_{split}.json"
    given = ["--images", coco_real / split, "--annotations", labelled, "--against", coco_real / other]
    cli.main(["data", "check", *map(str, given)])
    *remarks, last = capsys.readouterr().out.splitlines()
    assert last == f"{labelled}: no fault found"
    number = {"train": "5 of 100", "val": "3 of 33"}[split]
    assert [remark.split(" images")[0] for remark in remarks] == [f"remark: {number}"]

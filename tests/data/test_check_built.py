"""The check, the statistics and the page of labels on a built set, alone and against others."""

import json
import shutil

import numpy as np
import pytest
from faults import damaged_record

from inspose_jax import cli
from inspose_jax.data import tfds_builder
from inspose_jax.data.coco import CocoFolder
from inspose_jax.skeletons import COCO


@pytest.fixture(scope="module")
def built(varied, folder, tmp_path_factory):
    """A built set of two splits, which have images in common; read-only."""
    out = tmp_path_factory.mktemp("built") / "set"
    train, val = (CocoFolder(one / "images", one / "annotations.json", COCO, 0.0) for one in (varied, folder))
    tfds_builder.build(out, {"train": train, "val": val}, False, 2, 2, lambda: None)
    return out


def found(capsys, *arguments):
    """Exit code and the faults that --json names."""
    code = 0
    try:
        cli.main(["data", "check", *map(str, arguments), "--json"])
    except SystemExit as ending:
        code = ending.code
    faults = json.loads(capsys.readouterr().out)["faults"]
    return code, [(one["severity"], one["kind"], one["file"], one["message"]) for one in faults]


def copied(built, place):
    """A copy of the set, and the folder of its files."""
    shutil.copytree(built, place / "set")
    return place / "set", next((place / "set").glob("*/*/1.0.0"))


def test_its_faults_are_those_of_what_it_was_built_from(varied, tmp_path, capsys):
    shutil.copytree(varied, tmp_path / "raw")
    path = tmp_path / "raw/annotations.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["keypoints"][:3] = [-9, 3, 2]
    content["annotations"][1]["bbox"] = [1.0, 1.0, 0.0, 5.0]
    shutil.copy(tmp_path / "raw/images/000000000000.jpg", tmp_path / "raw/images/000000000003.jpg")
    path.write_text(json.dumps(content))
    cli.main(["data", "build", "--data", str(tmp_path / "raw"), "--out", str(tmp_path / "set")])
    capsys.readouterr()
    code, raw = found(capsys, "--data", tmp_path / "raw")
    assert code == 2
    assert [kind for _, kind, *_ in raw] == ["copy-with-other-labels", "joint-outside", "no-box", "without-people"]
    assert found(capsys, "--data", tmp_path / "set") == (2, raw)


def test_a_damaged_record_is_a_fault_among_others(built, tmp_path, capsys):
    out, version = copied(built, tmp_path)
    damaged_record(version)
    with np.load(version / "index-train.npz") as arrays:
        changed = dict(arrays)
    changed["area"][-1] += 1  # of the last image's only person
    np.savez(version / "index-train.npz", **changed)
    code, faults = found(capsys, "--data", out)
    assert code == 2
    assert [fault[:3] for fault in faults[:2]] == [
        ("error", "file", "000000000000.jpg"),
        ("error", "file", "wide.webp"),
    ]
    assert "record 0 of train cannot be read (RuntimeError: " in faults[0][3]
    assert "record 5 of train has other labels than the index; are the files of one build? build it" in faults[1][3]
    assert [kind for _, kind, *_ in faults[2:]] == ["without-people"]


def test_leaks_are_found_between_its_splits_and_to_the_original(built, varied, folder, capsys):
    code, faults = found(capsys, "--data", built, "--against", "val")
    assert (code, [kind for _, kind, *_ in faults]) == (2, ["leak"] * 4 + ["without-people"])
    assert faults[1][2:] == (
        "000000000001.jpg",
        f"the same file as {built}/keypoints/all/1.0.0/val/000000000001.jpg, in another split; a split must not "
        "contain another's images",
    )
    for data, other in ((folder, built), (built, folder)):
        code, faults = found(capsys, "--data", data, "--against", other)
        assert [kind for _, kind, *_ in faults].count("leak") == 4
    with pytest.raises(SystemExit):
        cli.main(["data", "check", "--data", str(built), "--split", "val", "--against", "val"])
    assert (
        "val: has exactly the images that are checked; give other data, or leave out --against"
        in capsys.readouterr().err
    )


def test_a_set_without_fault_says_so(built, capsys):
    cli.main(["data", "check", "--data", str(built), "--split", "val"])
    version = built / "keypoints/all/1.0.0"
    first, *_, verdict, others = capsys.readouterr().out.splitlines()
    assert (first, verdict) == (f"inspose: {version}: a built set, split val", f"{version}: no fault found")
    assert others.startswith("only val was checked; the other part: --split train; ")


def test_it_is_measured_and_shown_as_the_folder(built, varied, tmp_path, capsys):
    texts = []
    for data in (built, varied):
        cli.main(["data", "stats", "--data", str(data)])
        said, *lines = capsys.readouterr().out.splitlines()
        texts.append((said.split(": ")[-1], lines))
    assert texts[0] == texts[1]
    cli.main(["data", "show", "--data", str(built), "--out", str(tmp_path / "labels.html"), "--count", "6"])
    assert (tmp_path / "labels.html").read_text().count("<img") == 6

"""Results are complete or absent: a failure leaves no partial file or folder, and existing files intact."""

import os
from pathlib import Path

import pytest

from inspose_jax import files
from inspose_jax.errors import UserError


def names(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_new_folder_appears_only_when_complete(tmp_path):
    with files.new_folder(tmp_path / "a/new") as partial:
        (partial / "file").write_text("x")
        assert not (tmp_path / "a/new").exists()
    assert names(tmp_path) == ["a", "a/new", "a/new/file"]
    assert (tmp_path / "a/new").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(("error", "message"), [(OSError(28, "No space"), "No space"), (OSError("odd"), "odd")])
def test_a_new_folder_that_fails_leaves_nothing(tmp_path, error, message):
    def fill() -> None:
        with files.new_folder(tmp_path / "a/new") as partial:
            (partial / "file").write_text("x")
            raise error

    with pytest.raises(ValueError, match=rf"new: cannot be written \({message}\); choose another place"):
        fill()
    assert names(tmp_path) == []


@pytest.mark.parametrize("taken", ["file", "full/file", "self"])
def test_a_new_folder_replaces_nothing(tmp_path, taken):
    if taken == "self":
        (tmp_path / "self").symlink_to("self")
    else:
        (tmp_path / taken).parent.mkdir(exist_ok=True)
        (tmp_path / taken).write_text("mine")
    before = names(tmp_path)
    with pytest.raises(ValueError, match="already exists; give a new or empty folder"):
        files.new_folder(tmp_path / taken.split("/")[0]).__enter__()
    assert names(tmp_path) == before


@pytest.mark.parametrize("exists", [False, True])
def test_what_a_killed_process_left_is_removed_and_what_a_living_one_fills_is_not(tmp_path, exists):
    target = tmp_path / "new"
    if exists:
        target.mkdir()
    place = target if exists else tmp_path
    for name in (".new.abcd1234.partial/deep", ".other.abcd1234.partial", ".new.mine"):
        (place / name).mkdir(parents=True)
    (place / ".new.abcd1234.partial/deep/file").write_text("half")
    if exists:  # what the user put there makes the folder a full one
        (place / ".other.abcd1234.partial").rmdir()
        (place / ".new.mine").rmdir()
    with files.new_folder(target) as first:
        assert not (place / ".new.abcd1234.partial").exists()
        (first / "file").write_text("x")
        if not exists:
            with files.new_folder(tmp_path / "new") as second:
                assert (first / "file").read_text() == "x", "in use"
                (second / "file").write_text("y")
            (tmp_path / "new").rename(tmp_path / "second")
    assert (target / "file").read_text() == "x"
    kept = [] if exists else [".new.mine", ".other.abcd1234.partial", "second", "second/file"]
    assert names(tmp_path) == sorted([*kept, "new", "new/file"])


@pytest.mark.parametrize("holds", [[], ["a", "a/b", "a/b/whole"]])
def test_a_results_folder_that_stays_empty_is_removed_with_its_parents(tmp_path, holds):
    def fill() -> None:
        with files.results_folder(tmp_path / "a/b"):
            if holds:
                (tmp_path / "a/b/whole").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill()
    assert names(tmp_path) == holds


def test_a_file_is_replaced_only_when_the_new_one_is_complete(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")

    def fill() -> None:
        with files.atomic(path) as partial:
            partial.write_text("ne")
            assert (path.read_text(), partial.suffix) == ("old", ".json")
            raise OSError(28, "No space")

    with pytest.raises(ValueError, match=r"a.json: cannot be written \(No space\); choose another place"):
        fill()
    assert (names(tmp_path), path.read_text()) == (["a.json"], "old")
    files.write(path, "new")
    assert (names(tmp_path), path.read_text()) == (["a.json"], "new")


def test_two_writers_of_one_file_do_not_share_a_temporary_file(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as in two containers
    path = tmp_path / "a.json"
    with files.atomic(path) as one:
        one.write_text("one")
        with files.atomic(path) as other:
            other.write_text("other")
            assert one.read_text() == "one"
        assert path.read_text() == "other"
    assert (names(tmp_path), path.read_text()) == (["a.json"], "one")


@pytest.mark.parametrize("out", [".", "link", "dangling", "empty/"])
def test_a_new_folder_may_be_an_empty_one_or_a_link_to_one(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    (tmp_path / "dangling").symlink_to("later")
    where = {".": "empty", "link": "empty", "dangling": "later", "empty/": "empty"}[out]
    if out == ".":
        monkeypatch.chdir(tmp_path / "empty")
    with files.new_folder(type(tmp_path)(out)) as partial:
        (partial / "file").write_text("x")
    assert (tmp_path / where / "file").read_text() == "x"
    assert not [name for name in names(tmp_path) if "." in name]
    assert (tmp_path / "link").is_symlink()


def test_a_link_is_kept_and_its_target_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").write_text("old")
    (tmp_path / "link").symlink_to("there/file")
    files.write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there/file").read_text() == "new"
    assert names(tmp_path) == ["link", "there", "there/file"]


def test_a_device_or_a_folder_is_not_replaced(tmp_path):
    for place in (tmp_path, os.devnull):
        with pytest.raises(ValueError, match="not a file that can be replaced; choose another place"):
            files.write(type(tmp_path)(place), "x")


def test_a_place_in_or_below_a_folder_of_images_is_refused_and_one_beside_the_dataset_is_named(tmp_path, monkeypatch):
    for folder in ("set/a/more", "set/b", "set/labels"):
        (tmp_path / folder).mkdir(parents=True)
    folders = {tmp_path / "set/a", tmp_path / "set/a/more", tmp_path / "set/b"}
    monkeypatch.chdir(tmp_path / "set/a")
    for free in ("../x.html", "../labels/x.html", tmp_path / "x.html"):
        files.refuse_among_images(Path(free), folders, "--out")
    for taken in ("x.html", "more/x.html", "../labels/../a/new/x.html"):
        with pytest.raises(UserError, match=r"is in a folder of images, .* place, such as --out \.\./\.\./x\.html$"):
            files.refuse_among_images(Path(taken), folders, "--out")
    with pytest.raises(UserError, match=rf"such as --out {tmp_path}/x.html$"):
        files.refuse_among_images(tmp_path / "set/b/x.html", folders, "--out")

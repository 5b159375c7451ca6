"""`inspose data stats` on the command line: numbers as text, and a page."""

import json
import warnings

import pytest

from inspose_jax import cli


def call(place, *options):
    given = ["--images", place / "drawn/images", "--annotations", place / "drawn/annotations.json", *options]
    cli.main(["data", "stats", *map(str, given)])


def test_numbers_are_printed_and_the_page_is_written(place, tmp_path, capsys):
    call(place, "--recipe", "drawn_people", "--out", tmp_path / "stats.html")
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "Counts                         number"
    assert "images                              4" in out
    assert "\ntest: 128 x 128           4                   0.0%\n" in out
    assert out.splitlines()[-1] == str(tmp_path / "stats.html")
    page = (tmp_path / "stats.html").read_text()
    assert "scales and padded shapes are those of the recipe drawn_people" in page
    assert "test: 128 x 128" in page


def test_a_recipe_without_shapes_is_measured_with_those_found_for_the_data(place, capsys):
    call(place, "--recipe", "keypoints")
    *_, last = [line for line in capsys.readouterr().out.splitlines() if line.startswith("test: ")]
    assert last.split() == ["test:", "all", "4", "0.0%"]  # all four images have one size


def test_without_a_recipe_it_is_one_for_the_joints_of_the_data(place, tmp_path, capsys):
    labels = json.loads((place / "drawn/annotations.json").read_text())
    labels["categories"][0]["keypoints"][0] = "beak"
    (tmp_path / "birds.json").write_text(json.dumps(labels))
    for file, recipe, tested in (
        (place / "drawn/annotations.json", "r50_coco_36e", "800 x 1344"),
        (tmp_path / "birds.json", "keypoints", "320 x 320"),
    ):
        given = ["--images", str(place / "drawn/images"), "--annotations", str(file)]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*joints of its own")
            cli.main(["data", "stats", *given])
            out = capsys.readouterr().out
            assert out.splitlines()[-1] == f"scales and padded shapes are those of the recipe {recipe}"
            assert f"\ntest: {tested} " in out
            cli.main(["data", "shapes", *given, "--num-shapes", "1"])
            assert f" to train on; sizes of the recipe {recipe}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "stats.txt"], "stats.txt: not a page; the name must end in .html"),
        (["--recipe", "r50_coco"], "r50_coco: no such recipe file or name; did you mean r50_coco_"),
        (["--out", "none/stats.html"], "none/stats.html: cannot be written"),
    ],
)
def test_wrong_options_are_reported_in_a_line(place, capsys, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        call(place, *options)
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_page_inside_the_folder_of_images_is_refused(place, capsys):
    with pytest.raises(SystemExit, match="2"):
        call(place, "--out", place / "drawn/images/stats.html")
    assert "is in a folder of images, which is never changed" in capsys.readouterr().err

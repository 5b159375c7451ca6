"""`inspose data show`: a dataset with its labels, on a page or a sheet; only the shown images are read."""

import re

import pytest
from PIL import Image

from inspose_jax import cli
from inspose_jax.cli.data import SHOWN_SIDE


@pytest.fixture
def drawn(tmp_path):
    """Nine drawn images, of which only the first, the middle and the last can be read."""
    cli.main(["data", "draw", "--out", str(tmp_path / "drawn"), "--count", "9", "--size", "64"])
    for number, path in enumerate(sorted((tmp_path / "drawn/images").iterdir())):
        if number not in (0, 4, 8):
            path.write_text("no image")
    return ["--images", str(tmp_path / "drawn/images"), "--annotations", str(tmp_path / "drawn/annotations.json")]


def test_a_page_shows_images_evenly_spaced_and_reads_no_others(drawn, tmp_path, capsys):
    cli.main(["data", "show", *drawn, "--out", str(tmp_path / "a.html"), "--count", "3"])
    assert "a.html: 3 of 9 images, evenly spaced" in capsys.readouterr().out
    content = (tmp_path / "a.html").read_text()
    assert re.findall(r"<figcaption>image (\d+):", content) == ["0", "4", "8"]
    assert content.count("<img src=") == 3
    assert "rings: hidden ones" in content
    assert re.findall(r"\n(.*)</figcaption>", content) == [f"{number:012d}.jpg" for number in (0, 4, 8)]
    colours = re.findall(r"background: (rgb\(\d+, \d+, \d+\))", content)
    assert len(set(colours)) == 17
    assert re.search(r'<li><i style="background: rgb\(255, 0, 0\)"></i>nose</li>', content)


@pytest.mark.parametrize("form", ["png", "jpg"])
def test_a_sheet_holds_the_requested_number_of_images(drawn, tmp_path, form):
    cli.main(["data", "show", *drawn, "--out", str(tmp_path / f"a.{form}"), "--count", "3"])
    with Image.open(tmp_path / f"a.{form}") as sheet:
        assert sheet.format == {"png": "PNG", "jpg": "JPEG"}[form]
        assert sheet.size[0] == 3 * (SHOWN_SIDE + 8) + 8

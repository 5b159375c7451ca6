"""Images of every kind are read as the same RGB bytes; other files and too large ones are refused early."""

import errno
import os
import resource
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inspose_jax.data import orientation
from inspose_jax.data.image_files import read_image

GREY = np.linspace(0, 255, 6 * 8).round().astype(np.uint8).reshape(6, 8)
COLOURS = np.stack([GREY, GREY[::-1], np.full_like(GREY, 40)], -1)


def read(image: Image.Image, path: Path, follow_exif: bool = False, **options) -> np.ndarray:
    image.save(path, **options)
    return read_image(path, follow_exif)


@pytest.mark.parametrize(
    ("name", "mode", "tolerance"),
    [
        ("a.png", "RGB", 0),
        ("a.bmp", "RGB", 0),
        ("a.tif", "RGB", 0),
        ("a.tif", "CMYK", 0),
        ("a.png", "RGBA", 0),
        ("a.jpg", "RGB", 60),
        ("a.jpg", "CMYK", 60),
    ],
)
def test_colours_are_preserved(tmp_path, name, mode, tolerance):
    found = read(Image.fromarray(COLOURS).convert(mode), tmp_path / name)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found.astype(int), COLOURS, atol=tolerance)  # JPEG halves the colours' resolution


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_grey_becomes_three_equal_channels(tmp_path, name):
    np.testing.assert_array_equal(read(Image.fromarray(GREY), tmp_path / name), np.stack([GREY] * 3, -1))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled_not_truncated(tmp_path, name):
    deep = Image.fromarray(GREY.astype(np.uint16) * 257)
    np.testing.assert_allclose(read(deep, tmp_path / name).astype(int), np.stack([GREY] * 3, -1), atol=1)


def test_palette_and_one_bit_images_give_their_colours(tmp_path):
    palette = Image.fromarray(COLOURS).quantize(64)
    np.testing.assert_array_equal(read(palette, tmp_path / "a.png"), np.asarray(palette.convert("RGB")))
    bits = read(Image.fromarray(GREY).convert("1"), tmp_path / "b.png")
    assert set(bits.ravel().tolist()) == {0, 255}


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.avif"])
@pytest.mark.parametrize("number", range(1, 9))
def test_exif_orientation_is_applied_only_on_request(tmp_path, number, name):
    """Pixel (0, 0) of the file is where EXIF's table says: top left, top right, bottom right, bottom left, ..."""
    exif = Image.Exif()
    exif[0x0112] = number
    corner = np.zeros((24, 32, 3), np.uint8)
    corner[:8, :8] = 255
    options = {"tiffinfo": {0x0112: number}} if name.endswith("tif") else {"exif": exif}
    stored = read(Image.fromarray(corner), tmp_path / name, **options, **({"lossless": True} if "webp" in name else {}))
    shown = read_image(tmp_path / name, follow_exif=True)
    np.testing.assert_allclose(stored.astype(int), corner, atol=40)  # some formats lose a little
    height, width = (24, 32) if number < 5 else (32, 24)
    place = [(0, 0), (0, -1), (-1, -1), (-1, 0), (0, 0), (0, -1), (-1, -1), (-1, 0)][number - 1]
    assert shown.shape == (height, width, 3)
    assert shown[place].min() > 215
    assert (shown > 127).sum() == 8 * 8 * 3


XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize(
    ("name", "mode"), [("a.tif", "RGB"), ("a.tif", "RGBA"), ("a.jpg", "RGB"), ("a.webp", "RGB"), ("a.avif", "RGB")]
)
def test_an_orientation_in_xmp_alone_is_ignored(tmp_path, name, mode):
    corner = np.zeros((24, 32, 3), np.uint8)
    corner[:8, :8] = 255
    options = {"tiffinfo": {700: XMP}} if name == "a.tif" else {"xmp": XMP}
    Image.fromarray(corner).convert(mode).save(tmp_path / name, **options)
    assert orientation.read_header(tmp_path / name) == ((24, 32), 1)
    for follow_exif in (False, True):
        np.testing.assert_allclose(read_image(tmp_path / name, follow_exif).astype(int), corner, atol=40)


@pytest.mark.parametrize("content", [b"hello", b""])
def test_anything_but_an_image_is_refused(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match="not an image that can be read"):
        read_image(tmp_path / "a.jpg", follow_exif=False)


def test_a_system_error_is_not_reported_as_damage(tmp_path, monkeypatch):
    def fails(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    monkeypatch.setattr(Path, "read_bytes", fails)
    with pytest.raises(OSError, match=r"Input/output error: .*a.png"):
        read_image(tmp_path / "a.png", follow_exif=False)


@pytest.mark.parametrize("name", ["a.jpg", "a.bmp", "a.tif", "a.webp"])
def test_a_truncated_file_is_refused(tmp_path, name):
    Image.fromarray(COLOURS.repeat(20, 0).repeat(20, 1)).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="not an image that can be read"):
        read_image(tmp_path / name, follow_exif=False)


def test_a_file_with_an_oversized_header_is_refused_before_memory_is_allocated(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    header = b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
    (tmp_path / "a.bmp").write_bytes(header)
    with pytest.raises(ValueError, match=r"more than 2\^30 pixels, .* make it smaller"):
        read_image(tmp_path / "a.bmp", follow_exif=False)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.slow
def test_twenty_thousand_pixels_a_side_are_read_in_less_than_3_gb(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "a.png")
    code = (
        "import resource, sys; from pathlib import Path; from inspose_jax.data.image_files import read_image\n"
        "print(read_image(Path(sys.argv[1]), True).shape, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, tmp_path / "a.png"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    shape, peak = done.stdout.rsplit(" ", 1)
    assert shape == "(20000, 20000, 3)"
    assert int(peak) < 3_000_000  # kB; the image itself is 1.2 GB

"""PIL images of every mode give the same RGB bytes as their file, or are refused in one line."""

import warnings

import numpy as np
import pytest
from PIL import Image

from inspose_jax.data.image_files import read_image
from inspose_jax.data.pil_images import to_rgb

GREY = np.linspace(0, 255, 6 * 8).round().astype(np.uint8).reshape(6, 8)
COLOURS = Image.fromarray(np.stack([GREY, GREY[::-1], np.full_like(GREY, 40)], -1))
ALPHA = Image.fromarray(np.where(np.arange(48).reshape(6, 8) % 2, 255, 128).astype(np.uint8))
SEE_THROUGH = Image.merge("RGBA", (*COLOURS.split(), ALPHA))


def of_mode(mode: str) -> tuple[Image.Image, np.ndarray, int]:
    """An image of a mode, the RGB bytes that it represents, and the tolerance due to the mode's rounding."""
    grey = np.stack([GREY] * 3, -1)
    if mode == "1":
        return Image.fromarray(GREY > 100), np.where(grey > 100, 255, 0), 0
    if mode == "I":
        return Image.fromarray(GREY.astype(np.int32) * 257), grey, 0
    if mode.startswith("I;16"):
        kind = ">u2" if mode.endswith("B") else "<u2"
        return Image.frombytes(mode, (8, 6), (GREY.astype(np.uint16) * 257).astype(kind).tobytes()), grey, 0
    if mode in ("L", "LA", "La"):
        image = Image.merge("LA", (Image.fromarray(GREY), ALPHA))
        return (image.convert("L") if mode == "L" else image.convert(mode)), grey, 2
    if mode in ("P", "PA"):  # few enough colours that a palette holds them all
        few = SEE_THROUGH.quantize(48, method=Image.Quantize.FASTOCTREE)
        return few.convert(mode), np.asarray(few.convert("RGBA"))[..., :3], 0
    image = SEE_THROUGH.convert("RGBa") if mode == "RGBa" else COLOURS.convert(mode)
    return image, np.asarray(COLOURS), {"LAB": 40, "HSV": 6, "YCbCr": 3, "RGBa": 2}.get(mode, 0)


@pytest.mark.parametrize("mode", [mode for mode in Image.MODES if mode != "F"])
def test_every_pillow_mode_gives_its_colours(mode):
    image, expected, tolerance = of_mode(mode)
    assert image.mode == mode
    found = to_rgb(image)
    assert (found.dtype, found.shape) == (np.uint8, (6, 8, 3))
    np.testing.assert_allclose(found.astype(int), expected, atol=tolerance)


def test_integers_that_fit_into_eight_bits_are_not_scaled_with_a_warning():
    line = (
        r'PIL image: has no pixel above 255 \(mode I\) and is taken to have 8 bits; if it has 16, use `.convert\("I;16'
    )
    with pytest.warns(UserWarning, match=line):
        found = to_rgb(Image.fromarray(GREY.astype(np.int32)))
    np.testing.assert_array_equal(found, np.stack([GREY] * 3, -1))


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (np.full((2, 2), 0.5, np.float32), r"float pixels \(mode F\), whose range is unknown; scale it"),
        (np.array([[-1, 5]], np.int32), r"pixels from -1 to 5 \(mode I\), neither 8 bits nor 16; scale it"),
        (np.array([[0, 65536]], np.int32), r"pixels from 0 to 65536 \(mode I\), neither 8 bits nor 16; scale it"),
    ],
)
def test_an_unknown_range_is_refused_even_in_a_file(tmp_path, values, what):
    image = Image.fromarray(values)
    image.save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=f"the PIL image: has {what}"):
        to_rgb(image)
    with pytest.raises(ValueError, match=f"a.tif: has {what}"):
        read_image(tmp_path / "a.tif", follow_exif=False)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp", "a.bmp", "a.jpg"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I"])
def test_a_file_and_its_pil_image_are_the_same(tmp_path, name, mode):
    image = SEE_THROUGH if mode == "RGBA" else of_mode(mode)[0]
    path = tmp_path / name
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Saving I mode images as PNG")  # Pillow before 13
            image.save(path, **({"lossless": True} if name == "a.webp" else {}))
        with Image.open(path) as opened:
            opened.load()
    except OSError:  # nor does Pillow 11 read the YCbCr that it wrote to TIFF
        pytest.skip(f"Pillow writes no {mode} to {name}")
    with Image.open(path) as opened:
        np.testing.assert_allclose(read_image(path, False).astype(int), to_rgb(opened), atol=1)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_transparent_pixels_keep_their_stored_colour(tmp_path, name):
    SEE_THROUGH.save(tmp_path / name, **({"lossless": True} if name == "a.webp" else {}))
    np.testing.assert_array_equal(read_image(tmp_path / name, follow_exif=False), np.asarray(COLOURS))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_transparent_tiff_is_rotated_only_on_request(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    SEE_THROUGH.save(tmp_path / "a.tif", exif=exif)
    COLOURS.save(tmp_path / "a.png", exif=exif)
    for follow_exif in (False, True):
        np.testing.assert_array_equal(*(read_image(tmp_path / name, follow_exif) for name in ("a.tif", "a.png")))

"""Reading picture files: bytes on disk -> u8[H,W,3] RGB, or one clear line."""

import io
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import ImageOps, TiffImagePlugin

from inspose_jax.data.pil_images import rgb_of
from inspose_jax.errors import NotFound, UserError

# Not .gif, which may move, nor .avif, which only some builds of OpenCV read.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff")
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # what such a file begins with
ORIENTATION = 0x0112  # the tag's number


def read_image(path: Path, follow_exif: bool) -> UInt8[np.ndarray, "H W 3"]:
    """The picture in a file as RGB bytes; grey, palette, CMYK and 16-bit files are converted.

    Transparency is left out: what counts is the colour stored below it.

    `follow_exif` turns the picture as its EXIF orientation says; labels refer to the stored pixels, so annotated sets
    never do.  Raises FileNotFoundError where there is no file, ValueError where it holds no picture.
    """
    if not path.is_file():
        raise NotFound(f"{path}: {'is no' if path.exists() else 'no such'} picture; check the path")
    data = np.fromfile(path, np.uint8)
    if data[:4].tobytes() in TIFF and (image := unusual_tiff(data, path, follow_exif)) is not None:
        return image
    flags = cv2.IMREAD_COLOR_RGB | (0 if follow_exif else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = cv2.imdecode(data, flags) if len(data) else None
    except cv2.error as error:
        image = None
        if "CV_IO_MAX" in error.err:  # told by its header, before memory is taken for it
            raise UserError(
                f"{path}: has more than 2^30 pixels, or 2^20 a side, which OpenCV does not read; make it smaller"
            ) from None
    if image is None:
        raise UserError(f"{path}: not a picture that can be read; is it damaged, or not one of {', '.join(SUFFIXES)}?")
    return image


def unusual_tiff(data: np.ndarray, path: Path, follow_exif: bool) -> UInt8[np.ndarray, "H W 3"] | None:
    """A TIFF file of a kind that OpenCV blackens (transparent), miscolours (LAB) or refuses (32 bits); None if none.

    UserError as `rgb_of`.
    """
    try:
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(data.tobytes()))
        if image.mode not in ("RGBA", "LAB", "I", "F") or max(image.size) > 2**20 or np.prod(image.size) > 2**30:
            return None
        orientation = image.tag_v2.get(ORIENTATION, 1)
        image.load()  # which turns it
        if not follow_exif:
            image.getexif()[ORIENTATION] = {6: 8, 8: 6}.get(orientation, orientation)  # every other one is its opposite
            image = ImageOps.exif_transpose(image)
    except Exception:  # Pillow raises a dozen kinds; whether the file is damaged is OpenCV's word below
        return None
    return rgb_of(image, str(path))

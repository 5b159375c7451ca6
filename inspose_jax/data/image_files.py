"""Reading image files: bytes on disk -> u8[H,W,3] RGB, or one clear line."""

import io
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL.TiffImagePlugin import TiffImageFile

from inspose_jax.data import orientation
from inspose_jax.data.pil_images import rgb_of
from inspose_jax.errors import NotFound, UserError

# Not .gif, which may move, nor .avif, which only some builds of OpenCV read.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff")
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # how such a file begins; the last two have offsets of 64 bits
MOST_PIXELS, LONGEST_SIDE = 2**30, 2**20  # what OpenCV reads


def read_image(path: Path, follow_exif: bool) -> UInt8[np.ndarray, "H W 3"]:
    """The image in a file as RGB bytes; grey, palette, CMYK and 16-bit files are converted.

    Transparency is left out: what counts is the colour stored below it.

    `follow_exif` turns the image as its orientation says; without, the pixels are those stored in the file, in every
    format.  Raises FileNotFoundError where there is no file, UserError where it holds no image.
    """
    if not path.is_file():
        raise NotFound(f"{path}: {'is no' if path.exists() else 'no such'} picture; check the path")
    data = np.frombuffer(path.read_bytes(), np.uint8)  # np.fromfile passes over errors of the system
    begin = data[:12].tobytes()
    if begin.startswith(TIFF):
        image = unusual_tiff(data, path)
        image = decoded(data, path, cv2.IMREAD_COLOR_RGB) if image is None else image
        # Pillow and OpenCV turn TIFF whatever they are asked.
        return image if follow_exif else orientation.turned_back(image, orientation.read_header(path).orientation)
    image = decoded(data, path, cv2.IMREAD_COLOR_RGB | (0 if follow_exif else cv2.IMREAD_IGNORE_ORIENTATION))
    if begin[4:8] == b"ftyp" and follow_exif:  # AVIF, which OpenCV never turns
        return orientation.turned(image, orientation.read_header(path).orientation)
    return image


def read_annotated(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels that labels of an image of `size`, (height, width), belong to: the stored ones, which is what COCO
    means, or the image turned by its orientation where only that is of this size.

    Where neither is, the stored ones; errors as `read_image`.
    """
    image = read_image(path, follow_exif=False)
    if image.shape[:2] != size and image.shape[1::-1] == size:
        shown = read_image(path, follow_exif=True)
        return shown if shown.shape[:2] == size else image
    return image


def decoded(data: UInt8[np.ndarray, " n"], path: Path, flags: int) -> UInt8[np.ndarray, "H W 3"]:
    """What OpenCV makes of a file's bytes; UserError where that is nothing."""
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


def unusual_tiff(data: UInt8[np.ndarray, " n"], path: Path) -> UInt8[np.ndarray, "H W 3"] | None:
    """A TIFF file of a kind that OpenCV blackens (transparent), miscolours (LAB) or refuses (32 bits), turned as it is
    to be shown; None for every other kind.  UserError as `rgb_of`.
    """
    try:
        image = TiffImageFile(io.BytesIO(data.tobytes()))
        is_usual = image.mode not in ("RGBA", "LAB", "I", "F")
        if is_usual or max(image.size) > LONGEST_SIDE or np.prod(image.size) > MOST_PIXELS:
            return None
        image.info.pop("xmp", None)  # Pillow would also turn by an orientation in it, OpenCV does not
        image.load()
    except Exception:  # Pillow raises a dozen kinds; whether the file is damaged is OpenCV's word
        return None
    return rgb_of(image, str(path))

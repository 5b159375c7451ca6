"""Reading picture files: bytes on disk -> u8[H,W,3] RGB, or one clear line."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from inspose_jax.data import orientation
from inspose_jax.errors import NotFound, UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

cv2.setNumThreads(0)  # pictures are read by several threads already
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what cannot be read is said once, below

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: with offsets of 64 bits


def read_image(path: Path, follow_exif: bool) -> UInt8[np.ndarray, "H W 3"]:
    """The picture in a file as RGB bytes; grey, palette, CMYK and 16-bit files are converted.

    `follow_exif` turns the picture as its orientation says; without, the pixels are those stored in the file, in every
    format.  Raises FileNotFoundError where there is no file, ValueError where it holds no picture.
    """
    if not path.is_file():
        raise NotFound(f"{path}: {'is no' if path.exists() else 'no such'} picture; check the path")
    data = np.fromfile(path, np.uint8)
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
    begin = data[:12].tobytes()
    if begin.startswith(TIFF) and not follow_exif:  # OpenCV turns TIFF whatever it is asked
        return orientation.turned_back(image, orientation.read_header(path).orientation)
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

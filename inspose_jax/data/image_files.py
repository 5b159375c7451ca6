"""Reading picture files: bytes on disk -> u8[H,W,3] RGB, or one clear line."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from inspose_jax.errors import NotFound, UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

cv2.setNumThreads(0)  # pictures are read by several threads already
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what cannot be read is said once, below


def read_image(path: Path, follow_exif: bool) -> UInt8[np.ndarray, "H W 3"]:
    """The picture in a file as RGB bytes; grey, palette, CMYK and 16-bit files are converted.

    `follow_exif` turns the picture as its EXIF orientation says; labels refer to the stored pixels, so annotated sets
    never do.  Raises FileNotFoundError where there is no file, ValueError where it holds no picture.
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
    return image

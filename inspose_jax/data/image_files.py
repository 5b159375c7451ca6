"""Read image files: bytes on disk -> u8[H,W,3] RGB, or a one-line error."""

import io
import os
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL.TiffImagePlugin import TiffImageFile

from inspose_jax.data import orientation
from inspose_jax.data.pil_images import to_rgb
from inspose_jax.errors import NotFound, UserError

# Without .gif, which may be animated, and .avif, which only some builds of OpenCV can read.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff")
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the magic numbers; the last two are BigTIFF, with 64-bit offsets
MOST_PIXELS, LONGEST_SIDE = 2**30, 2**20  # OpenCV's limits


def read_image(path: Path, follow_exif: bool) -> UInt8[np.ndarray, "H W 3"]:
    """Read an image file as RGB bytes; raises NotFound if there is no such file, and otherwise as `decode_image`."""
    return decode_image(read_bytes(path), str(path), follow_exif)


def read_bytes(path: Path) -> bytes:
    """The bytes of an image file; raises NotFound if there is no such file."""
    if not path.is_file():
        raise NotFound(f"{path}: {'not a file' if path.exists() else 'no such image'}; check the path")
    return path.read_bytes()  # np.fromfile ignores system errors


def decode_image(file: bytes, name: str, follow_exif: bool) -> UInt8[np.ndarray, "H W 3"]:
    """Decode the bytes of an image file as RGB, converting grey, palette, CMYK and 16-bit files.

    The alpha channel is dropped, leaving the colours stored below it.

    With `follow_exif` the image is rotated and mirrored as its orientation says; without, the pixels are those stored
    in the file, in every format.  Raises UserError, which calls the file `name`, if it cannot be decoded.
    """
    data = np.frombuffer(file, np.uint8)
    begin = file[:12]
    if begin.startswith(TIFF):
        image = unusual_tiff(data, name)
        image = decoded(data, name, cv2.IMREAD_COLOR_RGB) if image is None else image
        # Pillow and OpenCV always apply the orientation of a TIFF file.
        return image if follow_exif else orientation.undo(image, orientation.header_of(file).orientation)
    image = decoded(data, name, cv2.IMREAD_COLOR_RGB | (0 if follow_exif else cv2.IMREAD_IGNORE_ORIENTATION))
    if begin[4:8] == b"ftyp" and follow_exif:  # AVIF, to which OpenCV never applies the orientation
        return orientation.apply(image, orientation.header_of(file).orientation)
    return image


def read_annotated(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "H W 3"]:
    """Read the pixels of an image file that the labels refer to, as `decode_annotated` says.

    Raises NotFound if there is no such file, and otherwise as `decode_image`.
    """
    return decode_annotated(read_bytes(path), str(path), size)


def decode_annotated(file: bytes, name: str, size: tuple[int, int]) -> UInt8[np.ndarray, "H W 3"]:
    """Decode the pixels that the labels refer to, given the annotated `size` (height, width).

    These are the stored pixels, as COCO intends, unless only the image rotated by its EXIF orientation has this size.
    If neither has it, the stored pixels are returned.  Raises the same errors as `decode_image`.
    """
    image = decode_image(file, name, follow_exif=False)
    if image.shape[:2] != size and image.shape[1::-1] == size:
        shown = decode_image(file, name, follow_exif=True)
        return shown if shown.shape[:2] == size else image
    return image


def displayed_size(path: Path) -> tuple[int, int] | None:
    """`orientation.displayed_size` of an image file of any format; raises as `read_image`."""
    header = orientation.read_header(path)
    if not all(header.size):  # a bitmap has no header that is known there
        header = header._replace(size=read_image(path, follow_exif=False).shape[:2])
    return orientation.displayed_size(header)


def refuse_other_size(image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int], name: str) -> None:
    """Raise UserError if an annotated image has another (height, width) than its annotation says."""
    if image.shape[:2] != size:
        raise UserError(
            f"{name}: {image.shape[0]} x {image.shape[1]} pixels, but its annotation says {size[0]} x {size[1]} "
            f"(height x width); labels would not fit. Is it the file that was annotated?"
        )


def first_missing(folder: Path, names: list[str]) -> Path | None:
    """The first of these files in a folder, or in folders inside it, that does not exist; None if all do.

    Each folder is listed once, which is many times quicker than asking for every file.
    """
    inside: dict[str, set[str]] = {}
    for name in names:
        parent, _, own = name.rpartition("/")
        if parent not in inside:
            try:
                inside[parent] = {entry.name for entry in os.scandir(folder / parent) if entry.is_file()}
            except OSError:  # which names no file
                inside[parent] = set()
        # Asked again, since a name may be written in another way, such as `a//b.jpg`, or in other case.
        if own not in inside[parent] and not (folder / name).is_file():
            return folder / name
    return None


def decoded(data: UInt8[np.ndarray, " n"], name: str, flags: int) -> UInt8[np.ndarray, "H W 3"]:
    """Decode a file's bytes with OpenCV; raises UserError if that fails."""
    try:
        image = cv2.imdecode(data, flags) if len(data) else None
    except cv2.error as error:
        image = None
        if "CV_IO_MAX" in error.err:  # OpenCV refuses by the header, before allocating memory
            raise UserError(
                f"{name}: has more than 2^30 pixels, or 2^20 a side, which OpenCV does not read; make it smaller"
            ) from None
    if image is None:
        raise UserError(f"{name}: not an image that can be read; is it damaged, or not one of {', '.join(SUFFIXES)}?")
    return image


def unusual_tiff(data: UInt8[np.ndarray, " n"], name: str) -> UInt8[np.ndarray, "H W 3"] | None:
    """Decode, by Pillow and in display orientation, a TIFF that OpenCV cannot; None for every other kind of TIFF.

    OpenCV blackens transparent files, miscolours LAB and refuses 32 bits.  Raises UserError as `to_rgb` does.
    """
    try:
        image = TiffImageFile(io.BytesIO(data.tobytes()))
        is_usual = image.mode not in ("RGBA", "LAB", "I", "F")
        if is_usual or max(image.size) > LONGEST_SIDE or np.prod(image.size) > MOST_PIXELS:
            return None
        image.info.pop("xmp", None)  # Pillow would apply an orientation found in XMP; OpenCV does not
        image.load()
    except Exception:  # Pillow raises a dozen types; OpenCV decides whether the file is damaged
        return None
    return to_rgb(image, name)

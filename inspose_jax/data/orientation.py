"""The EXIF orientation in an image file's header: how to rotate and mirror the stored pixels for display."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

FORMATS = (JpegImageFile, PngImageFile, WebPImageFile, TiffImageFile, AvifImageFile)
UNCLEAR = "mirrored, turned by 180 degrees, or square and turned"  # the orientations without `displayed_size`
INVERSE = {6: 8, 8: 6}  # every other orientation is its own inverse


class Header(NamedTuple):
    """What the header of an image file says, without decoding any pixels."""

    size: tuple[int, int]  # height and width of the stored pixels; (0, 0) if unknown
    orientation: int  # 1 to 8; 1 is displayed as stored, 5 to 8 swap height and width


def read_header(path: Path) -> Header:
    """Read a file's stored size and orientation; (0, 0) and 1 if it has no header of a known format."""
    return header(lambda: path.open("rb"))


def header_of(file: bytes) -> Header:
    """The stored size and orientation of the bytes of a file, as `read_header` says."""
    return header(lambda: io.BytesIO(file))


def header(open_file: Callable[[], IO[bytes]]) -> Header:
    """The header of what `open_file` opens.

    An AVIF container stores the rotation itself; Pillow reports it as an EXIF orientation.
    """
    for open_format in FORMATS:  # not Image.open, which refuses huge images, although no pixels are decoded here
        try:
            with open_file() as file, open_format(file) as image:
                orientation = tag(image)
                width, height = image.size
                if isinstance(image, TiffImageFile):  # some versions of Pillow report `size` after rotation
                    width, height = image.tag_v2[IMAGEWIDTH], image.tag_v2[IMAGELENGTH]
                return Header((height, width), orientation if orientation in range(1, 9) else 1)
        except Exception:  # Pillow raises many types: another format, or damage, which decoding reports
            continue
    return Header((0, 0), 1)


def displayed_size(header: Header) -> tuple[int, int] | None:
    """Height and width of an image as displayed; None if its size is the same as stored although its pixels are not.

    Labelling tools show images as displayed.  Whoever reads an image by such labels tells by their size whether to
    follow the orientation (`image_files.read_annotated`), which fails for those: mirrored, turned by 180 degrees, or
    square and turned.
    """
    height, width = header.size
    if header.orientation == 1:
        return height, width
    return (width, height) if header.orientation >= 5 and height != width else None


def left_out(images: list[Path]) -> str:
    """A remark about images without `displayed_size`."""
    return (
        f"left out for their EXIF orientation ({UNCLEAR}): {len(images)}, such as {images[0]}; save them upright to "
        f"use them"
    )


def tag(image: ImageFile) -> Any:
    """The EXIF orientation of an opened file, 1 if unspecified.

    Pillow's `getexif` is not used, since it also looks in XMP, which OpenCV ignores.
    """
    if isinstance(image, TiffImageFile):
        return image.tag_v2.get(ExifTags.Base.Orientation, 1)
    exif = Image.Exif()
    exif.load(image.info.get("exif", b""))
    return exif.get(ExifTags.Base.Orientation, 1)


def apply(image: UInt8[np.ndarray, "H W 3"], orientation: int) -> UInt8[np.ndarray, "_ _ 3"]:
    """Stored pixels -> the image as displayed."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return np.ascontiguousarray(image[rows, columns])


def undo(image: UInt8[np.ndarray, "H W 3"], orientation: int) -> UInt8[np.ndarray, "_ _ 3"]:
    """The image as displayed -> its stored pixels."""
    return apply(image, INVERSE.get(orientation, orientation))


def remark(headers: Iterable[tuple[Header, tuple[int, int]]], total: int) -> str:
    """A one-line remark about annotated images with an orientation other than 1, empty if there are none.

    Each header comes with the annotated (height, width), which shows whether the labels refer to the image as stored
    or as displayed.  `total` is the number of images in the dataset, of which the headers may be a sample.
    """
    count = num_oriented = num_turned = 0
    for header, annotated in headers:
        count += 1
        if header.orientation != 1:
            num_oriented += 1
            num_turned += annotated != header.size and annotated == header.size[::-1] and header.orientation >= 5
    if not num_oriented:
        return ""
    sample = f"looked at, of {total} in all, " if count < total else ""
    line = f"{num_oriented} of {count} images {sample}have an EXIF orientation other than 1"
    if num_turned:
        line += (
            f"; {num_turned} are rotated accordingly, since the JSON's height and width are those of the rotated image"
        )
    if num_oriented > num_turned:
        line += (
            f"; {num_oriented - num_turned} stay as stored, and labels must be those of the stored pixels: look at "
            f"some with `inspose data show`"
        )
    return line

"""What a single value of a COCO file may be."""

from pathlib import PurePosixPath
from typing import Any, TypeGuard

LARGEST = 1e9  # no image is this large, and its square is an area that still fits an f32

# What a reader may add to the COCO content that it makes of other files; no file has fields so called.
NO_IMAGE = "inspose: no image"  # the paths of files of labels whose image is not there
LEFT_OUT = "inspose: left out"  # the paths of images that are not in it for their EXIF orientation
READ_FROM = "inspose: read from"  # of an entry: the file, and the line, that the entry stands for
NOT_READ = "inspose: not read"  # of an entry: why it could not be read; then its other fields are those that are known


def is_id(value: Any) -> bool:
    """Whether the value is a non-negative whole number that fits an i64; some datasets' image ids have 11 digits."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def is_whole_number(value: Any) -> bool:
    """Whether the value is a non-negative whole number that fits an i32."""
    return is_id(value) and value < 2**31


def is_side(value: Any) -> bool:
    """Whether the value is a number of pixels that an image can be high or wide."""
    return is_whole_number(value) and value > 0


def is_number(value: Any) -> bool:
    """Whether the value is a number between -1e9 and 1e9; JSON also allows NaN, infinity and integers beyond floats."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST


def is_box(value: Any) -> TypeGuard[list[float]]:
    """Whether the value is a box (x, y, width, height) of non-negative size."""
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value)) and min(value[2:]) >= 0


def is_inside(value: Any) -> TypeGuard[str]:
    """Whether the value names a file in the image folder or in one of its subfolders."""
    if not isinstance(value, str) or value == "" or "\0" in value:
        return False
    path = PurePosixPath(value)
    return not path.is_absolute() and ".." not in path.parts


def whole(value: Any) -> Any:
    """12 for `12.0` and `"12"`, as some tools write ids; whatever is not clearly a whole number stays what it is."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value) if str(int(value)) == value else value  # "007" may differ from "7"
    return value

"""Segmentations of COCO files as masks: a list of polygons, or run-length encoding (RLE), compressed or not.

All are converted by pycocotools, so that a pixel belongs to a person exactly where COCO counts it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from pycocotools import mask

Rle = Any  # a dict {"size": [height, width], "counts": compressed text}


def rle_of(segmentation: Any, size: tuple[int, int]) -> Rle | None:
    """COCO's compressed RLE of a segmentation in an image of (height, width); None if it is none that can be read."""
    height, width = size
    if isinstance(segmentation, dict):
        counts: Any = segmentation.get("counts")
        own_size: Any = segmentation.get("size")
        if own_size != [height, width]:
            return None
        if isinstance(counts, str):
            return compressed(own_size, counts)
        if not is_numbers(counts) or min(counts, default=-1) < 0 or sum(counts) != height * width:
            return None
        uncompressed: Any = {"size": own_size, "counts": counts}
        return as_text(mask.frPyObjects(uncompressed, height, width))
    polygons: Any = segmentation if isinstance(segmentation, list) else []
    polygons = [polygon for polygon in polygons if is_numbers(polygon) and len(polygon) >= 6 and len(polygon) % 2 == 0]
    if not polygons:
        return None
    return as_text(mask.merge(mask.frPyObjects(polygons, height, width)))


def compressed(size: list[int], counts: str) -> Rle | None:
    """A compressed RLE, if it can be decoded."""
    rle: Rle = {"size": size, "counts": counts}
    try:
        mask.decode(rle)  # pycocotools would count the pixels of any text
    except ValueError:
        return None
    return rle if counts else None


def is_numbers(value: Any) -> bool:
    """Whether the value is a list of finite numbers that are no larger than those of any image."""
    return isinstance(value, list) and all(isinstance(number, int | float) and abs(number) < 1e6 for number in value)


def as_text(rle: Rle) -> Rle:
    """An RLE as it stands in JSON; pycocotools returns the counts as bytes."""
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode()}


def area(rle: Rle) -> float:
    """The number of pixels of a mask."""
    return float(mask.area(rle))


def box(rle: Rle) -> list[float]:
    """The x, y, width and height of a mask."""
    return [float(side) for side in mask.toBbox(rle)]


def decoded(rle: Rle | None, size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """The mask of an image of (height, width), without a pixel if it is unknown."""
    return np.zeros(size, bool) if rle is None else mask.decode(rle).astype(bool)


def stacked(rles: Sequence[Rle | None], size: tuple[int, int]) -> Bool[np.ndarray, "N H W"]:
    """The masks of an image's people."""
    return np.array([decoded(rle, size) for rle in rles], bool).reshape(-1, *size)

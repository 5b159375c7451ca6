"""The canvas: an image, and beside it a label map that records who covers which pixel.

Everything that can hide people is painted twice, into the image and, as a number, into the map.  Positions are pixels
of the image; colours are RGB.
"""

import cv2
import numpy as np

FINER = 2  # the image is painted this many times larger and then shrunk, which smooths its edges
SHIFT = 4  # fractional bits of the coordinates in OpenCV's polygons
NOBODY = -1
TURN = np.arange(14) * np.pi / 7
CIRCLE = np.stack([np.cos(TURN), np.sin(TURN)], 1)


class Canvas:
    """An image `FINER` times the requested size, u8[FINER * S, FINER * S, 3], and its label map, i16[S, S]."""

    def __init__(self, image: np.ndarray):
        """Paint on `image`; the label map starts with nobody in it."""
        self.image = image
        self.size = image.shape[0] // FINER
        self.labels = np.full((self.size, self.size), NOBODY, np.int16)
        self.edge_width = max(1, round(self.size / 128))  # pixels of the larger image

    def fill(self, polygon: np.ndarray, colour: np.ndarray, label: int | None = None, edge: float = 0.0) -> None:
        """Fill a convex polygon [n, 2], in the map too if given a label; `edge` is the brightness of its outline."""
        points = _fixed(polygon, FINER)
        cv2.fillConvexPoly(self.image, points, _rgb(colour), cv2.LINE_8, SHIFT)
        if edge:
            cv2.polylines(self.image, [points], True, _rgb(colour * edge), self.edge_width, cv2.LINE_8, SHIFT)
        if label is not None:
            cv2.fillConvexPoly(self.labels, _fixed(polygon, 1), (label, 0, 0), cv2.LINE_8, SHIFT)

    def stroke(self, path: np.ndarray, colour: np.ndarray, thickness: float) -> None:
        """Draw an open path [n, 2]."""
        width = max(1, round(thickness * FINER))
        cv2.polylines(self.image, [_fixed(path, FINER)], False, _rgb(colour), width, cv2.LINE_8, SHIFT)


def cloth_colour(rng: np.random.Generator) -> np.ndarray:
    """A random colour for clothes or objects."""
    return np.clip(rng.uniform(25, 235) + rng.normal(0, 50, 3), 12, 245)


def _fixed(points: np.ndarray, scale: int) -> np.ndarray:
    """Points in OpenCV's fixed-point format; its whole numbers are pixel centres, ours are pixel edges."""
    return np.rint(points * (scale << SHIFT) - (1 << (SHIFT - 1))).astype(np.int32)


def _rgb(colour: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = colour.tolist()
    return min(red, 255.0), min(green, 255.0), min(blue, 255.0)

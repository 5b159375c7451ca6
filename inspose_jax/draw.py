"""People painted on a picture, in the colours of Figure 2: nose magenta, left blue, right orange."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from inspose_jax.skeletons import Skeleton

MAGENTA, BLUE, ORANGE, LIMB = (230, 0, 200), (40, 90, 255), (255, 140, 0), (90, 220, 90)


def joint_colours(skeleton: Skeleton) -> list[tuple[int, int, int]]:
    """RGB of every joint by the side its name begins with."""
    sides = {"left": BLUE, "right": ORANGE}
    return [sides.get(name.split("_")[0], MAGENTA) for name in skeleton.keypoint_names]


def draw_people(
    image: UInt8[np.ndarray, "H W 3"],
    keypoints: Float[np.ndarray, "N K 2"],
    is_drawn: Bool[np.ndarray, "N K"],
    skeleton: Skeleton,
) -> UInt8[np.ndarray, "H W 3"]:
    """A copy of `image` with limbs and joints; a limb is drawn where both its joints are (pixels of the picture)."""
    canvas = np.ascontiguousarray(image).copy()
    thick = max(1, round(min(image.shape[:2]) / 200))
    sixteenths = np.clip((keypoints - 0.5) * 16, -(2**20), 2**20).round().astype(int)  # OpenCV counts pixel centres
    for person, drawn in zip(sixteenths, is_drawn, strict=True):
        for a, b in skeleton.limbs:
            if drawn[a] and drawn[b]:
                cv2.line(canvas, person[a].tolist(), person[b].tolist(), LIMB, thick, cv2.LINE_AA, shift=4)
        for k, colour in enumerate(joint_colours(skeleton)):
            if drawn[k]:
                radius = round((1.2 * thick + 0.8) * 16)
                cv2.circle(canvas, person[k].tolist(), radius, colour, -1, cv2.LINE_AA, shift=4)
    return canvas


def contact_sheet(
    pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], columns: int, gap: int = 4
) -> UInt8[np.ndarray, "H W 3"]:
    """Pictures row by row on white, each in a cell as large as the largest."""
    height = max(picture.shape[0] for picture in pictures) + gap
    width = max(picture.shape[1] for picture in pictures) + gap
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * height + gap, columns * width + gap, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        y, x = i // columns * height + gap, i % columns * width + gap
        sheet[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return sheet


def enlarge(image: UInt8[np.ndarray, "H W 3"], times: int) -> UInt8[np.ndarray, "H2 W2 3"]:
    """A small picture with its pixels repeated, so that drawings on it are fine."""
    return image.repeat(times, 0).repeat(times, 1)

"""Transform an image together with its labels: resize, warp, mirror, recolour.

The paper resizes and mirrors (Sec. 4); the rest serves other recipes.  A change of geometry is one matrix f32[2,3] that
maps (x, y) of the old image to (x, y) of the new one.  Coordinates are continuous: pixel i spans [i, i + 1), while
OpenCV's warps count from pixel centres.

Each function returns a new sample, whose image is new too; some write it into `into` instead, if they are given such
an array u8[h,w,3] of the right size.  `recolour` may be given the array that it reads.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64, UInt8

from inspose_jax.config import Augmentation, Data
from inspose_jax.skeletons import Skeleton
from inspose_jax.structures import Sample

OUTSIDE = (124, 116, 104)  # what a warp shows beyond the image: the mean colour, which the network sees as about 0
LUMINANCE = np.array([0.299, 0.587, 0.114])
GREY = 127.5
Frame = UInt8[np.ndarray, "h w 3"] | None


def resized_sizes(
    sizes: Int32[np.ndarray, "n 2"], short_sides: int | Int64[np.ndarray, " n"], long_side: int
) -> Int32[np.ndarray, "n 2"]:
    """(height, width) in pixels with shorter side `short_sides`, or smaller so that the longer fits `long_side`."""
    factors = np.minimum(short_sides / sizes.min(-1), long_side / sizes.max(-1))
    return np.maximum(sizes * factors[:, None] + 0.5, 1).astype(np.int32)


def resized_size(height: int, width: int, short_side: int, long_side: int) -> tuple[int, int]:
    """`resized_sizes` of a single image."""
    ((height, width),) = resized_sizes(np.array([[height, width]], np.int32), short_side, long_side).tolist()
    return height, width


def shrunk_sizes(
    sizes: Int32[np.ndarray, "n 2"], factors: float | Float64[np.ndarray, " n"]
) -> Int32[np.ndarray, "n 2"]:
    """(height, width) in pixels times `factors`, where those are below 1."""
    return np.maximum(sizes * np.minimum(factors, 1.0).reshape(-1, 1) + 0.5, 1).astype(np.int32)


def resize(sample: Sample, size: tuple[int, int], into: Frame = None) -> Sample:
    """Resize the sample to (height, width) pixels: x' = x (new width / width), each axis by its own ratio."""
    old_height, old_width = sample.image.shape[:2]
    height, width = size
    if (height, width) == (old_height, old_width):
        if into is not None:
            np.copyto(into, sample.image)
        return sample if into is None else sample._replace(image=into)

    def resized(image: np.ndarray, into: Frame = None) -> np.ndarray:
        return cv2.resize(image, (width, height), into, interpolation=cv2.INTER_LINEAR)

    # As `move_labels` moves them, but without what a matrix costs, since most images of a run are only resized.
    # Unlabelled joints lie at (0, 0) and stay there.
    x_ratio, y_ratio = width / old_width, height / old_height
    return sample._replace(
        image=resized(sample.image, into),
        keypoints=sample.keypoints * np.array([x_ratio, y_ratio, 1], np.float32),
        boxes_xyxy=sample.boxes_xyxy * np.array([x_ratio, y_ratio, x_ratio, y_ratio], np.float32),
        area=sample.area * np.float32(x_ratio * y_ratio),
        masks=each_mask(sample.masks, resized, size),
    )


def warp(sample: Sample, matrix: Float32[np.ndarray, "2 3"], size: tuple[int, int], into: Frame = None) -> Sample:
    """Show the sample, moved by `matrix`, in a frame of (height, width) pixels.

    A joint outside the frame becomes unlabelled.  A person of whom neither a labelled joint nor any part is left in it
    disappears.  Boxes and areas are those of the part that is left: of the mask if a part of it is, else of the box.
    """
    height, width = size
    linear, offset = matrix[:, :2], matrix[:, 2]
    between_centres = np.column_stack([linear, offset + linear @ (0.5, 0.5) - 0.5])

    def warped(image: np.ndarray, outside: tuple[int, ...] = (0,), into: Frame = None) -> np.ndarray:
        border = tuple(map(float, outside))
        return cv2.warpAffine(image, between_centres, (width, height), into, flags=cv2.INTER_LINEAR, borderValue=border)

    moved = move_labels(sample, matrix)
    x, y, visibility = np.moveaxis(moved.keypoints, -1, 0)
    is_inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (visibility > 0)
    keypoints = np.where(is_inside[..., None], moved.keypoints, 0)
    masks = each_mask(sample.masks, warped, size)
    boxes = np.clip(moved.boxes_xyxy, 0, np.array([width, height, width, height], np.float32))
    share = shares_inside(corners(sample.boxes_xyxy, matrix), size)
    area, is_seen = moved.area * share, share > 0
    if sample.masks is not None and masks is not None:
        is_known, left = np.any(sample.masks, axis=(1, 2)), np.count_nonzero(masks, axis=(1, 2)).astype(np.float32)
        boxes = np.where((left > 0)[:, None], boxes_of(masks), boxes)
        area = np.where(left > 0, left, area)
        is_seen = np.where(is_known, left > 0, is_seen)
    kept = is_inside.any(-1) | is_seen
    return Sample(
        warped(sample.image, OUTSIDE, into),
        keypoints[kept],
        boxes[kept],
        area[kept],
        sample.is_crowd[kept],
        sample.image_id,
        None if masks is None else masks[kept],
    )


def flip(sample: Sample, skeleton: Skeleton, into: Frame = None) -> Sample:
    """Mirror the sample horizontally: x' = width - x, and left and right joints swap.

    `into` may be the sample's own image.
    """
    width = sample.image.shape[1]
    keypoints = sample.keypoints[:, list(skeleton.flip_order)]
    keypoints[..., 0] = np.where(keypoints[..., 2] > 0, width - keypoints[..., 0], 0)
    boxes = sample.boxes_xyxy[:, [2, 1, 0, 3]]
    boxes[:, ::2] = width - boxes[:, ::2]
    return sample._replace(
        image=cv2.flip(sample.image, 1, into),
        keypoints=keypoints,
        boxes_xyxy=boxes,
        masks=None if sample.masks is None else sample.masks[:, :, ::-1],
    )


def recolour(sample: Sample, matrix: Float32[np.ndarray, "3 4"], into: Frame = None) -> Sample:
    """Replace every pixel (r, g, b) by `matrix` times (r, g, b, 1), rounded and clipped to 0 to 255."""
    return sample._replace(image=cv2.transform(sample.image, matrix, into))


# --- what is drawn for an image ---------------------------------------------------------------------------------------


def moves(augmentation: Augmentation) -> bool:
    """Whether images are warped within their frame."""
    return augmentation.rotation > 0 or augmentation.scale != (1.0, 1.0) or augmentation.translation > 0


def recolours(augmentation: Augmentation) -> bool:
    """Whether colours change."""
    return max(augmentation.brightness, augmentation.contrast, augmentation.saturation, augmentation.hue) > 0


def draws(augmentation: Augmentation) -> bool:
    """Whether anything beside its size and flip is drawn for an image."""
    return moves(augmentation) or recolours(augmentation) or augmentation.large_scale_jitter[1] > 1


def needs_masks(data: Data) -> bool:
    """Whether parts of people may leave the frame in training, so that masks are needed to count what is left."""
    return moves(data.augmentation) or data.augmentation.large_scale_jitter[1] > 1


def random_matrix(
    original: tuple[int, int],
    size: tuple[int, int],
    zoom: float,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "2 3"]:
    """The map from an image of (height, width) `original` to its frame of `size`.

    The image is resized to `zoom` times the frame and cropped at a random place, then turned and scaled about the
    frame's centre, and shifted.
    """
    frame, ratio = np.array(size[::-1], float), zoom * np.divide(size, original)[::-1]
    crop = rng.random(2) * (zoom - 1) * frame
    turn, *shift = rng.uniform(-1, 1, 3) * (augmentation.rotation, augmentation.translation, augmentation.translation)
    low, high = augmentation.scale
    scale = low * (high / low) ** rng.random()
    cos, sin = scale * np.cos(np.radians(turn)), scale * np.sin(np.radians(turn))
    linear = np.array([[cos, -sin], [sin, cos]])
    offset = linear @ (-crop - frame / 2) + frame / 2 + shift * frame
    return np.column_stack([linear * ratio, offset]).astype(np.float32)


def random_colours(augmentation: Augmentation, rng: np.random.Generator) -> Float32[np.ndarray, "3 4"]:
    """The colour matrix of a random strength of each change."""
    strengths = (augmentation.saturation, augmentation.hue, augmentation.contrast, augmentation.brightness)
    return colour_matrix(*(rng.uniform(-1, 1, 4) * strengths))


def colour_matrix(saturation: float, hue: float, contrast: float, brightness: float) -> Float32[np.ndarray, "3 4"]:
    """The matrix of `recolour` that changes saturation, then hue, then contrast and brightness; all 0 change nothing.

    Hue is in degrees, the others are fractions as in `Augmentation`.
    """
    saturated = (1 + saturation) * np.eye(3) - saturation * LUMINANCE
    # Rodrigues' formula for a turn about the axis of greys, (1, 1, 1) / sqrt(3).
    cos, sin = np.cos(np.radians(hue)), np.sin(np.radians(hue))
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    turned = cos * np.eye(3) + (1 - cos) / 3 + sin / np.sqrt(3) * across
    linear = (1 + contrast) * turned @ saturated
    return np.column_stack([linear, np.full(3, -contrast * GREY + brightness * 255)]).astype(np.float32)


# --- labels -----------------------------------------------------------------------------------------------------------


def move_points(points: Float32[np.ndarray, "*n 2"], matrix: Float32[np.ndarray, "2 3"]) -> Float32[np.ndarray, "*n 2"]:
    """Points (x, y) moved by a matrix."""
    x, y = points[..., 0], points[..., 1]
    return np.stack([a * x + b * y + c for a, b, c in matrix], -1)


def move_labels(sample: Sample, matrix: Float32[np.ndarray, "2 3"]) -> Sample:
    """The sample with joints, boxes (those around the moved boxes' corners) and areas moved by a matrix."""
    is_labelled = sample.keypoints[..., 2:] > 0
    points = np.where(is_labelled, move_points(sample.keypoints[..., :2], matrix), 0)
    moved = corners(sample.boxes_xyxy, matrix)
    (a, b, _), (c, d, _) = matrix
    return sample._replace(
        keypoints=np.concatenate([points, sample.keypoints[..., 2:]], -1),
        boxes_xyxy=np.concatenate([moved.min(1), moved.max(1)], -1),
        area=sample.area * abs(a * d - b * c),
    )


def corners(boxes: Float32[np.ndarray, "N 4"], matrix: Float32[np.ndarray, "2 3"]) -> Float32[np.ndarray, "N 4 2"]:
    """The corners (x, y) of boxes, all the way around, moved by a matrix."""
    return move_points(boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]], matrix)


def shares_inside(quads: Float32[np.ndarray, "N 4 2"], size: tuple[int, int]) -> Float32[np.ndarray, " N"]:
    """The share of each convex quadrangle's area that lies in a frame of (height, width) pixels; 0 without any area."""
    height, width = size
    frame = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    quads = np.ascontiguousarray(quads)  # OpenCV takes no views
    wholes = np.array([cv2.contourArea(quad) for quad in quads])
    insides = np.array([cv2.intersectConvexConvex(quad, frame)[0] for quad in quads])
    # Without any area, OpenCV's intersection is no number to rely on.
    return np.where(wholes > 0, np.clip(insides / np.maximum(wholes, 1e-6), 0, 1), 0).astype(np.float32)


def each_mask(
    masks: Bool[np.ndarray, "N H W"] | None, change, size: tuple[int, int]
) -> Bool[np.ndarray, "N h w"] | None:
    """Masks changed as an image is; a pixel belongs to a person where more than half of it does."""
    if masks is None:
        return None
    changed = [change(mask.astype(np.uint8) * 255) > 127 for mask in masks]
    return np.array(changed, bool).reshape(-1, *size)


def boxes_of(masks: Bool[np.ndarray, "N H W"]) -> Float32[np.ndarray, "N 4"]:
    """The smallest box around each mask; all zero without any pixel."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes

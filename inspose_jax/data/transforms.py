"""Resize and flip: each transforms an image together with its labels (Sec. 4); there is no other augmentation."""

import cv2
import numpy as np
from jaxtyping import Int32, Int64

from inspose_jax.skeletons import Skeleton
from inspose_jax.structures import Sample


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


def resize(sample: Sample, size: tuple[int, int]) -> Sample:
    """Resize the sample to (height, width) pixels: x' = x (new width / width), each axis by its own ratio."""
    old_height, old_width = sample.image.shape[:2]
    height, width = size
    if (height, width) == (old_height, old_width):
        return sample
    ratio = np.array([width / old_width, height / old_height], np.float32)
    keypoints = sample.keypoints.copy()
    keypoints[..., :2] *= ratio
    return sample._replace(
        image=cv2.resize(sample.image, (width, height), interpolation=cv2.INTER_LINEAR),
        keypoints=keypoints,
        boxes_xyxy=sample.boxes_xyxy * np.tile(ratio, 2),
        area=sample.area * ratio.prod(),
    )


def flip(sample: Sample, skeleton: Skeleton) -> Sample:
    """Mirror the sample horizontally: x' = width - x, and left and right joints swap."""
    width = sample.image.shape[1]
    keypoints = sample.keypoints[:, list(skeleton.flip_order)]
    is_labelled = keypoints[..., 2] > 0
    keypoints[..., 0] = np.where(is_labelled, width - keypoints[..., 0], 0)
    x0, y0, x1, y1 = sample.boxes_xyxy.T
    return sample._replace(
        image=np.ascontiguousarray(sample.image[:, ::-1]),
        keypoints=keypoints,
        boxes_xyxy=np.stack([width - x1, y0, width - x0, y1], -1),
    )

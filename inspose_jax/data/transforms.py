"""Resize and flip: each transforms an image together with its labels (Sec. 4); there is no other augmentation."""

import cv2
import numpy as np

from inspose_jax.skeletons import Skeleton
from inspose_jax.structures import Sample


def resized_size(height: int, width: int, short_side: int, long_side: int) -> tuple[int, int]:
    """(height, width) in pixels with shorter side `short_side`, or smaller so that the longer fits `long_side`."""
    factor = min(short_side / min(height, width), long_side / max(height, width))
    return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)


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

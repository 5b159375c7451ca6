"""Batches of a few fixed shapes, into which images and people are padded, since each new shape compiles anew.

Axes: B images, N people, G ignore regions.  Sizes are (height, width) in pixels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8

from inspose_jax.errors import UserError
from inspose_jax.structures import Batch, Sample, is_target


def choose_shapes(sizes: Int32[np.ndarray, "n 2"], shapes: Sequence[tuple[int, int]]) -> Int32[np.ndarray, " n"]:
    """The index of the smallest shape that holds each size; raises UserError with the shapes to add where none does."""
    table = np.asarray(shapes)
    fits = (sizes[:, None] <= table[None]).all(-1)
    outside = sizes[~fits.any(axis=-1)]
    if len(outside):
        is_upright = outside[:, 0] > outside[:, 1]
        groups = [group for group in (outside[~is_upright], outside[is_upright]) if len(group)]
        wanted = [" x ".join(str(-(-side // 32) * 32) for side in group.max(0).tolist()) for group in groups]
        height, width = outside[0]
        raise UserError(
            f"an image of {height} x {width} pixels (height x width, after resizing) fits none of data.shapes "
            f"{tuple(shapes)}; add {' and '.join(wanted)} to them, or lower data.short_side or data.long_side, "
            f"at test time data.test_scales"
        )
    return np.where(fits, table.prod(-1), np.iinfo(np.int64).max).argmin(1).astype(np.int32)


def own_shapes(sizes: Int32[np.ndarray, "n 2"]) -> list[tuple[int, int]]:
    """The different shapes that the sizes need if each is padded just to multiples of 32."""
    return sorted({(height, width) for height, width in (-(-sizes // 32) * 32).tolist()})


def put_labels(
    batch: Batch, b: int, sample: Sample, original_size: tuple[int, int], model: Any, zoom: float = 1.0
) -> None:
    """Write the labels of a sample, whose image is row `b` of the batch, into that row.

    `original_size` is its (height, width) in pixels of the original image, of which a crop shows 1 / `zoom`.

    Labelled people become targets, at most N of them.  If there are more, those with the smallest pseudo boxes become
    ignore regions instead.  With `ignore_unlabelled`, crowds and people without a labelled joint are ignore regions
    too.  Only the G largest regions are kept.

    `model` is the config of any method; only its skeleton, `num_people` and `ignore_unlabelled` are read, and
    `keep_unlabelled` if it has that: then people without a labelled joint are targets too, and those without any extent
    are not.
    """
    height, width = sample.image.shape[:2]
    batch.size[b] = height, width
    batch.scale[b] = zoom * width / original_size[1], zoom * height / original_size[0]
    batch.is_real[b] = True

    boxes = person_boxes(sample)
    if getattr(model, "keep_unlabelled", False):
        is_wanted = has_extent(sample, boxes, batch.scale[b])
    else:
        is_wanted = is_target(sample.keypoints, sample.is_crowd)
    is_kept = largest(is_wanted, boxes, model.num_people)
    number = np.count_nonzero(is_kept)
    batch.keypoints[b, :number] = sample.keypoints[is_kept]
    batch.boxes[b, :number] = boxes[is_kept]
    batch.annotated_boxes[b, :number] = sample.boxes_xyxy[is_kept]
    batch.area[b, :number] = sample.area[is_kept]
    batch.is_person[b, :number] = True
    batch.people_dropped[b] = np.count_nonzero(is_wanted) - number
    regions = sample.boxes_xyxy[~is_kept if model.ignore_unlabelled else is_wanted & ~is_kept]
    if len(regions):
        regions = regions[np.argsort(-box_areas(regions), kind="stable")][: batch.ignore_boxes.shape[1]]
        batch.ignore_boxes[b, : len(regions)] = regions


def largest(is_wanted: Bool[np.ndarray, " N"], boxes: Float32[np.ndarray, "N 4"], most: int) -> Bool[np.ndarray, " N"]:
    """Which `most` of the wanted people have the largest boxes; of equal ones, those that the file lists first."""
    wanted = np.flatnonzero(is_wanted)
    if len(wanted) <= most:
        return is_wanted
    by_size = wanted[np.argsort(-box_areas(boxes[wanted]), kind="stable")]
    is_kept = np.zeros(len(is_wanted), bool)
    is_kept[by_size[:most]] = True
    return is_kept


def blank_batch(image: UInt8[np.ndarray, "B H W 3"], model: Any, num_ignore: int) -> Batch:
    """A batch of images of size 0 without people; it also defines the shape and dtype of every field."""
    batch_size, num_people, num_keypoints = len(image), model.num_people, model.skeleton.num_keypoints
    return Batch(
        image=image,
        size=np.zeros((batch_size, 2), np.int32),
        keypoints=np.zeros((batch_size, num_people, num_keypoints, 3), np.float32),
        boxes=np.zeros((batch_size, num_people, 4), np.float32),
        annotated_boxes=np.zeros((batch_size, num_people, 4), np.float32),
        area=np.zeros((batch_size, num_people), np.float32),
        is_person=np.zeros((batch_size, num_people), bool),
        ignore_boxes=np.zeros((batch_size, num_ignore, 4), np.float32),
        people_dropped=np.zeros(batch_size, np.int32),
        is_real=np.zeros(batch_size, bool),
        scale=np.ones((batch_size, 2), np.float32),
    )


def person_boxes(sample: Sample) -> Float32[np.ndarray, "N 4"]:
    """The smallest box around each person's labelled joints; the annotated box where none is labelled."""
    is_labelled = sample.keypoints[..., 2:] > 0
    low = np.where(is_labelled, sample.keypoints[..., :2], np.inf).min(1, initial=np.inf)
    high = np.where(is_labelled, sample.keypoints[..., :2], -np.inf).max(1, initial=-np.inf)
    boxes = np.where(is_labelled.any(1), np.concatenate([low, high], -1), sample.boxes_xyxy)
    return boxes.astype(np.float32)


def has_extent(sample: Sample, boxes: Float32[np.ndarray, "N 4"], scale: np.ndarray) -> Bool[np.ndarray, " N"]:
    """Which people are no crowds, have a mask, and a box of at least one pixel of the original image each way.

    `scale` is the ratio resized / original in x and y.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]) / scale
    return ~sample.is_crowd & (sample.area > 0) & (sides >= 1).all(-1)


def box_areas(boxes: Float32[np.ndarray, "N 4"]) -> Float32[np.ndarray, " N"]:
    """Area in square pixels."""
    return (boxes[:, 2:] - boxes[:, :2]).prod(-1)

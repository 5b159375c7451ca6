"""Batches of a few fixed shapes, into which images and people are padded, since each new shape compiles anew.

Axes: B images, N people, G ignore regions of an image; P people of all images.  Sizes are (height, width) in pixels.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt8

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


class Placed(NamedTuple):
    """A sample whose image is a row of a batch."""

    row: int
    sample: Sample
    original_size: tuple[int, int]  # height, width in pixels of the original image
    zoom: float = 1.0  # a crop shows 1 / zoom of it


def put_labels(batch: Batch, placed: Sequence[Placed], model: Any) -> None:
    """Write the labels of samples, in the order of their rows, into those rows of the batch.

    Labelled people become targets, at most N of an image.  If there are more, those with the smallest pseudo boxes
    become ignore regions instead.  With `ignore_unlabelled`, crowds and people without a labelled joint are ignore
    regions too.  Only the G largest regions of an image are kept.

    `model` is the config of any method; only its skeleton, `num_people` and `ignore_unlabelled` are read, and
    `keep_unlabelled` if it has that: then people without a labelled joint are targets too, and those without any extent
    are not.

    All images at once: numpy's calls for one after the other would cost several times as much.
    """
    if not placed:
        return
    rows, samples = [one.row for one in placed], [one.sample for one in placed]
    sizes = np.array([sample.image.shape[:2] for sample in samples], np.int32)
    batch.size[rows] = sizes
    zooms, original_sizes = np.array([[one.zoom] for one in placed]), np.array([one.original_size for one in placed])
    batch.scale[rows] = (zooms * sizes / original_sizes)[:, ::-1]
    batch.is_real[rows] = True

    # The P people of all images, in the order of the images; `row` is the image of each.
    row = np.repeat(rows, [len(sample.area) for sample in samples])
    keypoints = np.concatenate([sample.keypoints for sample in samples])
    annotated = np.concatenate([sample.boxes_xyxy for sample in samples])
    area = np.concatenate([sample.area for sample in samples])
    is_crowd = np.concatenate([sample.is_crowd for sample in samples])
    boxes = person_boxes(keypoints, annotated)
    if getattr(model, "keep_unlabelled", False):
        is_wanted = ~is_crowd & (area > 0) & has_extent(boxes, batch.scale[row])
    else:
        is_wanted = is_target(keypoints, is_crowd)
    is_kept = largest(is_wanted, row, boxes, model.num_people)
    of_kept = row[is_kept], place_in_row(row[is_kept])
    batch.keypoints[of_kept] = keypoints[is_kept]
    batch.boxes[of_kept] = boxes[is_kept]
    batch.annotated_boxes[of_kept] = annotated[is_kept]
    batch.area[of_kept] = area[is_kept]
    batch.is_person[of_kept] = True
    is_dropped = is_wanted & ~is_kept
    batch.people_dropped[:] = np.bincount(row[is_dropped], minlength=len(batch.people_dropped))

    region = np.flatnonzero(~is_kept if model.ignore_unlabelled else is_dropped)
    region = region[by_size(row[region], annotated[region])]
    place = place_in_row(row[region])
    region, place = (one[place < batch.ignore_boxes.shape[1]] for one in (region, place))
    batch.ignore_boxes[row[region], place] = annotated[region]


def largest(
    is_wanted: Bool[np.ndarray, " P"], row: Int64[np.ndarray, " P"], boxes: Float32[np.ndarray, "P 4"], most: int
) -> Bool[np.ndarray, " P"]:
    """Which `most` of the wanted people of each row have the largest boxes; of equal ones, those that come first."""
    wanted = np.flatnonzero(is_wanted)
    if np.bincount(row[wanted], minlength=1).max() <= most:
        return is_wanted
    wanted = wanted[by_size(row[wanted], boxes[wanted])]
    is_kept = np.zeros(len(is_wanted), bool)
    is_kept[wanted[place_in_row(row[wanted]) < most]] = True
    return is_kept


def by_size(row: Int64[np.ndarray, " P"], boxes: Float32[np.ndarray, "P 4"]) -> Int64[np.ndarray, " P"]:
    """The order in which boxes of the same row follow each other, the largest first; equal ones stay as they are."""
    return np.lexsort((-(boxes[:, 2:] - boxes[:, :2]).prod(-1), row))


def place_in_row(row: Int64[np.ndarray, " P"]) -> Int64[np.ndarray, " P"]:
    """How many entries of the same row come before each; `row` ascends."""
    return np.arange(len(row)) - np.searchsorted(row, row)


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


def person_boxes(
    keypoints: Float32[np.ndarray, "P K 3"], annotated: Float32[np.ndarray, "P 4"]
) -> Float32[np.ndarray, "P 4"]:
    """The smallest box around each person's labelled joints; the annotated box where none is labelled."""
    is_labelled = keypoints[..., 2:] > 0
    low = np.where(is_labelled, keypoints[..., :2], np.inf).min(1, initial=np.inf)
    high = np.where(is_labelled, keypoints[..., :2], -np.inf).max(1, initial=-np.inf)
    boxes = np.where(is_labelled.any(1), np.concatenate([low, high], -1), annotated)
    return boxes.astype(np.float32)


def has_extent(boxes: Float32[np.ndarray, "P 4"], scale: Float32[np.ndarray, "P 2"]) -> Bool[np.ndarray, " P"]:
    """Which boxes have at least one pixel of the original image each way; `scale` is the ratio resized / original."""
    return ((boxes[:, 2:] - boxes[:, :2]) / scale).min(-1, initial=np.inf) >= 1

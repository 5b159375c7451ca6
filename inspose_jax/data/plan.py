"""The order of the data: for (seed, epoch), which images each step takes, at what size, and whether mirrored.

The plan is a pure function of its arguments, so it is the same on every host and after every restart; a run's position
in it is its global step.  `pipeline.py`, which executes the plan, adds no order of its own.
"""

import threading
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32

from inspose_jax import config
from inspose_jax.data import buckets
from inspose_jax.data.transforms import resized_size, resized_sizes, shrunk_sizes
from inspose_jax.errors import UserError


class PlannedStep(NamedTuple):
    """What one global batch holds."""

    index: Int32[np.ndarray, " B"]  # into the source; -1 is a blank image
    shape: tuple[int, int]  # padded (height, width)
    resized: Int32[np.ndarray, "B 2"]  # (height, width) before padding
    zoom: Float32[np.ndarray, " B"]  # resized to this many times `resized` and cropped to it; 1 is not cropped
    flip: Bool[np.ndarray, " B"]
    seed: tuple[int, int] | None  # with an image's index, of everything else that is drawn for it; None if nothing is


class Plan:
    """The steps of a run, epoch after epoch: `plan[global_step]`.

    `sizes` are the (height, width) of the source's images, and `eligible` marks those that take part.  In training
    every epoch is shuffled, scaled and mirrored anew; otherwise every epoch is the same: in order, at the test size.
    `fewest` is as in `make_epoch`.
    """

    def __init__(
        self,
        sizes: Int32[np.ndarray, "n 2"],
        eligible: Bool[np.ndarray, " n"],
        data: config.Data,
        batch_size: int,
        seed: int,
        train: bool,
        fewest: int = 1,
    ):
        if not eligible.any():
            raise UserError("no image to use: the dataset is empty, or no image has a labelled person")
        if not data.shapes and (train or data.test_padding == "shapes"):
            raise UserError(
                "data.shapes is empty, which only a training run fills; `inspose data shapes` finds some for a dataset"
            )
        if train:  # fail now, not in the epoch that happens to draw the largest size
            largest = resized_sizes(sizes[eligible], short_sides(data)[-1], data.long_side)
            buckets.choose_shapes(shrunk_sizes(largest, data.augmentation.large_scale_jitter[1]), data.shapes)
        self.shapes = data.shapes
        # Threads ask concurrently; around the end of an epoch they alternate between two epochs.
        self.lock = threading.Lock()
        self.steps_of = lru_cache(maxsize=2)(
            lambda epoch: make_epoch(epoch, sizes, eligible, data, batch_size, seed, train, fewest)
        )
        self.starts = [0]  # global step at which each epoch known so far begins
        self.steps_per_epoch = len(self.steps_of(0))

    def __getitem__(self, global_step: int) -> PlannedStep:
        with self.lock:
            # Epochs differ in length, since the number of batches of each shape depends on the sizes drawn.
            while global_step >= self.starts[-1] + len(self.steps_of(len(self.starts) - 1)):
                self.starts.append(self.starts[-1] + len(self.steps_of(len(self.starts) - 1)))
            epoch = bisect_right(self.starts, global_step) - 1
            return self.steps_of(epoch)[global_step - self.starts[epoch]]


def make_epoch(
    epoch: int,
    sizes: Int32[np.ndarray, "n 2"],
    eligible: Bool[np.ndarray, " n"],
    data: config.Data,
    batch_size: int,
    seed: int,
    train: bool,
    fewest: int = 1,
) -> list[PlannedStep]:
    """All steps of an epoch: every eligible image once, with the last batch of each shape filled up with blank images.

    Outside training, images that would fill at most half a batch form batches of `fewest`, so that they do not cost a
    whole one; each shape then compiles at most two programs.
    """
    rng = np.random.default_rng((seed, epoch))
    index = np.flatnonzero(eligible).astype(np.int32)
    mirrored, zoom = np.zeros(len(index), bool), np.ones(len(index), np.float32)
    if train:
        index = rng.permutation(index)
        mirrored = rng.random(len(index)) < data.flip
        sides = short_sides(data)
        drawn = np.array(sides)[rng.integers(0, len(sides), len(index))]
        resized = resized_sizes(sizes[index], drawn, data.long_side)
        if data.augmentation.large_scale_jitter != (1.0, 1.0):
            factors = rng.uniform(*data.augmentation.large_scale_jitter, len(index))
            resized, zoom = shrunk_sizes(resized, factors), np.maximum(factors, 1).astype(np.float32)
    else:
        resized = np.array([test_size(height, width, data) for height, width in sizes[index].tolist()], np.int32)
    shapes = data.shapes if train or data.test_padding == "shapes" else buckets.own_shapes(resized)
    which = buckets.choose_shapes(resized, shapes)
    treatment = (index, resized, zoom, mirrored)
    steps = []
    for shape_index, shape in enumerate(shapes):
        (rows,) = np.nonzero(which == shape_index)
        number = batch_size if train or 2 * len(rows) > batch_size else fewest
        for first in range(0, len(rows), number):
            treated = [field[rows[first : first + number]] for field in treatment]
            steps.append(planned_step(treated, shape, number, (seed, epoch) if train else None))
    if train:
        steps = [steps[i] for i in rng.permutation(len(steps))]
    return steps


def short_sides(data: config.Data) -> range:
    """The shorter sides that are drawn in training, in pixels of the resized image."""
    smallest, largest = data.short_side
    return range(smallest, largest + 1, data.short_side_step)


def test_size(height: int, width: int, data: config.Data) -> tuple[int, int]:
    """The (height, width) at which an image is tested: the test size, or smaller if none of `shapes` holds that.

    At one of `test_scales` it is never smaller, since it could be the same as at another.
    """
    size = resized_size(height, width, data.test_short_side, data.long_side)
    if (
        data.test_padding == "own"
        or data.passes.test_scales
        or any(size[0] <= shape[0] and size[1] <= shape[1] for shape in data.shapes)
    ):
        return size
    factor = max(min(shape[0] / height, shape[1] / width) for shape in data.shapes)
    return max(int(height * factor), 1), max(int(width * factor), 1)


def at_test_scales(data: config.Data) -> list[config.Data]:
    """The settings at each scale at which images are tested, the largest first."""
    sides = sorted(data.passes.test_scales, reverse=True) or [data.test_short_side]
    return [
        replace(data, test_short_side=side, long_side=round(data.long_side * side / data.test_short_side))
        for side in sides
    ]


def at_other_scales(
    step: PlannedStep, sizes: Int32[np.ndarray, "n 2"], data: config.Data, fewest: int = 1
) -> list[PlannedStep]:
    """The images of a step, which is planned at the largest test scale, at all others too: one or more steps each.

    `sizes` are the (height, width) of all the source's images; `fewest` is as in `make_epoch`.
    """
    eligible = np.zeros(len(sizes), bool)
    eligible[step.index[step.index >= 0]] = True
    batch_size = len(step.index)
    at_scale = (
        make_epoch(0, sizes, eligible, other, batch_size, 0, train=False, fewest=fewest)
        for other in at_test_scales(data)[1:]
    )
    return [planned for steps in at_scale for planned in steps]


def number_of_shapes(sizes: Sequence[tuple[int, int]], data: config.Data) -> int:
    """How many padded shapes images of these (height, width) are tested in."""
    if not sizes:
        return 0
    all_sizes, eligible = np.array(sizes, np.int32), np.ones(len(sizes), bool)
    plans = [Plan(all_sizes, eligible, scaled, batch_size=1, seed=0, train=False) for scaled in at_test_scales(data)]
    return len({step.shape for plan in plans for step in plan.steps_of(0)})


def planned_step(
    treated: list[np.ndarray], shape: tuple[int, int], batch_size: int, seed: tuple[int, int] | None
) -> PlannedStep:
    """The step of some images, given their index, size before padding, zoom and flip, filled up with blank images."""

    def filled(field: np.ndarray, blank: int) -> np.ndarray:
        return np.concatenate([field, np.full((batch_size - len(field), *field.shape[1:]), blank, field.dtype)])

    index, resized, zoom, mirrored = map(filled, treated, (-1, 0, 1, 0))
    return PlannedStep(index, shape, resized, zoom, mirrored, seed)

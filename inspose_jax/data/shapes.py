"""Find the few shapes that images are padded to from their sizes, such that least is padding.

A size or a shape is (height, width) in pixels.  Each shape compiles anew, and all images of a batch share one; so there
are few, and each image takes the smallest one that holds it.  A dataset has only some dozen sizes in multiples of 32,
and only their heights and widths come into question as sides.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int32, Int64

from inspose_jax import config
from inspose_jax.data import buckets
from inspose_jax.data.plan import at_test_scales, short_sides
from inspose_jax.data.transforms import resized_sizes, shrunk_sizes

MOST = 5  # shapes that are found unless told otherwise
FOR_ANY_IMAGE = ((832, 1344), (1344, 832))  # two that hold every image at the paper's sizes, whatever its aspect
JITTERS = 16  # factors that stand for the distribution of `large_scale_jitter`, and then as many shorter sides
UNITS = 42  # sides of larger images are multiples of more than 32, so that there are no more than these to try


class Sizes(NamedTuple):
    """The sizes at which images occur, each with how often."""

    sizes: Int32[np.ndarray, "n 2"]
    weights: Float64[np.ndarray, " n"]  # 0: a shape must hold it, however seldom it occurs


def tested(sizes: Int32[np.ndarray, "n 2"], data: config.Data) -> Sizes:
    """The sizes at which images of `sizes` are tested, at each of the test scales."""
    sizes, counts = np.unique(sizes, axis=0, return_counts=True)
    scales = at_test_scales(data)
    resized = [resized_sizes(sizes, scaled.test_short_side, scaled.long_side) for scaled in scales]
    return Sizes(np.concatenate(resized), np.tile(counts.astype(float), len(scales)))


def trained(sizes: Int32[np.ndarray, "n 2"], data: config.Data) -> Sizes:
    """The sizes at which images of `sizes` are trained: each of the shorter sides that may be drawn is as likely.

    The sizes at which they are tested, and the largest in training, are among them with weight 0.
    """
    sizes, counts = np.unique(sizes, axis=0, return_counts=True)
    sides = short_sides(data)
    low, high = data.augmentation.large_scale_jitter
    largest = shrunk_sizes(resized_sizes(sizes, sides[-1], data.long_side), high)
    factors = [high]
    if low < min(high, 1):  # it shrinks some images, to a different extent
        factors = [low + (high - low) * (i + 0.5) / JITTERS for i in range(JITTERS)]
        every = -(-len(sides) // JITTERS)
        sides = sides[every // 2 :: every]
    drawn = [resized_sizes(sizes, side, data.long_side) for side in sides]
    drawn = [shrunk_sizes(one, factor) for one in drawn for factor in factors]
    held = np.concatenate([largest, tested(sizes, data).sizes])
    weights = [*[counts.astype(float)] * len(drawn), np.zeros(len(held))]
    return Sizes(np.concatenate([*drawn, held]), np.concatenate(weights))


def find(sizes: Sizes, number: int = MOST) -> tuple[tuple[int, int], ...]:
    """At most `number` shapes that together hold all sizes with the fewest pixels of padding; their sides are sorted.

    Exact for one and two shapes.  More are improved by exchanging any two of them for any others until that gains
    nothing, which is the best there is on every dataset tried.
    """
    unit = 32 * -(-int(sizes.sizes.max()) // (32 * UNITS))
    cells = -(-sizes.sizes // unit)
    sides = cells.max(0) + 1
    index = np.ravel_multi_index((cells[:, 0], cells[:, 1]), sides)
    weights = np.bincount(index, sizes.weights, minlength=sides.prod()).reshape(sides)
    occurs = np.bincount(index, minlength=sides.prod()).reshape(sides) > 0
    # A shape of which a row or column is never used is no candidate: the next smaller one holds as much.
    is_tight = np.logical_or.accumulate(occurs, 0) & np.logical_or.accumulate(occurs, 1)
    shapes = np.argwhere(is_tight)
    shapes = shapes[np.argsort(shapes.prod(-1), kind="stable")]
    # A size that no shape holds costs more than all images together; so does one of weight 0, however seldom it occurs.
    unheld = np.where(occurs, 2.0 * shapes[-1].prod() * (weights.sum() + 1), 0)

    def pixels(chosen: list[int]) -> Float64[np.ndarray, "chosen heights widths"]:
        """What the images of each size take in each of these shapes."""
        taken = np.repeat(unheld[None], len(chosen), 0)
        for one, (height, width) in zip(taken, shapes[chosen], strict=True):
            one[: height + 1, : width + 1] = height * width * weights[: height + 1, : width + 1]
        return taken

    chosen = [len(shapes) - 1] * number  # the one that holds everything
    improved = True
    while improved:
        improved = False
        for pair in combinations(range(number), min(number, 2)):
            others = [shape for at, shape in enumerate(chosen) if at not in pair]
            exchanged = others + best_pair(np.minimum.reduce([unheld, *pixels(others)]), weights, shapes, number)
            if pixels(exchanged).min(0).sum() < pixels(chosen).min(0).sum():
                chosen, improved = exchanged, True
    used = np.unique(pixels(chosen)[:, occurs].argmin(0))
    return tuple(sorted({(int(height) * unit, int(width) * unit) for height, width in shapes[chosen][used]}))


def best_pair(
    others: Float64[np.ndarray, "heights widths"],
    weights: Float64[np.ndarray, "heights widths"],
    shapes: Int64[np.ndarray, "n 2"],
    number: int,
) -> list[int]:
    """The two of `shapes` (one if `number` is 1) that spare the most pixels of those that are taken in `others`.

    `shapes` are sorted by area.  So of two that hold an image the first one counts, and what a pair spares is what each
    spares by itself, less what the larger one would spare where the smaller one holds too: both are sums over
    rectangles of one table.
    """
    heights, widths = shapes.T
    alone, best, found = np.zeros(len(shapes)), -1.0, [0]
    for large, (height, width) in enumerate(shapes):
        held = np.s_[: height + 1, : width + 1]
        spared = np.maximum(others[held] - height * width * weights[held], 0).cumsum(0).cumsum(1)
        alone[large] = spared[-1, -1]
        smaller = np.s_[: large + 1] if number > 1 else np.s_[large : large + 1]
        both = spared[np.minimum(heights[smaller], height), np.minimum(widths[smaller], width)]
        together = alone[smaller] + alone[large] - both
        if together.max() > best:
            best, found = together.max(), [int(together.argmax()), large][-number:]
    return found


class Padding(NamedTuple):
    """What padding images to fixed shapes costs."""

    images: dict[tuple[int, int], float]  # weight of the images in each (height, width) that is used
    share: dict[tuple[int, int], float]  # of the pixels of those images that are padding
    total: float  # share of all pixels that are padding


def padding_by_shape(sizes: Sizes, shapes: tuple[tuple[int, int], ...]) -> Padding:
    """What is padding, if each image is padded to the smallest shape that holds it; raises UserError if none does."""
    which = buckets.choose_shapes(sizes.sizes, shapes)
    images = np.bincount(which, sizes.weights, len(shapes))
    pixels = np.bincount(which, sizes.weights * sizes.sizes.prod(-1), len(shapes))
    area = images * np.asarray(shapes).prod(-1)
    used = [i for i in range(len(shapes)) if images[i]]
    return Padding(
        {shapes[i]: float(images[i]) for i in used},
        {shapes[i]: float(1 - pixels[i] / area[i]) for i in used},
        float(1 - pixels.sum() / area.sum()),
    )


def padding(sizes: Sizes, shapes: tuple[tuple[int, int], ...]) -> float:
    """The share of padding among all pixels; raises as `padding_by_shape`."""
    return padding_by_shape(sizes, shapes).total


def words(shapes: tuple[tuple[int, int], ...]) -> str:
    """Shapes as text: `800 x 1344, 1344 x 800`."""
    return ", ".join(f"{height} x {width}" for height, width in shapes)

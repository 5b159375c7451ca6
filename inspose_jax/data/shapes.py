"""Find the few shapes that images are padded to from their sizes, such that least is padding.

A size or a shape is (height, width) in pixels.  Each shape compiles anew, and all images of a batch share one; so there
are few, and each image takes the smallest one that holds it.  A dataset has only some dozen sizes in multiples of 32,
and only their heights and widths come into question as sides.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int32

from inspose_jax import config
from inspose_jax.data import buckets
from inspose_jax.data.transforms import resized_sizes, shrunk_sizes

MOST = 5  # shapes that are found unless told otherwise
FOR_ANY_IMAGE = ((832, 1344), (1344, 832))  # two that hold every image at the paper's sizes, whatever its aspect
JITTERS = 16  # factors that stand for the distribution of `large_scale_jitter`
UNITS = 42  # sides of larger images are multiples of more than 32, so that there are no more than these to try


class Sizes(NamedTuple):
    """The sizes at which images occur, each with how often."""

    sizes: Int32[np.ndarray, "n 2"]
    weights: Float64[np.ndarray, " n"]  # 0: a shape must hold it, however seldom it occurs


def tested(sizes: Int32[np.ndarray, "n 2"], data: config.Data) -> Sizes:
    """The sizes at which images of `sizes` are tested."""
    sizes, counts = np.unique(sizes, axis=0, return_counts=True)
    return Sizes(resized_sizes(sizes, data.test_short_side, data.long_side), counts.astype(float))


def trained(sizes: Int32[np.ndarray, "n 2"], data: config.Data) -> Sizes:
    """The sizes at which images of `sizes` are trained: each of the shorter sides that may be drawn is as likely.

    The sizes at which they are tested, and the largest in training, are among them with weight 0.
    """
    sizes, counts = np.unique(sizes, axis=0, return_counts=True)
    short_sides = range(data.short_side[0], data.short_side[1] + 1, data.short_side_step)
    low, high = data.augmentation.large_scale_jitter
    factors = [low + (high - low) * (i + 0.5) / JITTERS for i in range(JITTERS)] if low < min(high, 1) else [high]
    drawn = [resized_sizes(sizes, short_side, data.long_side) for short_side in short_sides]
    largest = shrunk_sizes(drawn[-1], high)
    drawn = [shrunk_sizes(one, factor) for one in drawn for factor in factors]
    held = [largest, tested(sizes, data).sizes]
    weights = [*[counts.astype(float)] * len(drawn), np.zeros(2 * len(sizes))]
    return Sizes(np.concatenate([*drawn, *held]), np.concatenate(weights))


def find(sizes: Sizes, number: int = MOST) -> tuple[tuple[int, int], ...]:
    """At most `number` shapes that together hold all sizes with the fewest pixels of padding; their sides are sorted.

    Exact for one and two shapes.  More are improved by exchanging any two of them for any others until that gains
    nothing, which is the best there is on every dataset tried.
    """
    unit = 32 * -(-int(sizes.sizes.max()) // (32 * UNITS))
    cells, which = np.unique(-(-sizes.sizes // unit) * unit, axis=0, return_inverse=True)
    weights = np.bincount(which.ravel(), sizes.weights)
    shapes = np.stack(np.meshgrid(*map(np.unique, cells.T), indexing="ij"), -1).reshape(-1, 2)
    fits = np.all(cells <= shapes[:, None], axis=-1)
    # A shape of which a row or column is never used is no candidate: the next smaller one holds as much.
    is_tight = (np.where(fits[..., None], cells, 0).max(1) == shapes).all(-1)
    shapes, fits = shapes[is_tight], fits[is_tight]
    # Pixels of a cell's images in each shape.  A weight of 0 still excludes the shapes that do not hold the cell.
    pixels = np.where(fits, shapes.prod(-1, keepdims=True) * weights, np.inf)
    chosen = [len(shapes) - 1] * number  # the one that holds everything
    improved = True
    while improved:
        improved = False
        for pair in combinations(range(number), min(number, 2)):
            others = pixels[[shape for at, shape in enumerate(chosen) if at not in pair]].min(0, initial=np.inf)
            better = best_pair(np.minimum(pixels, others), number)
            exchanged = [shape for at, shape in enumerate(chosen) if at not in pair] + better
            if pixels[exchanged].min(0).sum() < pixels[chosen].min(0).sum():
                chosen, improved = exchanged, True
    used = np.unique(pixels[chosen].argmin(0))
    return tuple(sorted({(int(height), int(width)) for height, width in shapes[[chosen[i] for i in used]]}))


def best_pair(pixels: Float64[np.ndarray, "shapes cells"], number: int) -> list[int]:
    """The two rows (one if `number` is 1) whose smaller values have the smallest sum."""
    if number == 1:
        return [int(pixels.sum(1).argmin())]
    best, found = np.inf, [0, 0]
    for first in range(len(pixels)):
        sums = np.minimum(pixels[first:], pixels[first]).sum(1)
        second = int(sums.argmin())
        if sums[second] < best:
            best, found = sums[second], [first, first + second]
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

"""Can one set of five shapes pad little in training and in testing, and how long does the search take?

    python experiments/benchmarks/data/one_set.py ANNOTATIONS [ANNOTATIONS ..]

For each file, and for all together: the padding of the shapes found for training and for testing, and the least padding
in training of all sets of five with at most 6 % in testing, by an integer program (HiGHS, about a minute each).
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from inspose_jax.config import Augmentation, Data
from inspose_jax.data import shapes
from inspose_jax.data.shapes import Sizes

DATA, NUMBER, MOST_IN_TESTING = Data(), shapes.MOST, 0.06


def main(files: list[str]) -> None:
    """Print a line for each file and one for all, and the seconds of two searches."""
    sizes = {file: sizes_of(Path(file)) for file in files}
    for name, each in {**sizes, "all": np.concatenate(list(sizes.values()))}.items():
        trained, tested = shapes.trained(each, DATA), shapes.tested(each, DATA)
        chosen = {
            "found for training": shapes.find(trained),
            "found for testing": shapes.find(tested),
            "best of one set": best_of_one_set(trained, tested),
        }
        for purpose, found in chosen.items():
            waste = f"{shapes.padding(trained, found):.2%} in training, {shapes.padding(tested, found):.2%} in testing"
            print(f"{name}, {len(each)} images, {purpose}: {waste}: {shapes.words(found)}", flush=True)
    odd = np.random.default_rng(0).integers(200, 3000, (20_000, 2)).astype(np.int32)
    for augmentation in (Augmentation(), Augmentation(large_scale_jitter=(0.1, 2.0))):
        begin = time.process_time()
        shapes.find(shapes.trained(odd, Data(augmentation=augmentation)))
        print(f"20,000 odd sizes, {augmentation}: {time.process_time() - begin:.1f} s of processor time")


def sizes_of(file: Path) -> np.ndarray:
    """The (height, width) of a COCO file's images."""
    return np.array([(image["height"], image["width"]) for image in json.loads(file.read_text())["images"]], np.int32)


def best_of_one_set(trained: Sizes, tested: Sizes) -> tuple[tuple[int, int], ...]:
    """The set with the least padding in training of those with at most `MOST_IN_TESTING` in testing."""
    cells, which = np.unique(-(-np.concatenate([trained.sizes, tested.sizes]) // 32), axis=0, return_inverse=True)
    parts = np.split(which.ravel(), [len(trained.sizes)])
    shares = [
        np.bincount(part, one.weights, len(cells)) / (one.sizes.prod(-1) * one.weights).sum()
        for part, one in zip(parts, (trained, tested), strict=True)
    ]
    every = np.stack(np.meshgrid(*map(np.unique, cells.T), indexing="ij"), -1).reshape(-1, 2)
    shape, cell = np.nonzero((cells <= every[:, None]).all(-1))
    # Unknowns: whether each shape is chosen, then which share of a cell's images goes into each shape that holds it.
    number, pairs = len(every), len(shape)
    at = number + np.arange(pairs)
    in_training, in_testing = (np.r_[np.zeros(number), 1024.0 * every[shape].prod(-1) * one[cell]] for one in shares)
    each_goes_somewhere = coo_array((np.ones(pairs), (cell, at)), (len(cells), number + pairs))
    rows, columns = np.tile(np.arange(pairs), 2), np.r_[at, shape]
    only_into_chosen = coo_array((np.r_[np.ones(pairs), -np.ones(pairs)], (rows, columns)), (pairs, number + pairs))
    is_choice = np.r_[np.ones(number), np.zeros(pairs)]
    constraints = [
        LinearConstraint(each_goes_somewhere.tocsr(), 1, 1),
        LinearConstraint(only_into_chosen.tocsr(), -np.inf, 0),
        LinearConstraint(is_choice[None], 0, NUMBER),
        LinearConstraint(in_testing[None], 0, 1 / (1 - MOST_IN_TESTING)),
    ]
    solved = milp(in_training, integrality=is_choice, bounds=Bounds(0, 1), constraints=constraints)
    assert solved.status == 0, solved.message  # the optimum, proved
    return tuple(sorted((32 * height, 32 * width) for height, width in every[solved.x[:number] > 0.5].tolist()))


if __name__ == "__main__":
    main(sys.argv[1:])

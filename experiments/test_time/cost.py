"""What a mirrored image costs: the people of a batch with one pass and with two, in turn.

    python experiments/test_time/cost.py RUN_OR_RECIPE [CALLS [HEIGHT WIDTH]]

RUN_OR_RECIPE is a run's folder, or the name of a recipe, whose network then has random weights; 8 random images of the
shape.  Prints the median ratio of the pairs, of the time that passed and of the CPU time, for each `test_merge`.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

import inspose_jax
from inspose_jax import methods, recipes
from inspose_jax.config import Passes
from inspose_jax.predictor import BATCH, Predictor


def model_of(given: str) -> tuple[Any, Any]:
    """The config and the variables of a run, or of a recipe."""
    if Path(given).is_dir():
        model = inspose_jax.load(given)
        return model.config, model.variables
    config = recipes.read(given).config
    return config, jax.jit(methods.for_model(config.model).init)(jax.random.key(0))


def main(given: str, calls: str = "9", height: str = "192", width: str = "192") -> None:
    config, variables = model_of(given)
    shape = int(height), int(width)
    image = np.random.default_rng(0).integers(0, 256, (BATCH, *shape, 3), np.uint8)
    size = np.tile(np.array(shape, np.int32), (BATCH, 1))

    def with_passes(passes: Passes) -> Predictor:
        return Predictor(replace(config, data=replace(config.data, passes=passes)), variables)

    runs = {"one pass": with_passes(Passes())}
    for merge in ("boxes", "oks", "maps"):
        runs[f"two passes, {merge}"] = with_passes(Passes(test_flip=True, test_merge=merge))
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for number in range(int(calls) + 1):
        for name, model in runs.items():
            begin = time.perf_counter(), time.process_time()
            jax.block_until_ready(model.poses(model.variables, image, size))
            if number:  # the first call compiles
                seconds[name].append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    print(f"{jax.devices()[0].device_kind}, {BATCH} images of {shape[0]} x {shape[1]}")
    once = np.array(seconds.pop("one pass"))
    print(f"one pass: median {np.median(once[:, 0]):.3f} s, CPU time {np.median(once[:, 1]):.3f} s")
    for name, times in seconds.items():
        passed, cpu = np.median(np.array(times) / once, axis=0)
        print(f"{name}: {passed:.2f} times as long, {cpu:.2f} times the CPU time")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The paper's R50 on one image of 800 x 1216: python experiments/benchmarks/train_step/forward.py

Network and decoding as in prediction, random weights: time, and memory as the compiler and the system count it.
"""

import resource
import time

import jax
import numpy as np

from inspose_jax import methods, recipes
from inspose_jax.predictor import Predictor

HEIGHT, WIDTH, CALLS = 800, 1216, 7


def main() -> None:
    config = recipes.read("r50_coco_36e").config
    image = np.random.default_rng(0).integers(0, 256, (1, HEIGHT, WIDTH, 3), np.uint8)
    size = np.array([[HEIGHT, WIDTH]], np.int32)
    variables = jax.jit(methods.for_model(config.model).init)(jax.random.key(0))
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(variables))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    poses = Predictor(config, variables).poses.lower(variables, image, size).compile()
    memory = poses.memory_analysis()
    times = []
    for _ in range(CALLS):
        begin = time.perf_counter()
        jax.block_until_ready(poses(variables, image, size))
        times.append(time.perf_counter() - begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"median of {CALLS}: {np.median(times):.2f} s an image ({min(times):.2f} to {max(times):.2f})")
    print(f"{memory.temp_size_in_bytes / 1e6:.0f} MB of intermediate values beside {weights / 1e6:.0f} MB of weights")
    print(f"the process grew from {before / 1e3:.0f} to {peak / 1e3:.0f} MB at most, compilation included")


if __name__ == "__main__":
    main()

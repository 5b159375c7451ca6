"""The paper's R50 in training on a CPU: python experiments/benchmarks/train_step/cpu.py [STEPS]

Two made-up images of 512 x 640: seconds of every step after the first, and memory for intermediate values.
"""

import sys
import time
from dataclasses import replace

import accelerator
import jax
import numpy as np

from inspose_jax import methods, recipes
from inspose_jax.training import sharding


def main(num_steps: int = 4) -> None:
    accelerator.HEIGHT, accelerator.WIDTH = 512, 640
    config = recipes.read("r50_coco_36e").config
    config = replace(config, schedule=replace(config.schedule, batch_size=2))
    mesh = sharding.make_mesh(config.schedule, jax.devices()[:1])
    state = sharding.new_state(methods.for_model(config.model), config.schedule, 1000, mesh)
    batch = sharding.put_batch(accelerator.random_batch(config), mesh)
    step = (
        sharding.jit_train_step(methods.for_model(config.model), config.schedule, 1000, mesh)
        .lower(state, batch)
        .compile()
    )
    times = []
    for _ in range(1 + num_steps):
        begin = time.perf_counter()
        state, _ = step(state, batch)
        jax.block_until_ready(state)
        times.append(time.perf_counter() - begin)
    held = step.memory_analysis().temp_size_in_bytes / 1e6
    each = " ".join(f"{seconds:.2f}" for seconds in times[1:])
    print(f"{held:.0f} MB of intermediate values; {each} s, median {np.median(times[1:]):.2f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

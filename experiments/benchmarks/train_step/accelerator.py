"""The paper's R50 in training on one GPU: python experiments/benchmarks/train_step/accelerator.py TYPE BATCH [BATCH ..]

`r50_coco_36e` at 800 x 1344 on made-up batches, computing in TYPE (bfloat16 or float32), with the first of the given
batch sizes that fits: images a second over 50 steps, share of the card's peak, memory.
"""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.95")  # of the card's memory; JAX takes three quarters

import sys
import time
from dataclasses import replace

import jax
import numpy as np

from inspose_jax import methods, recipes
from inspose_jax.config import Config
from inspose_jax.config import replace as with_fields
from inspose_jax.data import buckets
from inspose_jax.structures import Batch, Sample
from inspose_jax.training import sharding

HEIGHT, WIDTH, PEOPLE, WARM_UP, STEPS = 800, 1344, 5, 5, 50
# Operations a second that NVIDIA states for the H100 and the H200 (SXM), dense; JAX multiplies float32 there as TF32.
PEAK = {"bfloat16": 989e12, "float32": 495e12}


def main(dtype: str, batch_sizes: list[int]) -> None:
    device, recipe = jax.devices()[0], recipes.read("r50_coco_36e").config
    print(f"{device.device_kind}, jax {jax.__version__}", flush=True)
    for batch_size in batch_sizes:
        model = with_fields(recipe.model, compute_dtype=dtype)
        config = replace(recipe, model=model, schedule=replace(recipe.schedule, batch_size=batch_size))
        try:
            times = run(config, device)
            break
        except jax.errors.JaxRuntimeError as error:
            print(f"{dtype}: {batch_size} images do not fit ({str(error).splitlines()[0][:150]})", flush=True)
    else:
        return
    median = float(np.median(times))
    print(f"{dtype}: {batch_size} images, {batch_size / median:.1f} images/s")
    print(
        f"  median of {STEPS} steps {1e3 * median:.1f} ms ({1e3 * min(times):.1f} to {1e3 * max(times):.1f})",
        flush=True,
    )
    work = operations(config)
    print(f"  {work / 1e12:.2f} Tflop an image, {work * batch_size / median / PEAK[dtype]:.1%} of the peak")


def run(config: Config, device: jax.Device) -> list[float]:
    """Compile, say what memory that needs, give the seconds of every step; JaxRuntimeError where it is not there."""
    lowered = lower(config, device)
    begin = time.perf_counter()
    step = lowered.compile()
    memory = step.memory_analysis()
    needed = memory.argument_size_in_bytes + memory.temp_size_in_bytes + memory.output_size_in_bytes
    needed -= memory.alias_size_in_bytes
    print(f"{config.schedule.batch_size} images need {needed / 1e9:.1f} of {limit(device) / 1e9:.1f} GB")
    print(f"compiled in {time.perf_counter() - begin:.0f} s", flush=True)
    mesh = sharding.make_mesh(config.schedule, [device])
    state, batch = (
        sharding.new_state(methods.for_model(config.model), config.schedule, 1000, mesh),
        sharding.put_batch(random_batch(config), mesh),
    )
    times = []
    for _ in range(WARM_UP + STEPS):
        begin = time.perf_counter()
        state, measurements = jax.block_until_ready(step(state, batch))
        times.append(time.perf_counter() - begin)
    assert np.isfinite(measurements["loss/total"])
    return times[WARM_UP:]


def lower(config: Config, device: jax.Device) -> jax.stages.Lowered:
    """The step for one device, not compiled yet."""
    mesh = sharding.make_mesh(config.schedule, [device])
    state = sharding.abstract_state(methods.for_model(config.model), config.schedule, 1000, mesh)
    return sharding.jit_train_step(methods.for_model(config.model), config.schedule, 1000, mesh).lower(
        state, random_batch(config)
    )


def operations(config: Config) -> float:
    """Multiplications and additions of a step for one image, as the compiler counts them; it does so for a CPU only.

    Of the loop over the filled slots of an image it counts one turn, the maps made again for the gradient among it.
    """
    one = replace(config, schedule=replace(config.schedule, batch_size=1))
    return lower(one, jax.devices("cpu")[0]).cost_analysis()["flops"]


def limit(device: jax.Device) -> int:
    """Bytes of memory that JAX may take; 0 where it does not say, as on a CPU."""
    return (device.memory_stats() or {}).get("bytes_limit", 0)


def random_batch(config: Config) -> Batch:
    """Noise with some people in every image, each joint anywhere in its person's box."""
    rng, number = np.random.default_rng(0), config.schedule.batch_size
    low = rng.uniform(0, (WIDTH - 300, HEIGHT - 400), (number, PEOPLE, 1, 2))
    points = low + rng.uniform(0, (300, 400), (number, PEOPLE, 17, 2))
    keypoints = np.concatenate([points, np.full((*points.shape[:-1], 1), 2)], -1).astype(np.float32)
    boxes = np.concatenate([points.min(2), points.max(2)], -1).astype(np.float32)
    image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    area, is_crowd = np.full(PEOPLE, 9e4, np.float32), np.zeros(PEOPLE, bool)
    batch = buckets.blank_batch(np.stack([image] * number), config.model, config.data.num_ignore)
    samples = [Sample(image, keypoints[i], boxes[i], area, is_crowd, image_id=i) for i in range(number)]
    placed = [buckets.Placed(i, sample, (HEIGHT, WIDTH)) for i, sample in enumerate(samples)]
    buckets.put_labels(batch, placed, config.model)
    return batch


if __name__ == "__main__":
    main(sys.argv[1], [int(word) for word in sys.argv[2:]])

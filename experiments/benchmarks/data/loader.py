"""What loading costs beside decoding and resizing alone, in one thread and in two.

    python experiments/benchmarks/data/loader.py IMAGES ANNOTATIONS

Everything is timed in turns in one process (the two bare loops of the second part in two), so that other work on the
machine slows all of it down alike; medians.
"""

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from inspose_jax import config, recipes
from inspose_jax.data import pipeline
from inspose_jax.data.coco import CocoFolder
from inspose_jax.data.plan import PlannedStep
from inspose_jax.skeletons import COCO

ROUNDS, SECONDS, NUM_STEPS = 7, 4.0, 6
Work = Callable[[PlannedStep], object]


def main(images: str, annotations: str) -> None:
    """Print the tables."""
    cv2.setNumThreads(1)  # as the command line does
    recipe = recipes.read("r50_coco_36e").config
    source = CocoFolder(Path(images), Path(annotations), COCO, recipe.data.joint_pixel_offset)
    plan = pipeline.make_plan(source, recipe, train=True)
    steps = [plan[i] for i in range(NUM_STEPS)]

    def bare(step: PlannedStep) -> None:
        for i, (height, width) in zip(step.index.tolist(), step.resized.tolist(), strict=True):
            if i >= 0:
                data = np.frombuffer(source.path(i).read_bytes(), np.uint8)
                image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
                cv2.resize(image, (width, height))

    def load(step: PlannedStep) -> object:
        return pipeline.load_batch(source, step, recipe)

    one_thread({"decode and resize alone": bare, "load_batch": load}, steps)
    print(f"{'of one thread of grain, beside load_batch':44} {grain_beside_load(source, plan, recipe, load):6.3f}")
    both = {
        "two processes, decode and resize alone": lambda: two_processes(bare, steps),
        "grain with two threads": lambda: rate_of_grain(source, plan, recipe, 2),
    }
    rates: dict[str, list[float]] = {name: [] for name in both}
    for _ in tqdm(range(ROUNDS), desc="two threads", leave=False):
        for name, rate in both.items():
            rates[name].append(rate())
    for name, values in rates.items():
        ratio = statistics.median(a / b for a, b in zip(values, next(iter(rates.values())), strict=True))
        print(f"{name:44} {statistics.median(values):6.0f} images/s  {ratio:5.2f}")


def number_of(step: PlannedStep) -> int:
    """Images of a step that are not blank."""
    return int((step.index >= 0).sum())


def one_thread(works: dict[str, Work], steps: list[PlannedStep]) -> None:
    """Print the processor time per image of each kind of work, and its speed beside the first kind's."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in tqdm(range(ROUNDS), desc="one thread", leave=False):
        for step in steps:
            for name, work in works.items():
                begin = time.thread_time()
                work(step)
                times[name].append((time.thread_time() - begin) / number_of(step))
    first = next(iter(times.values()))
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(first, values, strict=True))
        print(f"{name:44} {1000 * statistics.median(values):6.2f} ms/image  {ratio:5.2f}")


def grain_beside_load(source: CocoFolder, plan: object, recipe: config.Config, load: Work) -> float:
    """Speed of one thread of grain beside calling `load_batch`, medians of wall time in turns."""
    ratios = []
    for _ in tqdm(range(ROUNDS), desc="grain", leave=False):
        direct = rate_of(load, [plan[i] for i in range(NUM_STEPS)])  # pyright: ignore[reportIndexIssue]
        ratios.append(rate_of_grain(source, plan, recipe, 1) / direct)
    return statistics.median(ratios)


def rate_of(work: Work, steps: list[PlannedStep]) -> float:
    """Images per second of wall time."""
    begin, number = time.perf_counter(), 0
    for step in cycle(steps):
        work(step)
        number += number_of(step)
        if (seconds := time.perf_counter() - begin) > SECONDS:
            return number / seconds
    raise AssertionError


def rate_of_grain(source: CocoFolder, plan: object, recipe: config.Config, num_threads: int) -> float:
    """Images per second of the loader that training uses, once its threads have begun."""
    machine = config.Machine(num_threads=num_threads)
    given = config.Config(recipe.model, recipe.data, recipe.schedule, machine)
    batches: Iterator = pipeline.batches(source, plan, given, 0, 10**6)  # pyright: ignore[reportArgumentType]
    for _ in range(2 * num_threads):
        next(batches)
    begin, number = time.perf_counter(), 0
    while (seconds := time.perf_counter() - begin) < SECONDS:
        number += int(next(batches).is_real.sum())
    return number / seconds


def two_processes(work: Work, steps: list[PlannedStep]) -> float:
    """Images per second of two processes together."""
    fork = multiprocessing.get_context("fork")
    rates = fork.Array("d", 2)

    def measure(which: int) -> None:
        rates[which] = rate_of(work, steps)

    children = [fork.Process(target=measure, args=(i,)) for i in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    return sum(rates)


if __name__ == "__main__":
    main(*sys.argv[1:])

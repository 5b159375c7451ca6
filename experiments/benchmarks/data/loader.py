"""What loading costs beside decoding and resizing alone: in one thread, in two, and in two worker processes.

    python experiments/benchmarks/data/loader.py DATA

DATA is what `--data` takes: a folder or file of annotated images, or a built set.

Everything is timed in turns in one process (the two bare loops of the second part in two), so that other work on the
machine slows all of it down alike; medians.  Both wall time and processor time are given: on a busy machine only the
second says anything, and it leaves out what threads wait for each other.  That of worker processes is not counted.
"""

import contextlib
import io
import multiprocessing
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

import cv2
import grain
import numpy as np
from absl import flags
from tqdm import tqdm

from inspose_jax import config, recipes
from inspose_jax.cli import sources
from inspose_jax.cli.arguments import Given
from inspose_jax.data import pipeline, tf_example
from inspose_jax.data.coco import CocoFolder
from inspose_jax.data.memory import Memory
from inspose_jax.data.plan import Plan, PlannedStep
from inspose_jax.data.shards import BuiltSet
from inspose_jax.skeletons import FROM_DATA
from inspose_jax.structures import Batch

ROUNDS, SECONDS, NUM_STEPS = 7, 4.0, 6  # the last for the first table
Work = Callable[[PlannedStep], object]


class Rate(NamedTuple):
    """What a loader reaches."""

    images: float  # per second of wall time
    cost: float  # seconds of processor time per image


def main(data: str) -> None:
    """Print the tables."""
    cv2.setNumThreads(1)  # as the command line does
    recipe, source, plan = opened(data)
    steps = [plan[i] for i in range(NUM_STEPS)]

    def bare(step: PlannedStep, into: np.ndarray | None = None) -> None:
        for b, (i, (height, width)) in enumerate(zip(step.index.tolist(), step.resized.tolist(), strict=True)):
            if i >= 0:
                image = cv2.imdecode(
                    np.frombuffer(file_of(source, i), np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
                )
                cv2.resize(image, (width, height), None if into is None else into[b, :height, :width])

    memory, waiting = Memory(), deque(maxlen=4)

    def bare_into_batches(step: PlannedStep) -> None:
        """Where each image has a place of its own in memory, as it must, and four batches wait to be used."""
        waiting.append(memory.array((len(step.index), *step.shape, 3)))
        bare(step, waiting[-1])

    def load(step: PlannedStep) -> object:
        return pipeline.load_batch(source, step, recipe, memory=memory)

    def load_into_new_memory(step: PlannedStep) -> object:
        return pipeline.load_batch(source, step, recipe)

    works = {
        "decode and resize alone": bare,
        "decode and resize into batches": bare_into_batches,
        "load_batch": load,
        "load_batch, each batch in new memory": load_into_new_memory,
    }
    one_thread(works, steps)
    in_turns(
        {
            "load_batch in a loop": lambda: rate_of(load, plan),
            "grain with one thread": lambda: rate_of_grain(source, plan, recipe, 1),
        }
    )
    in_turns(
        {
            "two processes, decode and resize alone": lambda: two_processes(bare, plan),
            "two processes, into batches": lambda: two_processes(bare_into_batches, plan),
            "grain with two threads": lambda: rate_of_grain(source, plan, recipe, 2),
            "grain with two worker processes": lambda: rate_of_workers(data, 2),
        }
    )


def file_of(source: CocoFolder | BuiltSet, index: int) -> bytes:
    """The file of an image, read from where it is stored."""
    if isinstance(source, CocoFolder):
        return source.path(index).read_bytes()
    return tf_example.parse(source.records[index])["image"][0]


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


def in_turns(rates: dict[str, Callable[[], Rate]]) -> None:
    """Print the images per second of each, its processor time per image, and both beside the first one's."""
    measured: dict[str, list[Rate]] = {name: [] for name in rates}
    for _ in tqdm(range(ROUNDS), desc="in turns", leave=False):
        for name, rate in rates.items():
            measured[name].append(rate())
    first = next(iter(measured.values()))
    for name, values in measured.items():
        faster = statistics.median(a.images / b.images for a, b in zip(values, first, strict=True))
        cheaper = statistics.median(b.cost / a.cost for a, b in zip(values, first, strict=True))
        images, cost = (statistics.median(column) for column in zip(*values, strict=True))
        print(f"{name:44} {images:6.0f} images/s {faster:5.2f}  {1000 * cost:6.2f} ms/image  {cheaper:5.2f}")


def rate_of(work: Work, plan: Plan, start: int = 0) -> Rate:
    """The rate of calling `work` in a loop over the steps that training takes, so that both read as many files."""
    work(plan[start])  # which plans the epochs before
    return measure((work(step), number_of(step))[1] for step in map(plan.__getitem__, count(start)))


@cache
def opened(data: str) -> tuple[config.Config, CocoFolder | BuiltSet, Plan]:
    """The recipe, the data and its plan."""
    recipe = recipes.read("r50_coco_36e").config  # its sizes of images; joints and padded shapes are the data's
    recipe = replace(recipe, model=replace(recipe.model, skeleton=FROM_DATA), data=replace(recipe.data, shapes=()))
    with contextlib.redirect_stdout(io.StringIO()):  # worker processes would print in the middle of the tables
        source = sources.annotated(Given(Path(data)), FROM_DATA, recipe.data.joint_pixel_offset)
    recipe = pipeline.with_shapes(source, pipeline.for_data(recipe, source))
    return recipe, source, pipeline.make_plan(source, recipe, train=True)


def load_in_worker(data: str, step: int) -> Batch:
    """The batch of a step, in a process that opens the data by itself, since a plan has a lock and cannot be sent."""
    cv2.setNumThreads(1)
    recipe, source, plan = opened(data)
    return pipeline.load_batch(source, plan[int(step)], recipe)


def rate_of_workers(data: str, num_workers: int) -> Rate:
    """The rate of worker processes, each with one thread, that send their batches through shared memory."""
    flags.FLAGS(sys.argv[:1])  # grain's worker processes read flags of absl, which must have been parsed
    steps = grain.MapDataset.range(10**6).map(partial(load_in_worker, data))
    read = steps.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2))
    batches = iter(read.mp_prefetch(grain.MultiprocessingOptions(num_workers=num_workers)))
    for _ in range(2 * num_workers):
        next(batches)
    return measure(int(batch.is_real.sum()) for batch in batches)


def rate_of_grain(source: CocoFolder | BuiltSet, plan: Plan, recipe: config.Config, num_threads: int) -> Rate:
    """The rate of the loader that training uses, once its threads have begun."""
    machine = config.Machine(num_threads=num_threads)
    given = config.Config(recipe.model, recipe.data, recipe.schedule, machine)
    batches: Iterator = pipeline.batches(source, plan, given, 0, 10**6)
    for _ in range(2 * num_threads):
        next(batches)
    return measure(int(batch.is_real.sum()) for batch in batches)


def measure(loaded: Iterator[int]) -> Rate:
    """The rate at which images come, given how many have come with each step."""
    begin, processor, number = time.perf_counter(), time.process_time(), 0
    for more in loaded:
        number += more
        if (seconds := time.perf_counter() - begin) > SECONDS:
            return Rate(number / seconds, (time.process_time() - processor) / number)
    raise AssertionError


def two_processes(work: Work, plan: Plan) -> Rate:
    """The rate of two processes together."""
    fork = multiprocessing.get_context("fork")
    images, cost = fork.Array("d", 2), fork.Array("d", 2)

    def run(which: int) -> None:
        images[which], cost[which] = rate_of(work, plan, 500 * which)

    children = [fork.Process(target=run, args=(i,)) for i in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    return Rate(sum(images), statistics.mean(cost))


if __name__ == "__main__":
    main(*sys.argv[1:])

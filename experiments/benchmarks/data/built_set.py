"""How quickly is a set built, and how quickly does training read from it?

python experiments/benchmarks/data/built_set.py FOLDER

FOLDER gets two sets, which are reused if they are there: one of as many images as COCO's train2017, but small ones,
and one of 2,000 images of 640 x 480 pixels.  Every row of the output is printed, and written to built_set.csv if all
were measured.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from inspose_jax.skeletons import COCO
from inspose_jax.structures import Record

NUM_IMAGES, NUM_PEOPLE = 118_287, 262_465  # of train2017
NUM_LARGE = 2_000
REPEATS = 5


class MadeUp:
    """Images of smooth noise at a size, with people of random joints, none of whom is visible in the noise."""

    def __init__(self, count: int, size: tuple[int, int], quality: int):
        self.skeleton, self.joint_pixel_offset = COCO, 0.0
        rng = np.random.default_rng(0)
        self.sizes = np.tile(np.array(size, np.int32), (count, 1))
        self.image_ids = 5 * np.arange(count)
        counts = rng.poisson(NUM_PEOPLE / NUM_IMAGES, count)
        self.ends = np.cumsum(counts)
        people = self.ends[-1]
        x_y = rng.integers(1, min(size), (people, 17, 2))
        self.keypoints = np.concatenate([x_y, np.full((people, 17, 1), 2)], -1).astype(np.float32)
        self.boxes = np.concatenate([x_y.min(1), x_y.max(1) + 1], -1).astype(np.float32)
        self.has_people = self.is_labelled = counts > 0
        self.files = [jpeg(rng, size, quality) for _ in range(16)]

    def __len__(self) -> int:
        return len(self.sizes)

    def record(self, index: int) -> Record:
        own = slice(self.ends[index - 1] if index else 0, self.ends[index])
        count, (height, width) = own.stop - own.start, self.sizes[index].tolist()
        return Record(
            self.files[index % len(self.files)],
            f"{index:012d}.jpg",
            int(self.image_ids[index]),
            (height, width),
            self.keypoints[own],
            self.boxes[own],
            np.full(count, 500, np.float32),
            np.zeros(count, bool),
            (None,) * count,
        )


def jpeg(rng: np.random.Generator, size: tuple[int, int], quality: int) -> bytes:
    """A file of smooth noise; at 640 x 480 and quality 92 about as large as COCO's are."""
    height, width = size
    coarse = rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def build(out: Path, count: int, size: tuple[int, int], quality: int, workers: int) -> Iterator[tuple[str, float, str]]:
    """Build a set unless it is there; yield its speed and the size of an image."""
    from inspose_jax.data import tfds_builder

    if out.exists():
        return
    source = MadeUp(count, size, quality)
    start, busy = time.perf_counter(), time.process_time()
    tfds_builder.build(out, {"train": source}, False, None, workers, lambda: None)
    minutes, busy = (time.perf_counter() - start) / 60, time.process_time() - busy
    what = f"{count} images of {size[1]} x {size[0]}, {workers} workers"
    yield f"building {what}", count / minutes, "images/min"
    yield "processor time of it", 1e3 * busy / count, "ms/image"
    yield "size of one of these files", statistics.mean(map(len, source.files)) / 1000, "kB"


def first_batch(folder: Path) -> None:
    """Print the seconds, and those of the processor, from asking for a loader to its first batch, and of its parts.

    For a process of its own; imports are not counted.
    """
    import cv2  # noqa: F401
    import grain  # noqa: F401

    from inspose_jax import recipes
    from inspose_jax.data import pipeline
    from inspose_jax.data.shards import BuiltSet

    config = recipes.read("r50_coco_36e").config
    marks = []

    def mark() -> None:
        marks.append((time.perf_counter(), time.process_time()))

    mark()
    source = BuiltSet(folder)
    mark()
    plan = pipeline.make_plan(source, config, train=True)
    mark()
    batch = next(pipeline.batches(source, plan, config, 0, 1))
    mark()
    pipeline.fingerprint(source), source.labels_hash()
    mark()
    assert batch.image.shape[0] == config.schedule.batch_size
    passed = np.diff(np.array(marks), axis=0)
    print(" ".join(map(str, [*passed[:3].sum(0), *passed.ravel()])))


def fresh(folder: Path) -> list[float]:
    """What `first_batch` prints."""
    command = [sys.executable, __file__, str(folder), "--first-batch"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return [float(word) for word in done.stdout.split()]


def per_record(reads: dict[str, Callable[[int], object]], count: int) -> Iterator[tuple[str, float, str]]:
    """Processor time of each way to read a record, in random order, the ways in turn, the median of all rounds."""
    order = np.random.default_rng(0).integers(0, count, 300).tolist()
    taken: dict[str, list[float]] = {name: [] for name in reads}
    for _ in range(REPEATS):
        for name, read in reads.items():
            start = time.process_time()
            for index in order:
                read(index)
            taken[name].append((time.process_time() - start) / len(order))
    for name, seconds in taken.items():
        yield name, 1e6 * statistics.median(seconds), "us a record"


def ways(folder: Path) -> dict[str, Callable[[int], object]]:
    """The parts of reading a record, ours and TFDS's."""
    import tensorflow_datasets as tfds

    from inspose_jax.data import shards, tf_example

    ours = shards.BuiltSet(folder)
    builder = tfds.builder_from_directory(ours.folder)
    undecoded = builder.as_data_source(split="train", decoders={"image": tfds.decode.SkipDecoding()})
    decoded = builder.as_data_source(split="train")
    data = ours.records[0]
    return {
        "bytes of a record": lambda index: ours.records[index],
        "parsing alone, ours": lambda index: tf_example.parse(data),
        "parsing alone, TFDS's": lambda index: undecoded.dataset_info.features.deserialize_example_np(
            data, decoders={"image": tfds.decode.SkipDecoding()}
        ),
        "record, ours": ours.record,
        "record, TFDS's, image undecoded": lambda index: undecoded[index],
        "sample with its image decoded, ours": lambda index: ours[index],
        "sample with its image decoded, TFDS's": lambda index: decoded[index],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first-batch", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    if given.first_batch:
        return first_batch(given.folder)
    rows: list[tuple[str, float, str]] = []

    def note(row: tuple[str, float, str]) -> None:
        rows.append(row)
        print(f"{row[0]:60} {row[1]:12.3f} {row[2]}", flush=True)

    small, large = given.folder / "small", given.folder / "large"
    num_before = sum(place.exists() for place in (small, large))
    for row in build(small, NUM_IMAGES, (48, 64), 80, 2):
        note(row)
    for workers in (1, 2):
        for row in build(large if workers == 2 else given.folder / "once", NUM_LARGE, (480, 640), 92, workers):
            note(row)
    every = [fresh(small) for _ in range(REPEATS)]
    parts = (
        "first batch in all",
        "  opening the set",
        "  the plan",
        "  loading 16 images",
        "fingerprints of a run, later",
    )
    for place, name in enumerate(parts):
        note((name, statistics.median(one[2 * place] for one in every), "s"))
        note(("  processor time of it", statistics.median(one[2 * place + 1] for one in every), "s"))
    note(("first batch in all, slowest of five", max(one[0] for one in every), "s"))
    for row in per_record(ways(large), NUM_LARGE):
        note(row)
    index = next(small.rglob("index-*.npz")).stat().st_size / 1e6
    note(("index of the set of train2017's size", index, "MB"))
    if not num_before:
        with Path(__file__).with_suffix(".csv").open("w", newline="") as file:
            csv.writer(file).writerows(
                [("what", "value", "unit"), *((name.strip(), f"{v:.4g}", u) for name, v, u in rows)]
            )


if __name__ == "__main__":
    main()

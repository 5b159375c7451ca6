"""Does the memory of a loader grow: 10,000 small batches of drawn people, then 500 of full size from a COCO folder.

python experiments/benchmarks/data/memory.py IMAGES ANNOTATIONS
"""

import sys
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from inspose_jax import config, recipes
from inspose_jax.config import Scene
from inspose_jax.data import pipeline
from inspose_jax.data.coco import CocoFolder
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.data.pipeline import LabelledSource
from inspose_jax.skeletons import COCO

SMALL, FULL, PARTS = 10_000, 500, 5


def main(images: str, annotations: str) -> None:
    """Print the memory of this process along the way."""
    full = recipes.read("r50_coco_36e").config
    demo = recipes.read("drawn_people").config
    scene = Scene(size=64)
    data = replace(demo.data, scene=scene, short_side=(64, 64), long_side=64, test_short_side=64, shapes=((64, 64),))
    small = replace(demo, data=data)
    drawn = pipeline.InMemory(DrawnPeople(scene, "train", 0, 256))
    run("small", drawn, small, SMALL)
    folder = CocoFolder(Path(images), Path(annotations), COCO, full.data.joint_pixel_offset)
    run("full size", folder, full, FULL)


def run(name: str, source: LabelledSource, given: config.Config, number: int) -> None:
    """Load a number of batches, and print the memory after each fifth of them."""
    plan = pipeline.make_plan(source, given, train=True)
    batches = pipeline.batches(source, plan, given, 0, number)
    for part in range(1, PARTS + 1):
        for _ in tqdm(range(number // PARTS), desc=name, leave=False):
            next(batches)
        print(f"{name}: {memory() / 1e6:.0f} MB after {number * part // PARTS} batches", flush=True)


def memory() -> int:
    """Bytes of memory that this process holds."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(fields["VmRSS"].split()[0])


if __name__ == "__main__":
    main(*sys.argv[1:])

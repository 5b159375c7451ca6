"""`inspose data`: draw a data set, or check one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inspose_jax.cli import arguments

Count = Annotated[int, tyro.conf.arg(metavar="N")]


@dataclass
class Draw:
    """Draw people into a COCO folder: DIR/images/*.jpg and DIR/annotations.json.

    Example: inspose data draw --out drawn --count 500 --seed 999
    """

    out: Path
    """A new or empty folder."""
    count: Count
    """Number of pictures."""
    size: Count = 128
    """Side of the pictures in pixels."""
    seed: Count = 0
    """Other seeds give other pictures; none of them is one that a demo trains on."""


@dataclass
class Check:
    """Name every fault of a COCO folder; exit code 2 if there is one.

    Example: inspose data check --images drawn/images --annotations drawn/annotations.json
    """

    images: Path
    """Folder of pictures."""
    annotations: Path
    """COCO keypoint JSON."""


def run(argv: list[str]) -> None:
    """Parse which of the two, and do it."""
    commands = {"draw": draw, "check": check}
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: inspose data draw ...    draw people into a COCO folder")
        print("       inspose data check ...   name every fault of a COCO folder")
        print("example: inspose data draw --out drawn --count 500")
        return
    if argv[0] not in commands:
        raise ValueError(f"data {argv[0]}: no such command; there are data draw and data check")
    commands[argv[0]](argv[1:])


def draw(argv: list[str]) -> None:
    """Draw pictures of the test split, which nothing trains on."""
    launch, _ = arguments.parse(Draw, argv, "data draw")
    if launch.count < 1 or not 32 <= launch.size <= 4096 or launch.seed < 0:
        raise ValueError(
            f"--count {launch.count}, --size {launch.size}, --seed {launch.seed}: the count must be at least 1, "
            f"the size 32 to 4096 pixels, the seed not negative"
        )

    from tqdm import tqdm

    from inspose_jax.config import Data, Scene
    from inspose_jax.data import coco
    from inspose_jax.data.drawn_people import DrawnPeople
    from inspose_jax.skeletons import COCO
    from inspose_jax.structures import Sample

    source = DrawnPeople(Scene(size=launch.size), "test", launch.seed, launch.count)

    def drawn() -> Iterator[Sample]:
        for i in tqdm(range(launch.count), desc="drawing", unit="picture", dynamic_ncols=True):
            yield source[i]

    coco.write_folder(launch.out, drawn(), COCO, Data().joint_pixel_offset)
    print(
        f"{launch.out}: {launch.count} pictures; look at them, or: inspose data check --images {launch.out}/images "
        f"--annotations {launch.out}/annotations.json"
    )


def check(argv: list[str]) -> None:
    """Print every fault, or that there is none."""
    launch, _ = arguments.parse(Check, argv, "data check")

    from inspose_jax.data.check import faults
    from inspose_jax.skeletons import COCO

    found = faults(launch.images, launch.annotations, COCO)
    for fault in found:
        print(fault)
    if found:
        raise ValueError(f"{launch.annotations}: {len(found)} faults; mend them or leave those pictures out")
    print(f"{launch.annotations}: no fault found")

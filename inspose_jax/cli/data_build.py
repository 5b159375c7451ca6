"""`inspose data build`: copy a dataset into a few large files, for training on many machines and for TFDS."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inspose_jax.cli import arguments
from inspose_jax.errors import UserError

MOST = {"shards": 100_000, "workers": 1024}  # more would be a mistake
Count = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")]


@dataclass
class Build:
    """Build a dataset: images and labels in a few large ArrayRecord files, which TFDS reads too.

    Example: inspose data build --images drawn/images --annotations drawn/annotations.json --out built
    """

    images: Path
    """Folder of images."""
    annotations: Path
    """COCO keypoint JSON."""
    out: Path
    """A new or empty folder."""
    val_images: arguments.Place = None
    """Folder of images for a second split, `validation` .."""
    val_annotations: arguments.Place = None
    """.. and its COCO keypoint JSON."""
    skeleton: Annotated[str, tyro.conf.arg(metavar="PRESET|JSON")] = "coco"
    """The joints: coco, crowdpose, or a JSON file."""
    only_labelled: bool = False
    """Leave out images without a person who has a labelled joint."""
    shards: Count = None
    """Number of files for each split; by default one for every 1000 images."""
    workers: Count = None
    """Number of threads that check the images; by default one for each processor."""


def run(argv: list[str]) -> None:
    """Build the dataset and print the folder that TFDS reads."""
    launch, _ = arguments.parse(Build, argv, "data build")
    for name, most in MOST.items():
        value = getattr(launch, name)
        if value is not None and not 1 <= value <= most:
            raise UserError(f"--{name} is {value}; it must be 1 to {most}")
    if (launch.val_images is None) != (launch.val_annotations is None):
        raise UserError("--val-images and --val-annotations go together: give the folder and its COCO keypoint JSON")

    import os

    from tqdm import tqdm

    from inspose_jax import skeletons
    from inspose_jax.data import tfds_builder
    from inspose_jax.data.coco import CocoFolder

    skeleton = skeletons.read(launch.skeleton)
    # Joints are stored as they stand in the file; whoever trains from it adds `joint_pixel_offset`.
    sources = {"train": CocoFolder(launch.images, launch.annotations, skeleton, 0.0)}
    if launch.val_images and launch.val_annotations:
        sources["validation"] = CocoFolder(launch.val_images, launch.val_annotations, skeleton, 0.0)
    number = sum(source.is_labelled.sum() if launch.only_labelled else len(source) for source in sources.values())
    with tqdm(total=int(number), desc="building", unit="image", dynamic_ncols=True) as bar:
        folder = tfds_builder.build(
            launch.out,
            sources,
            launch.only_labelled,
            launch.shards,
            launch.workers or os.cpu_count() or 1,
            bar.update,
        )
    print(folder)

"""`inspose data build`: copy a dataset into a few large files, for training on many machines and for TFDS."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inspose_jax.cli import arguments

MOST_SHARDS = 100_000  # of a split; more would be a mistake


@dataclass
class Build:
    """Build a dataset: images and labels in a few large ArrayRecord files, which TFDS reads too.

    Example: inspose data build --data drawn --out built
    """

    out: Path
    """A new or empty folder."""
    data: arguments.Place = None
    """Annotated images: a file or folder of any kind that docs/data.md lists."""
    images: arguments.Place = None
    """Instead of --data: the folder of images .."""
    annotations: arguments.Place = None
    """.. and their COCO keypoint JSON."""
    val_data: arguments.Place = None
    """The images of a second split, `val`; may be the same folder, if it has a part for each."""
    val_images: arguments.Place = None
    """Instead of --val-data: the folder of images .."""
    val_annotations: arguments.Place = None
    """.. and their COCO keypoint JSON."""
    category: arguments.Category = ""
    """The category to take, if several have joints."""
    skeleton: Annotated[str, tyro.conf.arg(metavar="PRESET|JSON")] = "data"
    """The joints: a preset, a JSON file, or data: those of the data."""
    only_labelled: bool = False
    """Leave out images without a person who has a labelled joint."""
    shards: arguments.Count = None
    """Number of files for each split; by default one for every 1000 images."""
    workers: arguments.Count = None
    """Number of threads that check the images; by default one for each processor."""


def run(argv: list[str]) -> None:
    """Build the dataset and print the folder that TFDS reads."""
    launch, _ = arguments.parse(Build, argv, "data build")
    arguments.check_range("shards", launch.shards, 1, MOST_SHARDS)
    workers = arguments.num_workers(launch.workers)

    from tqdm import tqdm

    from inspose_jax import skeletons
    from inspose_jax.cli import sources
    from inspose_jax.data import tfds_builder
    from inspose_jax.data.pipeline import StoredSource

    given = {"train": sources.Given(launch.data, launch.images, launch.annotations, "train", launch.category)}
    if launch.val_data or launch.val_images or launch.val_annotations:
        given["val"] = sources.Given(launch.val_data, launch.val_images, launch.val_annotations, "val", launch.category)
    skeleton = skeletons.read(launch.skeleton)
    # Joints are stored as they stand in the file; whoever trains from it adds `joint_pixel_offset`.
    splits: dict[str, StoredSource] = {
        split: sources.annotated(one, skeleton, 0.0, with_masks=True) for split, one in given.items()
    }
    if "val" in splits:
        sources.warn_if_same(splits["train"], splits["val"])
    number = sum(source.is_labelled.sum() if launch.only_labelled else len(source) for source in splits.values())
    with tqdm(total=int(number), desc="building", unit="image", dynamic_ncols=True) as bar:
        folder = tfds_builder.build(launch.out, splits, launch.only_labelled, launch.shards, workers, bar.update)
    print(folder)

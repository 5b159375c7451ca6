"""`inspose data build`: copy a dataset into a few large files, for training on many machines and for TFDS."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from inspose_jax.cli import arguments
from inspose_jax.errors import UserError

MOST = {"shards": 100_000, "workers": 1024}  # more would be a mistake
Count = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")]


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
    """The images of the split `val`, if they are not a part of --data."""
    val_images: arguments.Place = None
    """Instead of --val-data: the folder of images .."""
    val_annotations: arguments.Place = None
    """.. and their COCO keypoint JSON."""
    splits: Annotated[
        tuple[Literal["train", "val", "test"], ...],
        tyro.conf.arg(metavar="train|val|test ..", help_behavior_hint=""),
    ] = ()
    """Which parts of --data to build; by default all that it has."""
    category: arguments.Category = ""
    """The category to take, if several have joints."""
    skeleton: Annotated[str, tyro.conf.arg(metavar="PRESET|JSON")] = "data"
    """The joints: a preset, a JSON file, or data: those of the data."""
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

    import os

    from tqdm import tqdm

    from inspose_jax import files, skeletons
    from inspose_jax.cli import sources
    from inspose_jax.data import tfds_builder
    from inspose_jax.data.pipeline import StoredSource

    files.refuse_filled(launch.out)
    given = given_splits(launch)
    skeleton = skeletons.read(launch.skeleton)
    splits: dict[str, StoredSource] = {}
    for split, one in given.items():
        try:
            # Joints are stored as they stand in the file; whoever trains from it adds `joint_pixel_offset`.
            splits[split] = sources.annotated(one, skeleton, 0.0, with_masks=True)
        except UserError as error:
            others = [name for name in given if name != split and given[name].data == launch.data]
            if launch.splits or one.data != launch.data or not others:
                raise
            raise UserError(f"{error}; or build without this part: --splits {' '.join(others)}") from None
    if "train" in splits and "val" in splits:
        sources.warn_if_same(splits["train"], splits["val"])
    number = sum(source.is_labelled.sum() if launch.only_labelled else len(source) for source in splits.values())
    workers = launch.workers or os.cpu_count() or 1
    with tqdm(total=int(number), desc="building", unit="image", dynamic_ncols=True) as bar:
        folder = tfds_builder.build(launch.out, splits, launch.only_labelled, launch.shards, workers, bar.update)
    print(folder)


def given_splits(launch: Build) -> dict[str, Any]:
    """What to build, as `sources.Given`, by the name of its split."""
    from inspose_jax.cli import sources

    own_val = bool(launch.val_data or launch.val_images or launch.val_annotations)
    names: list[Any] = ["train"]
    if launch.data and not (launch.images or launch.annotations):
        known = launch.splits or sources.splits(launch.data)
        names = [name for name in known if not (own_val and name == "val")] or names
    elif launch.splits:
        raise UserError("--splits chooses parts of --data; --images and --annotations are one part, train")
    train = sources.Given(launch.data, launch.images, launch.annotations, "train", launch.category)
    given = {name: train._replace(split=name) for name in names}
    if own_val:
        given["val"] = sources.Given(launch.val_data, launch.val_images, launch.val_annotations, "val", launch.category)
    return {name: given[name] for name in ("train", "val", "test") if name in given}

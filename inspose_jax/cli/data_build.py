"""`inspose data build`: copy a dataset into a few large files, for training on many machines and for TFDS."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from inspose_jax.cli import arguments
from inspose_jax.data.splits import WORDS, Split
from inspose_jax.errors import UserError

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
    """The images of the split `val`, if they are not a part of --data."""
    val_images: arguments.Place = None
    """Instead of --val-data: the folder of images .."""
    val_annotations: arguments.Place = None
    """.. and their COCO keypoint JSON."""
    splits: Annotated[
        tuple[arguments.SplitOf, ...],
        tyro.conf.arg(metavar="train|val|test ..", help_behavior_hint=""),
    ] = ()
    """Which parts of --data to build; by default all that it has."""
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
            # Without the part for training a set is rarely wanted, so that leaving it out is no advice.
            if launch.splits or one.data != launch.data or not others or split == "train":
                raise
            raise UserError(f"{error}; or build without this part: --splits {' '.join(others)}") from None
    if "train" in splits and "val" in splits:
        sources.warn_if_same(splits["train"], splits["val"])
    number = sum(source.is_labelled.sum() if launch.only_labelled else len(source) for source in splits.values())
    with tqdm(total=int(number), desc="building", unit="image", dynamic_ncols=True) as bar:
        folder = tfds_builder.build(launch.out, splits, launch.only_labelled, launch.shards, workers, bar.update)
    print(folder)


def given_splits(launch: Build) -> dict[Split, arguments.Given]:
    """The options that name what to build, by its split."""
    from inspose_jax.cli import sources

    own_val = bool(launch.val_data or launch.val_images or launch.val_annotations)
    names: list[Split] = ["train"]
    if launch.data and not (launch.images or launch.annotations):
        known = launch.splits or sources.splits(launch.data)
        names = [name for name in known if not (own_val and name == "val")]
        names = names or ([] if launch.splits else ["train"])
    elif launch.splits:
        raise UserError("--splits chooses parts of --data; --images and --annotations are one part, train")
    train = arguments.Given(launch.data, launch.images, launch.annotations, "train", launch.category)
    given = {name: replace(train, split=name) for name in names}
    if own_val:
        val = (launch.val_data, launch.val_images, launch.val_annotations)
        given["val"] = arguments.Given(*val, "val", launch.category)
    return {name: given[name] for name in WORDS if name in given}

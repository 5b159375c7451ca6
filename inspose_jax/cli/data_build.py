"""`inspose data build`: copy a dataset into a few large files, for training on many machines and for TFDS."""

from dataclasses import dataclass
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
    given: arguments.GivenParts = arguments.OF_NOTHING
    splits: Annotated[
        tuple[arguments.SplitOf, ...],
        tyro.conf.arg(metavar="train|val|test ..", help_behavior_hint=""),
    ] = ()
    """Which parts of --data to build; by default all that it has."""
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
            others = [name for name in given if name != split and given[name].data == launch.given.data]
            # Without the part for training a set is rarely wanted, so that leaving it out is no advice.
            if launch.splits or one.data != launch.given.data or not others or split == "train":
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

    train, val = launch.given.train(), launch.given.val()
    names: list[Split] = ["train"]
    if train.data and not (train.images or train.annotations):
        known = launch.splits or sources.splits(train.data)
        names = [name for name in known if not (val and name == "val")]
        names = names or ([] if launch.splits else ["train"])
    elif launch.splits:
        raise UserError("--splits chooses parts of --data; --images and --annotations are one part, train")
    given = {name: launch.given.train(name) for name in names}
    if val:
        given["val"] = val
    return {name: given[name] for name in WORDS if name in given}

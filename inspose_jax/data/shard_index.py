"""The index of a built set: one file a split, beside the shards, with what a run must know before its first record."""

import dataclasses
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64

from inspose_jax import skeletons
from inspose_jax.errors import NotFound, UserError
from inspose_jax.skeletons import Skeleton
from inspose_jax.structures import Record

FORMAT = 1
NAME = "index-{}.npz"  # of a split
BUILD_AGAIN = "build it again with `inspose data build`"


class Shard(NamedTuple):
    """A file of records."""

    name: str  # in the folder of the index
    num_records: int
    num_bytes: int


class People(NamedTuple):
    """The labels of one image, as in `Record`."""

    keypoints: Float32[np.ndarray, "N K 3"]
    boxes_xyxy: Float32[np.ndarray, "N 4"]
    area: Float32[np.ndarray, " N"]
    is_crowd: Bool[np.ndarray, " N"]


class Index(NamedTuple):
    """What stands in an index apart from the labels, which are read only when they are asked for."""

    path: Path
    shards: tuple[Shard, ...]  # in the order of the images
    skeleton: Skeleton
    joint_pixel_offset: float  # what has been added to joints that are indices of pixels
    image_ids: Int64[np.ndarray, " n"]
    sizes: Int32[np.ndarray, "n 2"]
    is_labelled: Bool[np.ndarray, " n"]
    has_people: Bool[np.ndarray, " n"]


class Contents:
    """Collects the labels of records while they are written, for `write`; the image files are not kept."""

    def __init__(self):
        self.image_ids: list[int] = []
        self.sizes: list[tuple[int, int]] = []
        self.file_names: list[str] = []
        self.people: list[People] = []

    def add(self, record: Record) -> None:
        """Add the next record."""
        self.image_ids.append(record.image_id)
        self.sizes.append(record.size)
        self.file_names.append(record.file_name)
        self.people.append(People(record.keypoints, record.boxes_xyxy, record.area, record.is_crowd))


def write(
    folder: Path,
    split: str,
    contents: Contents,
    shards: Sequence[Shard],
    skeleton: Skeleton,
    joint_pixel_offset: float,
    is_labelled: Bool[np.ndarray, " n"],
    has_people: Bool[np.ndarray, " n"],
) -> None:
    """Write the index of a split into the folder of its shards."""
    about = {
        "format": FORMAT,
        "shards": shards,
        "skeleton": dataclasses.asdict(skeleton),
        "joint_pixel_offset": joint_pixel_offset,
    }
    arrays = {
        "about": as_bytes(about),
        "file_names": as_bytes(contents.file_names),
        "image_ids": np.array(contents.image_ids, np.int64),
        "sizes": np.array(contents.sizes, np.int32),
        "is_labelled": is_labelled,
        "has_people": has_people,
        "num_people": np.array([len(people.area) for people in contents.people], np.int32),
    }
    for place, field in enumerate(People._fields):
        arrays[field] = np.concatenate([people[place] for people in contents.people])
    np.savez(folder / NAME.format(split), allow_pickle=False, **arrays)


def as_bytes(value: Any) -> np.ndarray:
    """A value as JSON, in an array that needs no pickling."""
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def splits(folder: Path) -> list[str]:
    """The names of the splits in a folder that have an index."""
    before, after = NAME.split("{}")
    return sorted(path.name.removeprefix(before).removesuffix(after) for path in folder.glob(NAME.format("*")))


def read(folder: Path, split: str) -> Index:
    """Read the index of a split, and compare the sizes of its shards.

    Raises NotFound if there is no such split or a shard is missing, and UserError if a file is damaged or cut off.
    """
    path = folder / NAME.format(split)
    if not path.is_file():
        known = splits(folder)
        raise NotFound(
            f"{folder}: has no split {split}; it has {', '.join(known)}"
            if known
            else f"{folder}: a dataset of TFDS that `inspose data build` did not write, or not to its end (there is no "
            f"{path.name}); {BUILD_AGAIN}"
        )
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            about = json.loads(arrays["about"].tobytes())
            if about["format"] != FORMAT:
                raise UserError(
                    f"{folder}: was built in format {about['format']}, and this version reads {FORMAT}; update this "
                    f"package, or {BUILD_AGAIN}"
                )
            shards = tuple(Shard(*shard) for shard in about["shards"])
            skeleton = skeletons.from_json(about["skeleton"], path)
            known = {name: arrays[name] for name in ("image_ids", "sizes", "is_labelled", "has_people")}
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise damaged(path, error) from None
    for shard in shards:
        file = folder / shard.name
        if not file.is_file():
            raise NotFound(f"{file}: no such file, but {path.name} lists it; copy it here, or {BUILD_AGAIN}")
        if (size := file.stat().st_size) != shard.num_bytes:
            raise UserError(f"{file}: has {size} bytes instead of {shard.num_bytes}; is it cut off? {BUILD_AGAIN}")
    return Index(path, shards, skeleton, about["joint_pixel_offset"], **known)


def damaged(path: Path, error: Exception) -> UserError:
    """The error for a file that cannot be read."""
    return UserError(f"{path}: cannot be read ({type(error).__name__}: {error}); is it damaged? {BUILD_AGAIN}")


def labels(path: Path) -> tuple[list[str], Iterator[People]]:
    """The names of the image files, and everybody's labels image after image, of an index file.

    Raises UserError if the file is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            ends = np.cumsum(arrays["num_people"])[:-1]
            fields = [arrays[field] for field in People._fields]
            names = json.loads(arrays["file_names"].tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise damaged(path, error) from None
    starts, stops = [0, *ends.tolist()], [*ends.tolist(), len(fields[0])]
    return names, (People(*(f[a:b] for f in fields)) for a, b in zip(starts, stops, strict=True))

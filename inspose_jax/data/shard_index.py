"""The index of a built set: one file a split, beside the shards, with what a run must know before its first record."""

import dataclasses
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Int64

from inspose_jax import skeletons
from inspose_jax.errors import NotFound, UserError
from inspose_jax.skeletons import Skeleton
from inspose_jax.structures import Record

FORMAT = 1
INFO, NAME = "dataset_info.json", "index-{}.npz"  # what TFDS writes about all splits, and the index of one
BUILD_AGAIN = "build it again with `inspose data build`"


class Shard(NamedTuple):
    """A file of records."""

    name: str  # in the folder of the index
    num_records: int
    num_bytes: int


class Stored(NamedTuple):
    """The labels of a split; the P people of all images follow each other in the order of the images."""

    file_names: list[str]
    ends: Int64[np.ndarray, " n"]  # the first person behind those of each image
    keypoints: Float32[np.ndarray, "P K 3"]  # as in `Record`, as the others
    boxes_xyxy: Float32[np.ndarray, "P 4"]
    area: Float32[np.ndarray, " P"]
    is_crowd: Bool[np.ndarray, " P"]


FIELDS = ("keypoints", "boxes_xyxy", "area", "is_crowd")  # of `Record` and `Stored`
DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)  # what reading a damaged file raises


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
    num_people: int
    crowd_index: Float[np.ndarray, " n"] | None  # f64, NaN where unknown; None if it is unknown everywhere


def write(
    folder: Path,
    split: str,
    records: Sequence[Record],
    shards: Sequence[Shard],
    skeleton: Skeleton,
    joint_pixel_offset: float,
    is_labelled: Bool[np.ndarray, " n"],
    has_people: Bool[np.ndarray, " n"],
) -> None:
    """Write the index of a split into the folder of its shards; no image of the records is looked at."""
    about = {
        "format": FORMAT,
        "shards": shards,
        "skeleton": dataclasses.asdict(skeleton),
        "joint_pixel_offset": joint_pixel_offset,
    }
    arrays = {
        "about": as_bytes(about),
        "file_names": as_bytes([record.file_name for record in records]),
        "image_ids": np.array([record.image_id for record in records], np.int64),
        "sizes": np.array([record.size for record in records], np.int32),
        "is_labelled": is_labelled,
        "has_people": has_people,
        "num_people": np.array([len(record.area) for record in records], np.int32),
    }
    crowd_index = np.array([record.crowd_index for record in records], np.float64)  # None becomes NaN
    if not np.isnan(crowd_index).all():
        arrays["crowd_index"] = crowd_index
    for field in FIELDS:
        arrays[field] = np.concatenate([getattr(record, field) for record in records])
    np.savez(folder / NAME.format(split), allow_pickle=False, **arrays)


def as_bytes(value: Any) -> np.ndarray:
    """A value as JSON, in an array that needs no pickling."""
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def splits(folder: Path) -> list[str]:
    """The names of the splits in a folder that TFDS wrote; raises NotFound or UserError if it has no description."""
    path = folder / INFO
    if not path.is_file():
        raise NotFound(f"{path}: no such file, so that {folder} is no whole dataset; {BUILD_AGAIN}")
    try:
        return [split["name"] for split in json.loads(path.read_text())["splits"]]
    except DAMAGE as error:
        raise damaged(path, error) from None


def read(folder: Path, split: str) -> Index:
    """Read the index of a split, and compare the sizes of its shards.

    Raises NotFound if there is no such split or a file is missing, and UserError if a file is damaged or cut off.
    """
    if split not in (known := splits(folder)):
        raise NotFound(f"{folder}: has no split {split}; it has {', '.join(known)}")
    path = folder / NAME.format(split)
    if not path.is_file():
        raise NotFound(
            f"{folder}: a dataset of TFDS that `inspose data build` did not write, or not to its end (there is no "
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
            known["num_people"] = int(arrays["num_people"].sum())
            known["crowd_index"] = arrays.get("crowd_index")  # which earlier versions did not write
    except UserError:
        raise
    except DAMAGE as error:
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


def people(path: Path) -> Stored:
    """The labels in an index file; raises UserError if it is damaged."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            names, ends = json.loads(arrays["file_names"].tobytes()), np.cumsum(arrays["num_people"], dtype=np.int64)
            return Stored(names, ends, *(arrays[field] for field in FIELDS))
    except DAMAGE as error:
        raise damaged(path, error) from None

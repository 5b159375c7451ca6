"""A built set as a source: images and labels from the ArrayRecord shards that `inspose data build` wrote.

TFDS can read the same folder; here its records are read and parsed directly, which takes less time for each of them.
"""

from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from google.protobuf.message import DecodeError
from jaxtyping import Float32

from inspose_jax import paths
from inspose_jax.config import Data
from inspose_jax.data import labels, masks, shard_index, tf_example
from inspose_jax.data.annotations import Dataset
from inspose_jax.data.image_facts import Files
from inspose_jax.data.image_files import decode_annotated, refuse_other_size
from inspose_jax.errors import NotFound, UserError
from inspose_jax.structures import Record, Sample

DEPTH = ("*", "*", "*")  # folders of name, config and version, below the one that was given to `build`


def is_built(path: Path) -> bool:
    """Whether a path is a folder that TFDS wrote, whole or damaged; `BuiltSet` names what is wrong with it."""
    return bool(version_folders(paths.expanded(path)))


def version_folders(path: Path) -> list[Path]:
    """The folders of shards at or below a path: itself, or those of its configs and versions."""
    names = (shard_index.INFO, shard_index.NAME.format("*"))
    here = [path] if any(any(path.glob(name)) for name in names) else []
    return here or sorted({found.parent for name in names for found in path.glob("/".join((*DEPTH, name)))})


def version_folder(path: Path) -> Path:
    """The one folder of shards at or below a path; raises NotFound if there is none, or more than one."""
    folders = version_folders(path)
    if len(folders) != 1:
        known = (
            f"it holds {', '.join(map(str, folders))}; give one of them"
            if folders
            else ("give the folder that `inspose data build` printed")
        )
        raise NotFound(f"{path}: not a built set; {known}")
    return folders[0]


class BuiltSet:
    """A source over a split of a built set: `path` is the folder that `build` was given, or the one that it printed.

    A set of one split has it under any name, as a folder with one annotation file has.

    Joints that are indices of pixels get `joint_pixel_offset`, as in `CocoFolder`; samples have masks if `with_masks`.
    It can be pickled, and read from threads and from forked processes.  Raises NotFound or UserError if the set is
    incomplete or damaged.
    """

    def __init__(
        self,
        path: Path,
        split: str = "train",
        joint_pixel_offset: float = Data().joint_pixel_offset,
        with_masks: bool = False,
    ):
        path = paths.expanded(path).absolute()  # records are read later, when the working directory may have changed
        self.folder = self.name = version_folder(path)  # the latter as a `CocoFolder` calls it
        known = shard_index.splits(self.folder)
        self.split = known[0] if len(known) == 1 else split
        self.joint_pixel_offset, self.with_masks = joint_pixel_offset, with_masks
        self.index = shard_index.read(self.folder, self.split)
        self.skeleton = self.index.skeleton
        self.image_ids, self.sizes = self.index.image_ids, self.index.sizes
        self.is_labelled, self.has_people = self.index.is_labelled, self.index.has_people
        # With the number of records in its name no file is opened before it is needed.
        shards = [f"{self.folder / shard.name}[0:{shard.num_records}]" for shard in self.index.shards]
        self.records = ArrayRecordDataSource(shards)

    def __len__(self) -> int:
        return len(self.image_ids)

    def image_folders(self) -> set[Path]:
        """The folder that holds its images."""
        return {self.folder}

    def file_name(self, index: int) -> str:
        """The name that the file of an image had."""
        return self.record(index).file_name

    def record(self, index: int) -> Record:
        """Image `index` as it is stored; raises UserError if its record is damaged."""
        try:
            features = tf_example.parse(self.records[int(index)])
            record = record_of(features, self.skeleton.num_keypoints)
        except (RuntimeError, DecodeError, KeyError, ValueError) as error:
            raise UserError(
                f"{self.folder}: record {index} of {self.split} cannot be read ({type(error).__name__}: {error}); is "
                f"the file damaged? {shard_index.BUILD_AGAIN}"
            ) from None
        if record.image_id != self.image_ids[index]:
            raise UserError(
                f"{self.folder}: record {index} of {self.split} is image {record.image_id}, and the index says "
                f"{self.image_ids[index]}; are the files of one build? {shard_index.BUILD_AGAIN}"
            )
        crowded = self.index.crowd_index
        crowd_index = None if crowded is None or np.isnan(crowded[index]) else float(crowded[index])
        return record._replace(keypoints=self.moved(record.keypoints), crowd_index=crowd_index)

    def files(self) -> Files:
        """How to read the image file of each record, by its place in `dataset`."""
        stored = shard_index.people(self.index.path)
        starts = np.concatenate([[0], stored.ends[:-1]]).tolist()
        people = [slice(*ends) for ends in zip(starts, stored.ends.tolist(), strict=True)]
        images = self.dataset().images
        return {
            images / name: partial(self.file, index, stored, people[index])
            for index, name in enumerate(stored.file_names)
        }

    def file(self, index: int, stored: shard_index.Stored, people: slice) -> bytes:
        """The image file of a record; raises UserError if the record is damaged, or if its labels are others.

        `stored` are the labels in the index, of which those of `people` must be those of the image: an evaluation takes
        the ones, training the others.
        """
        record = self.record(index)
        of_image = stored._replace(**{field: getattr(stored, field)[people] for field in shard_index.FIELDS})
        of_image = of_image._replace(keypoints=self.moved(of_image.keypoints))
        if not all(np.array_equal(getattr(record, name), getattr(of_image, name)) for name in shard_index.FIELDS):
            raise UserError(
                f"{self.folder}: record {index} of {self.split} has other labels than the index; are the files of one "
                f"build? {shard_index.BUILD_AGAIN}"
            )
        return record.image

    def dataset(self) -> Dataset:
        """The labels as `inspose data check` takes them; image files lie in a folder that is named like the split."""
        (category,) = self.truth["categories"]
        category = category | {
            "flip_pairs": [list(pair) for pair in self.skeleton.flip_pairs]
        }  # the set states its pairs
        return Dataset(self.truth | {"categories": [category]}, self.folder / self.split, self.skeleton)

    def __getitem__(self, index: int) -> Sample:
        record = self.record(index)
        sample = sample_of(record, f"{self.folder}: {record.file_name}")
        return sample._replace(masks=masks.stacked(record.masks, record.size)) if self.with_masks else sample

    def moved(self, keypoints: Float32[np.ndarray, "N K 3"]) -> Float32[np.ndarray, "N K 3"]:
        """The stored joints with this source's `joint_pixel_offset` instead of the one that they were stored with."""
        by = np.float32(self.joint_pixel_offset - self.index.joint_pixel_offset)
        if not by:
            return keypoints
        moved = np.where(keypoints[..., 2:] > 0, keypoints[..., :2] + by, 0)
        return np.concatenate([moved, keypoints[..., 2:]], -1)

    def labels_hash(self) -> str:
        """A hash of everybody's joints, boxes, areas and crowd flags: that of the `CocoFolder` it was built from."""
        stored = shard_index.people(self.index.path)
        starts = np.concatenate([[0], stored.ends[:-1]])
        moved = stored._replace(keypoints=self.moved(stored.keypoints))
        fields = (moved.keypoints, moved.boxes_xyxy, moved.area, moved.is_crowd)
        each = zip(starts.tolist(), stored.ends.tolist(), strict=True)
        return labels.hash_of(tuple(field[start:end] for field in fields) for start, end in each)

    def ground_truth(self) -> dict[str, Any]:
        """The labels as the content of a COCO file."""
        return self.truth

    @cached_property
    def truth(self) -> dict[str, Any]:
        """The cached result of `ground_truth`."""
        stored = shard_index.people(self.index.path)
        as_in_file = stored.keypoints.astype(np.float64)
        as_in_file[..., :2] -= self.index.joint_pixel_offset * (as_in_file[..., 2:] > 0)
        x0_y0, x1_y1 = np.split(stored.boxes_xyxy.astype(np.float64), 2, axis=1)
        content = labels.ground_truth(
            labels.Labels(
                self.image_ids,
                self.sizes,
                stored.file_names,
                stored.ends,
                as_in_file,
                np.concatenate([x0_y0, x1_y1 - x0_y0], 1),
                stored.area.astype(np.float64),
                stored.is_crowd,
                segmentations=[],
            )
        )
        crowded = self.index.crowd_index
        if crowded is not None and not np.isnan(crowded).any():
            for image, crowd_index in zip(content["images"], crowded.tolist(), strict=True):
                image["crowdIndex"] = crowd_index
        return content


def record_of(features: dict[str, np.ndarray], num_keypoints: int) -> Record:
    """The record that the features of `tfds_builder.example_of` hold; KeyError or ValueError if they are others."""
    counts, size = features["people/mask"].tolist(), tuple(features["size"].tolist())
    joints = features["people/joints"].reshape(-1, num_keypoints, 2)
    visibility = features["people/visibility"].reshape(-1, num_keypoints, 1).astype(np.float32)
    return Record(
        image=features["image"].item(),
        file_name=features["file_name"].item().decode(),
        image_id=features["image_id"].item(),
        size=size,
        keypoints=np.concatenate([joints, visibility], -1),
        boxes_xyxy=features["people/box"].reshape(-1, 4),
        area=features["people/area"],
        is_crowd=features["people/is_crowd"].astype(bool),
        masks=tuple({"size": list(size), "counts": one.decode()} if one else None for one in counts),
    )


def sample_of(record: Record, name: str) -> Sample:
    """Decode the image of a record; UserError, which calls it `name`, if that fails or its size is another."""
    image = decode_annotated(record.image, name, record.size)
    refuse_other_size(image, record.size, name)
    return Sample(image, record.keypoints, record.boxes_xyxy, record.area, record.is_crowd, image_id=record.image_id)

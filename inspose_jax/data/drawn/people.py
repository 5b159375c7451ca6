"""Drawn people as a source: an endless supply of images with known joints, generated from a seed."""

import hashlib
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from inspose_jax.config import Data, Scene
from inspose_jax.data import coco
from inspose_jax.data.drawn.scene import draw
from inspose_jax.data.splits import WORDS, Split
from inspose_jax.errors import UserError
from inspose_jax.skeletons import COCO, Skeleton
from inspose_jax.structures import Record, Sample


class DrawnPeople:
    """A source of drawn images with random access; split, seed and index determine the image."""

    def __init__(
        self,
        scene: Scene,
        split: Split,
        seed: int,
        count: int,
        joint_pixel_offset: float = Data().joint_pixel_offset,
        skeleton: Skeleton = COCO,
        with_masks: bool = False,
    ):
        """Images 0 to `count` - 1 of a split; `joint_pixel_offset` is subtracted from the joints in `ground_truth`.

        With `with_masks` samples have everybody's mask.

        The joints are those of `skeleton`, matched to COCO's by name; raises UserError if one is not among them.
        """
        self.scene, self.seed, self.count, self.joint_pixel_offset = scene, seed, count, joint_pixel_offset
        self.skeleton, self.joints, self.with_masks = skeleton, joints_of(skeleton), with_masks
        self.split: Split = split
        self.sizes = np.full((count, 2), scene.size, np.int32)
        self.is_labelled = self.has_people = np.ones(count, bool)  # empty images too, since they teach the background
        self.image_ids = np.arange(count)

    def __len__(self) -> int:
        """Number of images."""
        return self.count

    def __getitem__(self, index: int) -> Sample:
        """Draw image `index`."""
        sample = draw(self.scene, split_seed(self.split, self.seed, int(index)), self.with_masks)
        return sample._replace(keypoints=sample.keypoints[:, self.joints])

    def record(self, index: int) -> Record:
        """Image `index` as a dataset stores it, as a PNG file, from which the same pixels are read."""
        sample = self[index]
        _, file = cv2.imencode(".png", cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR))
        people = (sample.keypoints, sample.boxes_xyxy, sample.area, sample.is_crowd)
        name, size = f"{index:012d}.png", sample.image.shape[:2]
        return Record(file.tobytes(), name, int(index), size, *people, masks=(None,) * len(sample.area))

    def labels_hash(self) -> str:
        """A hash of everything that determines the labels."""
        known = (self.scene, self.split, self.seed, self.count)
        if self.skeleton != COCO:  # the default is left out
            known = (*known, self.skeleton)
        return hashlib.sha256(repr(known).encode()).hexdigest()[:12]

    def ground_truth(self) -> dict[str, Any]:
        """The labels as the content of a COCO file; visibility needs the pixels, so every image is drawn, once."""
        return self.truth

    @cached_property
    def truth(self) -> dict[str, Any]:
        """The cached result of `ground_truth`."""
        return coco.ground_truth_of(map(self.__getitem__, range(len(self))), self.skeleton, self.joint_pixel_offset)


def joints_of(skeleton: Skeleton) -> list[int]:
    """The indices of a skeleton's joints among the drawn ones, which are COCO's; raises UserError for any other."""
    unknown = [name for name in skeleton.keypoint_names if name not in COCO.keypoint_names]
    if unknown:
        raise UserError(
            f"drawn people have no joint {', '.join(unknown)} of the skeleton {skeleton.name}; they have "
            f"{', '.join(COCO.keypoint_names)}"
        )
    return [COCO.keypoint_names.index(name) for name in skeleton.keypoint_names]


def split_seed(split: Split, seed: int, index: int) -> tuple[int, int, int]:
    """The seed of image `index` of a split; different splits never share a seed."""
    return list(WORDS).index(split), seed, index

"""Drawn people as a source: endless images with known joints, made from a seed, to learn from and test with."""

import hashlib
from functools import cached_property
from typing import Any, Literal

import numpy as np

from inspose_jax.config import Data, Scene
from inspose_jax.data import coco
from inspose_jax.data.drawn.scene import draw
from inspose_jax.errors import UserError
from inspose_jax.skeletons import COCO, Skeleton
from inspose_jax.structures import Sample

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class DrawnPeople:
    """A source of drawn pictures: random access, the same picture for the same place in the same split and seed."""

    def __init__(
        self,
        scene: Scene,
        split: Split,
        seed: int,
        count: int,
        joint_pixel_offset: float = Data().joint_pixel_offset,
        skeleton: Skeleton = COCO,
    ):
        """Images 0 to `count` - 1 of a split; the offset is what a COCO file's joints lie below ours.

        The joints are those of `skeleton`, found by their names among COCO's; UserError where one is none of them.
        """
        self.scene, self.seed, self.count, self.joint_pixel_offset = scene, seed, count, joint_pixel_offset
        self.skeleton, self.joints = skeleton, joints_of(skeleton)
        self.split: Split = split
        self.sizes = np.full((count, 2), scene.size, np.int32)
        self.is_labelled = np.ones(count, bool)  # also the empty ones: they teach what is nobody
        self.image_ids = np.arange(count)

    def __len__(self) -> int:
        """Number of pictures."""
        return self.count

    def __getitem__(self, index: int) -> Sample:
        """Draw picture `index`."""
        sample = draw(self.scene, split_seed(self.split, self.seed, int(index)))
        return sample._replace(keypoints=sample.keypoints[:, self.joints])

    def labels_hash(self) -> str:
        """A hash of all that the labels follow from."""
        known = (self.scene, self.split, self.seed, self.count)
        if self.skeleton != COCO:  # which goes without saying
            known = (*known, self.skeleton)
        return hashlib.sha256(repr(known).encode()).hexdigest()[:12]

    def ground_truth(self) -> dict[str, Any]:
        """The labels as the content of a COCO file; they are what can be seen, so every image is drawn, once."""
        return self.truth

    @cached_property
    def truth(self) -> dict[str, Any]:
        """What `ground_truth` tells, from the first time on."""
        return coco.ground_truth_of(map(self.__getitem__, range(len(self))), self.skeleton, self.joint_pixel_offset)


def joints_of(skeleton: Skeleton) -> list[int]:
    """Where the joints of a skeleton stand among those that are drawn, COCO's."""
    unknown = [name for name in skeleton.keypoint_names if name not in COCO.keypoint_names]
    if unknown:
        raise UserError(
            f"drawn people have no joint {', '.join(unknown)} of the skeleton {skeleton.name}; they have "
            f"{', '.join(COCO.keypoint_names)}"
        )
    return [COCO.keypoint_names.index(name) for name in skeleton.keypoint_names]


def split_seed(split: Split, seed: int, index: int) -> tuple[int, int, int]:
    """The seed of picture `index` of a split; those of different splits never meet."""
    return SPLITS.index(split), seed, index

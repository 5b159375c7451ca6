"""Make a dataset of your own source: anything with `__len__`, `__getitem__` -> `Sample`, and `skeleton`."""

from collections import Counter
from typing import Any, Protocol, runtime_checkable

import numpy as np

from inspose_jax.config import Data
from inspose_jax.data import coco, labels
from inspose_jax.errors import UserError
from inspose_jax.skeletons import Skeleton, fault
from inspose_jax.structures import Sample, is_target


@runtime_checkable
class Samples(Protocol):
    """What a source of your own needs; samples are asked for in any order, from several threads, again and again."""

    skeleton: Skeleton

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


class Labelled:
    """A `LabelledSource` over your own source, of which every sample is read once to learn its size and labels.

    The labels are kept, the images are not.  Joints are continuous pixels of the image, as in `Sample`;
    `joint_pixel_offset` must be that of the config, since results are the indices of pixels, as in COCO.  Raises
    UserError if there is no labelled person, or for the first sample that has another form than `Sample` says.
    """

    def __init__(self, source: Samples, joint_pixel_offset: float = Data().joint_pixel_offset):
        self.source, self.skeleton, self.joint_pixel_offset = source, source.skeleton, joint_pixel_offset
        if wrong := fault(self.skeleton):
            raise UserError(f"the skeleton of {type(source).__name__} is not valid: {wrong}")
        self.samples = [without_pixels(self[index]) for index in range(len(source))]
        self.image_ids = np.array([sample.image_id for sample in self.samples], np.int64)
        self.sizes = np.array([sample.image.shape[:2] for sample in self.samples], np.int32).reshape(-1, 2)
        people = [is_target(sample.keypoints, sample.is_crowd) for sample in self.samples]
        self.is_labelled = np.array([is_any.any() for is_any in people], bool)
        self.has_people = np.array([len(is_any) > 0 for is_any in people], bool)
        again = [number for number, times in Counter(self.image_ids.tolist()).items() if times > 1]
        if again:
            raise UserError(f"two samples of {type(source).__name__} have the image_id {again[0]}; give each its own")
        if not self.is_labelled.any():
            raise UserError(f"no sample of {type(source).__name__} has a person with a labelled joint (visibility > 0)")

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        return checked(self.source[index], index, self.skeleton)

    def labels_hash(self) -> str:
        """A hash of everybody's joints, boxes, areas and crowd flags."""
        return labels.hash_of(sample[1:5] for sample in self.samples)

    def ground_truth(self) -> dict[str, Any]:
        """The labels as the content of a COCO file."""
        return coco.ground_truth_of(self.samples, self.skeleton, self.joint_pixel_offset)


def checked(sample: Any, index: int, skeleton: Skeleton) -> Sample:
    """The sample with arrays of the needed types; raises UserError naming the first field of another form."""
    if not isinstance(sample, Sample):
        raise UserError(f"sample {index} is a {type(sample).__name__}; it must be an inspose_jax.structures.Sample")
    if not isinstance(sample.image, np.ndarray) or sample.image.dtype != np.uint8 or sample.image.shape[2:] != (3,):
        raise UserError(f"sample {index}: image is {described(sample.image)}; it must be u8[H,W,3], RGB")
    number = len(sample.keypoints)
    shapes = {
        "keypoints": ((number, skeleton.num_keypoints, 3), np.float32),
        "boxes_xyxy": ((number, 4), np.float32),
        "area": ((number,), np.float32),
        "is_crowd": ((number,), bool),
    }
    try:
        arrays = {name: np.asarray(getattr(sample, name), kind) for name, (_, kind) in shapes.items()}
    except (ValueError, TypeError) as error:  # lists of different lengths, or of something else than numbers
        raise UserError(f"sample {index}: {', '.join(shapes)} must be arrays of numbers ({error})") from None
    for name, (shape, _) in shapes.items():
        if arrays[name].shape != shape:
            raise UserError(
                f"sample {index}: {name} is {described(arrays[name])}; with {number} people of {skeleton.name} it must "
                f"have the shape {shape}"
            )
        if not np.isfinite(arrays[name]).all():
            raise UserError(f"sample {index}: {name} has numbers that are not finite")
    labelled = (arrays["keypoints"][..., 2] > 0).any(-1)
    if (arrays["area"][labelled] <= 0).any():
        raise UserError(f"sample {index}: area must be above 0 for everybody with a labelled joint; OKS divides by it")
    return sample._replace(image_id=int(sample.image_id), **arrays)


def described(value: Any) -> str:
    """The type and shape of what should be an array."""
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


def without_pixels(sample: Sample) -> Sample:
    """The sample without masks, and with a black image of the same size, which takes no memory."""
    return sample._replace(image=np.broadcast_to(np.uint8(0), sample.image.shape), masks=None)

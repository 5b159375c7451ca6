"""Read a COCO folder (images and one JSON file) as samples, and write samples of drawn people as a COCO folder."""

import json
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from inspose_jax import paths
from inspose_jax.data import annotations as annotation_file
from inspose_jax.data import coco_dialects, garbage, image_files, labels, masks, orientation
from inspose_jax.data.annotations import Dataset
from inspose_jax.data.labels import Labels
from inspose_jax.data.values import NOT_READ, READ_FROM
from inspose_jax.errors import NotFound, UserError
from inspose_jax.skeletons import Skeleton
from inspose_jax.structures import Record, Sample, unlabelled

LOOKED_AT = 1000  # images whose orientation is read at the start; reading all may take minutes from a slow disk


class CocoFolder:
    """A source over `images` (a folder) and `annotations` (a COCO keypoint JSON), with the labels as arrays.

    Without a `skeleton` it is the data's own.  COCO's joints are pixel indices, so `joint_pixel_offset` is added to the
    labelled ones.  The whole file is checked for everything that training and evaluation need; UserError or NotFound
    names the fault and the remedy.  With `with_masks` samples and records have everybody's mask.
    """

    def __init__(
        self,
        images: Path,
        annotations: Path,
        skeleton: Skeleton | None,
        joint_pixel_offset: float,
        category: str = "",
        with_masks: bool = False,
    ):
        images, annotations = paths.expanded(images), paths.expanded(annotations)
        dataset = annotation_file.read(images, annotations, skeleton, category)
        self.take(dataset, annotations, joint_pixel_offset, with_masks)

    @classmethod
    def of(cls, dataset: Dataset, name: Path, joint_pixel_offset: float, with_masks: bool = False) -> "CocoFolder":
        """The same source over what a reader of another kind of files returned; `name` begins error messages."""
        source = cls.__new__(cls)
        source.take(dataset, name, joint_pixel_offset, with_masks)
        return source

    @garbage.paused()
    def take(self, dataset: Dataset, name: Path, joint_pixel_offset: float, with_masks: bool) -> None:
        """Check everything and keep the labels."""
        self.name = name
        self.images = dataset.images.absolute()  # images are read later, when the working directory may have changed
        self.skeleton, self.joint_pixel_offset, self.with_masks = dataset.skeleton, joint_pixel_offset, with_masks
        self.crowd_index = coco_dialects.crowd_index(dataset.content)
        self.labels = checked(dataset, name, with_masks)
        refuse_missing(dataset.images, self.labels)
        self.image_ids, self.sizes = self.labels.image_ids, self.labels.sizes
        self.is_labelled, self.has_people = self.labels.is_labelled(), self.labels.has_people()
        if not self.is_labelled.any():
            raise UserError(f"{name}: no person has a labelled joint (visibility above 0); there is nothing to use")
        some = range(0, len(self), -(-len(self) // LOOKED_AT))
        headers = ((orientation.read_header(self.path(i)), self.size(i)) for i in some)
        if remark := orientation.remark(headers, len(self)):
            warnings.warn(f"{name}: {remark}", stacklevel=2)

    def path(self, index: int) -> Path:
        """The path of an image."""
        return self.images / self.labels.file_names[index]

    def image_folders(self) -> set[Path]:
        """The folders that hold its images."""
        return {self.images / folder for folder in set(map(os.path.dirname, self.labels.file_names))}

    def file_name(self, index: int) -> str:
        """The name of an image's file, as the labels give it."""
        return self.labels.file_names[index]

    def size(self, index: int) -> tuple[int, int]:
        """The (height, width) of an image that its labels refer to."""
        height, width = self.sizes[index].tolist()
        return height, width

    def ground_truth(self) -> dict[str, Any]:
        """The content of the file, restricted to people, with optional fields filled in."""
        content = labels.ground_truth(self.labels)
        for image in content["images"] if self.crowd_index else ():
            image["crowdIndex"] = self.crowd_index[image["id"]]
        return content

    def labels_hash(self) -> str:
        """A hash of everybody's joints, boxes, areas and crowd flags."""
        return labels.hash_of(map(self.people, range(len(self))))

    def people(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Keypoints f32[N,K,3], boxes_xyxy f32[N,4], area f32[N] and is_crowd bool[N] of an image."""
        rows = self.labels.people(index)
        keypoints = self.labels.keypoints[rows].astype(np.float32)
        is_labelled = keypoints[..., 2:] > 0
        keypoints[..., :2] = np.where(is_labelled, keypoints[..., :2] + np.float32(self.joint_pixel_offset), 0)
        boxes = self.labels.boxes_xywh[rows].astype(np.float32)
        boxes[:, 2:] += boxes[:, :2]
        return keypoints, boxes, self.labels.area[rows].astype(np.float32), self.labels.is_crowd[rows]

    def rles(self, index: int) -> tuple[masks.Rle | None, ...]:
        """The mask of each person of an image as COCO's compressed RLE, None where the file has none."""
        rows, size = self.labels.people(index), self.size(index)
        if not self.with_masks:
            return (None,) * (rows.stop - rows.start)
        return tuple(masks.rle_of(segmentation, size) for segmentation in self.labels.segmentations[rows])

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> Sample:
        path, (height, width) = self.path(index), self.size(index)
        image = image_files.read_annotated(path, (height, width))
        image_files.refuse_other_size(image, (height, width), str(path))
        sample = Sample(image, *self.people(index), image_id=int(self.image_ids[index]))
        if not self.with_masks:
            return sample
        return sample._replace(masks=masks.stacked(self.rles(index), (height, width)))

    def record(self, index: int) -> Record:
        """An image as it is stored, with its people; raises NotFound or OSError if its file cannot be read."""
        image_id = int(self.image_ids[index])
        return Record(
            image_files.read_bytes(self.path(index)),
            self.labels.file_names[index],
            image_id,
            self.size(index),
            *self.people(index),
            self.rles(index),
            self.crowd_index.get(image_id),
        )


class ListedImages:
    """A source over images that a file lists without labels, such as COCO's image_info_test-dev2017.json.

    Raises as `CocoFolder`.
    """

    def __init__(self, images: Path, annotations: Path, skeleton: Skeleton):
        images, self.name = paths.expanded(images), paths.expanded(annotations)
        content = annotation_file.read_images(images, self.name)
        if not content["images"]:
            raise UserError(f"{self.name}: its list `images` is empty; there is nothing to find people in")
        self.labels = as_labels(content, self.name, skeleton)
        refuse_missing(images, self.labels)
        self.images, self.skeleton = images.absolute(), skeleton
        self.image_ids, self.sizes = self.labels.image_ids, self.labels.sizes
        self.is_labelled = self.has_people = np.zeros(len(self.image_ids), bool)

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> Sample:
        height, width = self.sizes[index].tolist()
        path = self.images / self.labels.file_names[index]
        image = image_files.read_annotated(path, (height, width))
        image_files.refuse_other_size(image, (height, width), str(path))
        return unlabelled(image, int(self.image_ids[index]), self.skeleton.num_keypoints)


def refuse_missing(images: Path, labels: Labels) -> None:
    """Raise NotFound if an image that is listed is not in the folder."""
    if missing := image_files.first_missing(images, labels.file_names):
        raise NotFound(f"{missing}: no such image; is {images} the right folder?")


def checked(dataset: Dataset, name: Path, with_segmentations: bool) -> Labels:
    """The labels of a dataset as arrays; raises UserError naming its first fault, or that it has no people."""
    content, skeleton = dataset.content, dataset.skeleton
    everybody = content["annotations"]
    may_have_people = any(isinstance(image, dict) and NOT_READ in image for image in content["images"])
    if not everybody and not may_have_people:
        raise UserError(f"{name}: it holds no people (`annotations` is empty); there is nothing to use")
    refuse_without_keypoints(content, name)
    return as_labels(content, name, skeleton, with_segmentations)


def refuse_without_keypoints(content: dict[str, Any], name: Path) -> None:
    """Raise UserError if a file is of annotations that are all without joints, such as COCO's for detection."""
    everybody = content["annotations"]
    if everybody and not any(isinstance(person, dict) and "keypoints" in person for person in everybody):
        raise UserError(
            f"{name}: no annotation has `keypoints`; give the person_keypoints file, not the instances file"
        )


def as_labels(content: dict[str, Any], name: Path, skeleton: Skeleton, with_segmentations: bool = False) -> Labels:
    """The content of a COCO file as arrays; raises UserError naming its first fault."""
    found = labels.labels_of(content, skeleton.num_keypoints, with_segmentations)
    if found is None:
        for kind, entry, faults in annotation_file.check_entries(content, skeleton):
            if faults:
                entry_name = annotation_file.entry_name(kind, entry)
                where = "" if isinstance(entry, dict) and READ_FROM in entry else f"{name}: "
                raise UserError(f"{where}{entry_name}: {faults[0]}; `inspose data check` lists all faults")
    assert found is not None, "the two ways to check a file differ"
    return found


def ground_truth_of(samples: Iterable[Sample], skeleton: Skeleton, joint_pixel_offset: float) -> dict[str, Any]:
    """Samples -> the content of a COCO keypoint file, with joints converted back to pixel indices."""
    found = labels.of_samples(samples, skeleton.num_keypoints, joint_pixel_offset)
    category = {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(skeleton.keypoint_names),
        "skeleton": [[a + 1, b + 1] for a, b in skeleton.limbs],
    }
    return labels.ground_truth(found) | {"categories": [category]}


def write_folder(out: Path, samples: Iterable[Sample], skeleton: Skeleton, joint_pixel_offset: float) -> None:
    """Write samples to `out`/images/*.jpg and `out`/annotations.json; `out` is a new or empty folder."""
    (out / "images").mkdir(parents=True)

    def written() -> Iterable[Sample]:
        for sample in samples:
            bgr = cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR)
            _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])
            (out / "images" / f"{sample.image_id:012d}.jpg").write_bytes(data.tobytes())
            yield sample

    truth = ground_truth_of(written(), skeleton, joint_pixel_offset)
    about = {"info": {"description": "drawn people"}, "licenses": []}
    (out / "annotations.json").write_text(json.dumps(about | truth))

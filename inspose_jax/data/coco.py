"""Read a COCO folder (images and one JSON file) as samples, and write samples of drawn people as a COCO folder."""

import hashlib
import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from inspose_jax import paths
from inspose_jax.data import annotations as annotation_file
from inspose_jax.data import image_files, orientation
from inspose_jax.data.image_files import read_annotated, refuse_other_size
from inspose_jax.data.masks import rle_of
from inspose_jax.errors import NotFound, UserError
from inspose_jax.skeletons import Skeleton
from inspose_jax.structures import Record, Sample, is_target

LOOKED_AT = 1000  # images whose orientation is read at the start; reading all may take minutes from a slow disk


class CocoFolder:
    """A source over `images` (a folder) and `annotations` (a COCO keypoint JSON).

    COCO's joints are pixel indices, so `joint_pixel_offset` is added to the labelled ones.  The whole file is checked
    for everything that training and evaluation need; UserError or NotFound names the fault and the remedy.
    """

    def __init__(self, images: Path, annotations: Path, skeleton: Skeleton, joint_pixel_offset: float):
        images, annotations = paths.expanded(images), paths.expanded(annotations)
        self.images = images.absolute()  # images are read later, when the working directory may have changed
        self.skeleton, self.joint_pixel_offset = skeleton, joint_pixel_offset
        self.content = annotation_file.read(images, annotations, skeleton)
        listed, everybody = self.content["images"], self.content["annotations"]
        if not everybody:
            raise UserError(f"{annotations}: it holds no people (`annotations` is empty); there is nothing to use")
        if not any(isinstance(person, dict) and "keypoints" in person for person in everybody):
            raise UserError(
                f"{annotations}: no annotation has `keypoints`; give the person_keypoints file, not the instances file"
            )
        for kind, entry, faults in annotation_file.check_entries(self.content, skeleton):
            if faults:
                name = annotation_file.entry_name(kind, entry)
                raise UserError(f"{annotations}: {name}: {faults[0]}; `inspose data check` lists all faults")
        self.entries = sorted(listed, key=lambda entry: entry["id"])
        for entry in self.entries:
            if not (images / entry["file_name"]).is_file():
                raise NotFound(f"{images / entry['file_name']}: no such image; is {images} the right folder?")
        self.image_ids = np.array([entry["id"] for entry in self.entries], np.int64)
        self.sizes = np.array([(entry["height"], entry["width"]) for entry in self.entries], np.int32).reshape(-1, 2)
        people: dict[int, list[dict]] = {int(image_id): [] for image_id in self.image_ids}
        for number, person in enumerate(everybody, start=1):
            # COCO's own files always have these fields; others omit them or use other values.  pycocotools needs
            # them, and treats a match with an annotation whose id is 0 as no match.
            person["keypoints"] = person.get("keypoints") or [0] * (3 * skeleton.num_keypoints)
            person["num_keypoints"] = sum(v > 0 for v in person["keypoints"][2::3])
            person.setdefault("iscrowd", 0)
            person["id"] = number
            person["category_id"] = 1
            people[person["image_id"]].append(person)
        self.segmentations = {
            image_id: [person.get("segmentation") for person in persons] for image_id, persons in people.items()
        }
        self.content["categories"] = [{"id": 1, "name": "person"}]
        self.people = [self.parse(people[int(image_id)]) for image_id in self.image_ids]
        self.is_labelled = np.array([bool(is_target(joints, crowd).any()) for joints, _, _, crowd in self.people], bool)
        self.has_people = np.array([len(joints) > 0 for joints, *_ in self.people], bool)
        if not self.is_labelled.any():
            raise UserError(
                f"{annotations}: no person has a labelled joint (visibility above 0); there is nothing to use"
            )
        some = range(0, len(self), -(-len(self) // LOOKED_AT))
        headers = ((orientation.read_header(self.path(i)), self.size(i)) for i in some)
        if remark := orientation.remark(headers, len(self)):
            warnings.warn(f"{annotations}: {remark}", stacklevel=2)

    def path(self, index: int) -> Path:
        """The path of an image."""
        return self.images / self.entries[index]["file_name"]

    def size(self, index: int) -> tuple[int, int]:
        """The (height, width) of an image that its labels refer to."""
        return self.entries[index]["height"], self.entries[index]["width"]

    def ground_truth(self) -> dict[str, Any]:
        """The content of the file, restricted to people, with optional fields filled in."""
        return self.content

    def labels_hash(self) -> str:
        """A hash of everybody's joints, boxes, areas and crowd flags."""
        return hash_of_labels(self.people)

    def parse(self, people: list[dict]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Keypoints f32[N,K,3], boxes_xyxy f32[N,4], area f32[N] and is_crowd bool[N] of one image."""
        num_keypoints = self.skeleton.num_keypoints
        keypoints = np.array([person["keypoints"] for person in people], np.float32).reshape(-1, num_keypoints, 3)
        is_labelled = keypoints[..., 2:] > 0
        keypoints[..., :2] = np.where(is_labelled, keypoints[..., :2] + np.float32(self.joint_pixel_offset), 0)
        boxes = np.array([person["bbox"] for person in people], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        area = np.array([person["area"] for person in people], np.float32)
        return keypoints, boxes, area, np.array([bool(person["iscrowd"]) for person in people], bool)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Sample:
        path, (height, width) = self.path(index), self.size(index)
        image = read_annotated(path, (height, width))
        refuse_other_size(image, (height, width), str(path))
        return Sample(image, *self.people[index], image_id=self.entries[index]["id"])

    def record(self, index: int) -> Record:
        """Image `index` as it is stored."""
        entry, size = self.entries[index], self.size(index)
        masks = tuple(rle_of(segmentation, size) for segmentation in self.segmentations[entry["id"]])
        image = image_files.read_bytes(self.path(index))
        return Record(image, entry["file_name"], entry["id"], size, *self.people[index], masks)


def hash_of_labels(people: Iterable[Iterable[np.ndarray]]) -> str:
    """A hash of the labels of images: of each image keypoints, boxes_xyxy, area and is_crowd."""
    known = hashlib.sha256()
    for fields in people:
        for array in fields:
            known.update(array.tobytes())
    return known.hexdigest()[:12]


def ground_truth_of(samples: Iterable[Sample], skeleton: Skeleton, joint_pixel_offset: float) -> dict[str, Any]:
    """Samples -> the content of a COCO keypoint file, with joints converted back to pixel indices."""
    images, annotations = [], []
    for sample in samples:
        height, width = sample.image.shape[:2]
        file_name = f"{sample.image_id:012d}.jpg"
        images.append({"id": int(sample.image_id), "file_name": file_name, "height": height, "width": width})
        for joints, box, area, crowd in zip(
            sample.keypoints, sample.boxes_xyxy, sample.area, sample.is_crowd, strict=True
        ):
            is_labelled = joints[:, 2] > 0
            flat = np.where(is_labelled[:, None], joints - [joint_pixel_offset, joint_pixel_offset, 0], 0)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": int(sample.image_id),
                    "category_id": 1,
                    "keypoints": flat.round(2).ravel().tolist(),
                    "num_keypoints": int(is_labelled.sum()),
                    "area": float(area),
                    "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
                    "iscrowd": int(crowd),
                }
            )
    category = {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(skeleton.keypoint_names),
        "skeleton": [[a + 1, b + 1] for a, b in skeleton.limbs],
    }
    info = {"description": "drawn people"}
    return {"info": info, "licenses": [], "images": images, "annotations": annotations, "categories": [category]}


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
    (out / "annotations.json").write_text(json.dumps(truth))

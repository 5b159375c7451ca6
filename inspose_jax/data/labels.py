"""The labels of a COCO file as arrays.  n images, P people of all images in the order of the images, K keypoints.

A file of COCO's size has 13 million numbers.  As arrays they need a tenth of the memory, and a good file is recognised
in a second; `annotations.check_entries` has the rules entry by entry, and words the fault of a file that breaks one.
"""

import hashlib
from collections.abc import Iterable
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from inspose_jax.data.values import LARGEST, is_inside
from inspose_jax.structures import Sample, is_target


class Labels(NamedTuple):
    """Everything that a COCO file says about its images and their people, sorted by image id."""

    image_ids: Int[np.ndarray, " n"]  # i64
    sizes: Int[np.ndarray, "n 2"]  # i32, height and width
    file_names: list[str]
    ends: Int[np.ndarray, " n"]  # i64, the first person behind those of each image
    keypoints: Float[np.ndarray, "P K 3"]  # as in the file; f32 if that is exact, else f64
    boxes_xywh: Float[np.ndarray, "P 4"]  # f64
    area: Float[np.ndarray, " P"]  # f64
    is_crowd: Bool[np.ndarray, " P"]
    segmentations: list[Any]  # as in the file, or empty if nobody asked for them

    def people(self, index: int) -> slice:
        """The people of an image."""
        return slice(int(self.ends[index - 1]) if index else 0, int(self.ends[index]))

    def image_of(self) -> Int[np.ndarray, " P"]:
        """The index of each person's image."""
        return np.repeat(np.arange(len(self.ends)), np.diff(self.ends, prepend=0))

    def has_people(self) -> Bool[np.ndarray, " n"]:
        """Whether anybody is annotated in each image."""
        return np.diff(self.ends, prepend=0) > 0

    def is_labelled(self) -> Bool[np.ndarray, " n"]:
        """Whether each image has a person to learn from."""
        found = np.zeros(len(self.ends), bool)
        found[self.image_of()[is_target(self.keypoints, self.is_crowd)]] = True
        return found


def labels_of(content: dict[str, Any], num_keypoints: int, with_segmentations: bool = False) -> Labels | None:
    """The arrays of what `annotations.prepared` returned; None if an entry breaks one of the rules there."""
    images, people = content["images"], content["annotations"]
    if not images or not {*map(type, images), *map(type, people)} <= {dict}:
        return None
    try:
        image_ids = whole_numbers([image["id"] for image in images], 0, 2**63 - 1)
        heights = whole_numbers([image["height"] for image in images], 1, 2**31 - 1)
        widths = whole_numbers([image["width"] for image in images], 1, 2**31 - 1)
        names = [image["file_name"] for image in images]
        ids = [person["id"] for person in people]
        of_image = whole_numbers([person["image_id"] for person in people], 0, 2**63 - 1)
        category = whole_numbers([person["category_id"] for person in people], 0, 2**63 - 1)
        boxes = rows([person["bbox"] for person in people], 4)
        area = rows([[person["area"]] for person in people], 1)[:, 0]
        nobody = [0] * (3 * num_keypoints)
        given = (person.get("keypoints", nobody) for person in people)
        keypoints = rows([nobody if joints == [] else joints for joints in given], 3 * num_keypoints)
        crowd = whole_numbers([person.get("iscrowd", 0) for person in people], 0, 1, or_bool=True)
        whole_numbers([person.get("num_keypoints", 0) for person in people], 0, 2**31 - 1)
    except (KeyError, Broken):
        return None
    by_id = np.argsort(image_ids, kind="stable")
    image_ids = image_ids[by_id]
    place = np.searchsorted(image_ids, of_image)
    joints = keypoints.reshape(-1, num_keypoints, 3)
    if (
        (np.diff(image_ids) == 0).any()
        or not all(map(is_good_name, names))
        or not are_kinds(ids, (int, str))
        or len(set(ids)) < len(ids)
        or not (image_ids[np.minimum(place, len(image_ids) - 1)] == of_image).all()
        or (category != content["categories"][0]["id"]).any()
        or (boxes[:, 2:] < 0).any()
        or (area < 0).any()
        or ((joints[..., 2] > 0).any(-1) & (area == 0)).any()
    ):
        return None
    by_image = np.argsort(place, kind="stable")
    smaller = joints.astype(np.float32)
    joints = smaller if (smaller == joints).all() else joints
    return Labels(
        image_ids,
        np.stack([heights, widths], -1)[by_id].astype(np.int32),
        [names[i] for i in by_id.tolist()],
        np.searchsorted(place[by_image], np.arange(len(image_ids)), side="right"),
        joints[by_image],
        boxes[by_image],
        area[by_image],
        crowd[by_image].astype(bool),
        [people[i].get("segmentation") for i in by_image.tolist()] if with_segmentations else [],
    )


def of_samples(samples: Iterable[Sample], num_keypoints: int, joint_pixel_offset: float) -> Labels:
    """The labels of samples, with joints converted back to pixel indices; each is read once and not kept."""
    read = [
        (one.image_id, one.image.shape[:2], one.keypoints, one.boxes_xyxy, one.area, one.is_crowd) for one in samples
    ]
    read.sort(key=lambda fields: fields[0])
    image_ids, sizes, keypoints, boxes, area, is_crowd = zip(*read, strict=True) if read else ((),) * 6
    joints = np.concatenate([np.zeros((0, num_keypoints, 3)), *keypoints])
    moved = joints - [joint_pixel_offset, joint_pixel_offset, 0]
    corners = np.concatenate([np.zeros((0, 4), np.float32), *boxes])
    return Labels(
        np.array(image_ids, np.int64),
        np.array(sizes, np.int32).reshape(-1, 2),
        [f"{image_id:012d}.jpg" for image_id in image_ids],
        np.cumsum([len(people) for people in area], dtype=np.int64),
        np.where(joints[..., 2:] > 0, moved, 0).round(2),
        np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).astype(np.float64),
        np.concatenate([np.zeros(0), *area]),
        np.concatenate([np.zeros(0, bool), *is_crowd]),
        segmentations=[],
    )


def ground_truth(labels: Labels) -> dict[str, Any]:
    """The content of a COCO file again, with all fields that an evaluation reads; people are numbered from 1."""
    images = [
        {"id": image_id, "file_name": name, "height": height, "width": width}
        for image_id, name, (height, width) in zip(
            labels.image_ids.tolist(), labels.file_names, labels.sizes.tolist(), strict=True
        )
    ]
    columns = (
        labels.image_ids[labels.image_of()].tolist(),
        labels.keypoints.reshape(-1, 3 * labels.keypoints.shape[1]).tolist(),
        (labels.keypoints[..., 2] > 0).sum(-1).tolist(),
        labels.boxes_xywh.tolist(),
        labels.area.tolist(),
        labels.is_crowd.astype(int).tolist(),
    )
    # pycocotools needs all these fields, and treats a match with an annotation whose id is 0 as no match.
    annotations = [
        {
            "id": number,
            "image_id": image_id,
            "category_id": 1,
            "keypoints": keypoints,
            "num_keypoints": num_keypoints,
            "bbox": box,
            "area": area,
            "iscrowd": is_crowd,
        }
        for number, (image_id, keypoints, num_keypoints, box, area, is_crowd) in enumerate(
            zip(*columns, strict=True), start=1
        )
    ]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}


def hash_of(people: Iterable[Iterable[np.ndarray]]) -> str:
    """A hash of the labels of images: of each image its keypoints, boxes_xyxy, area and is_crowd as in `Sample`."""
    known = hashlib.sha256()
    for fields in people:
        for array in fields:
            known.update(array.tobytes())
    return known.hexdigest()[:12]


class Broken(Exception):
    """A column has a value that breaks its rule."""


def are_kinds(values: Iterable[Any], kinds: tuple[type, ...], or_bool: bool = True) -> bool:
    """Whether all values are of these kinds; a bool counts as an int only if it may."""
    return all(issubclass(kind, kinds) and (or_bool or kind is not bool) for kind in set(map(type, values)))


def whole_numbers(values: list[Any], low: int, high: int, or_bool: bool = False) -> Int[np.ndarray, " _"]:
    """The values as i64; raises Broken if one is no whole number from `low` to `high`."""
    if not are_kinds(values, (int,), or_bool) or (values and not low <= min(values) <= max(values) <= high):
        raise Broken
    return np.array(values, np.int64)


def rows(values: list[Any], length: int) -> Float[np.ndarray, "_ _"]:
    """Lists of `length` numbers each as f64; raises Broken if one is no number, or not between -1e9 and 1e9."""
    if not are_kinds(values, (list,)) or not set(map(len, values)) <= {length}:
        raise Broken
    if not are_kinds(chain.from_iterable(values), (int, float), or_bool=False):
        raise Broken
    try:
        array = np.fromiter(chain.from_iterable(values), np.float64, len(values) * length)
    except OverflowError:  # an integer beyond floats
        raise Broken from None
    if not (np.abs(array) < LARGEST).all():
        raise Broken
    return array.reshape(-1, length)


def is_good_name(name: Any) -> bool:
    """`is_inside`, quicker for the names that most files have."""
    is_plain = type(name) is str and name != "" and name[0] != "/" and ".." not in name and "\0" not in name
    return is_plain or is_inside(name)

"""Every fault of a COCO folder, named once: what would stop, or silently spoil, a training run."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from inspose_jax.data.annotations import image_faults, is_whole, name_of, person_faults, read_json
from inspose_jax.data.image_files import read_image
from inspose_jax.skeletons import Skeleton


def faults(images: Path, annotations: Path, skeleton: Skeleton) -> list[str]:
    """One line a fault, empty for a good data set; FileNotFoundError or ValueError where there is none to look at."""
    content = read_json(annotations)
    if not images.is_dir():
        raise FileNotFoundError(f"{images}: no such folder of pictures; give the one that {annotations} lists")
    found = []
    for kind in ("images", "annotations"):
        ids = Counter(str(entry["id"]) for entry in content[kind] if isinstance(entry, dict) and "id" in entry)
        found += [f"{kind}: id {name} stands {times} times" for name, times in ids.items() if times > 1]
    sizes = {}
    for entry in content["images"]:
        wrong = image_faults(entry) or file_faults(entry, images)
        found += [f"{name_of('image', entry)}: {fault}" for fault in wrong]
        if isinstance(entry, dict) and is_whole(entry.get("id")):
            sizes[entry["id"]] = entry.get("height"), entry.get("width")
    num_labelled = 0
    for person in content["annotations"]:
        wrong = person_faults(person, skeleton)
        if not wrong:
            wrong = label_faults(person, sizes)
            num_labelled += not person.get("iscrowd") and any(v > 0 for v in person.get("keypoints", ())[2::3])
        found += [f"{name_of('annotation', person)}: {fault}" for fault in wrong]
    if not found and not num_labelled:
        found.append("nobody has a labelled joint")
    return found


def file_faults(entry: dict[str, Any], images: Path) -> list[str]:
    """What is wrong with the file of an entry of `images`."""
    try:
        size = read_image(images / entry["file_name"], follow_exif=False).shape[:2]
    except (FileNotFoundError, ValueError) as error:
        return [str(error)]
    said = entry["height"], entry["width"]
    return [] if size == said else [f"the file has {size}, the JSON {said} (height, width)"]


def label_faults(person: dict[str, Any], sizes: dict[int, tuple[Any, Any]]) -> list[str]:
    """What is wrong with a well-formed annotation beside its picture; `sizes` are (height, width) by image id."""
    if person["image_id"] not in sizes:
        return [f"its image {person['image_id']} is not in the list"]
    found = []
    if not person["area"] > 0:
        found.append(f"area is {person['area']}; OKS divides by it")
    joints = np.array(person.get("keypoints", ()), float).reshape(-1, 3)
    if not np.isin(joints[:, 2], (0, 1, 2)).all():
        found.append("visibility is 0, 1 or 2")
    labelled = joints[joints[:, 2] > 0]
    height, width = sizes[person["image_id"]]
    # half a pixel of room: some files give centres of pixels, some corners
    if is_whole(height) and is_whole(width) and ((labelled[:, :2] < -0.5) | (labelled[:, :2] > [width, height])).any():
        found.append("a labelled joint lies outside the picture")
    if person.get("num_keypoints", len(labelled)) != len(labelled):
        found.append(f"num_keypoints is {person['num_keypoints']}, {len(labelled)} are labelled")
    return found

"""Every fault of a COCO folder, named once: what would stop, or silently spoil, a training run."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from inspose_jax.data.coco import read_json
from inspose_jax.data.image_files import read_image
from inspose_jax.skeletons import Skeleton


def faults(images: Path, annotations: Path, skeleton: Skeleton) -> list[str]:
    """One line a fault, empty for a good data set; FileNotFoundError or ValueError where there is none to look at."""
    content = read_json(annotations)
    if not images.is_dir():
        raise FileNotFoundError(f"{images}: no such folder of pictures; give the one that {annotations} lists")
    found = []
    for kind in ("images", "annotations"):
        ids = Counter(entry.get("id") for entry in content[kind])
        found += [f"{kind}: id {name} stands {times} times" for name, times in ids.items() if times > 1]
    sizes = {}
    for entry in content["images"]:
        missing = [field for field in ("id", "file_name", "height", "width") if field not in entry]
        if missing:
            found.append(f"image {entry.get('id')}: no {', '.join(missing)}")
            continue
        sizes[entry["id"]] = entry["height"], entry["width"]
        try:
            size = read_image(images / entry["file_name"], follow_exif=False).shape[:2]
        except (FileNotFoundError, ValueError) as error:
            found.append(f"image {entry['id']}: {error}")
            continue
        if size != sizes[entry["id"]]:
            found.append(f"image {entry['id']}: the file has {size}, the JSON {sizes[entry['id']]} (height, width)")
    for person in content["annotations"]:
        found += [f"annotation {person.get('id')}: {fault}" for fault in person_faults(person, sizes, skeleton)]
    if not any(max(person.get("keypoints", [0])[2::3], default=0) > 0 for person in content["annotations"]):
        found.append("nobody has a labelled joint")
    return found


def person_faults(person: dict[str, Any], sizes: dict[int, tuple[int, int]], skeleton: Skeleton) -> list[str]:
    """What is wrong with one annotation; `sizes` are (height, width) by image id."""
    found = [f"no {field}" for field in ("id", "image_id", "category_id", "bbox", "area") if field not in person]
    if found:
        return found
    if person["image_id"] not in sizes:
        return [f"its image {person['image_id']} is not in the list"]
    height, width = sizes[person["image_id"]]
    if len(person["bbox"]) != 4 or not np.isfinite(person["bbox"]).all() or min(person["bbox"][2:]) < 0:
        found.append(f"bbox {person['bbox']} is not x, y, width, height")
    if not person["area"] > 0:
        found.append(f"area is {person['area']}; OKS divides by it")
    flat = person.get("keypoints", [])
    if not flat:
        return found
    if len(flat) != 3 * skeleton.num_keypoints:
        return [*found, f"{len(flat)} numbers for keypoints, {skeleton.name} needs {3 * skeleton.num_keypoints}"]
    joints = np.array(flat, float).reshape(-1, 3)
    if not np.isfinite(joints).all():
        return [*found, "keypoints are not all finite"]
    if not np.isin(joints[:, 2], (0, 1, 2)).all():
        found.append("visibility is 0, 1 or 2")
    labelled = joints[joints[:, 2] > 0]
    # half a pixel of room: some files give centres of pixels, some corners
    if ((labelled[:, :2] < -0.5) | (labelled[:, :2] > [width, height])).any():
        found.append("a labelled joint lies outside the picture")
    if person.get("num_keypoints", len(labelled)) != len(labelled):
        found.append(f"num_keypoints is {person['num_keypoints']}, {len(labelled)} are labelled")
    return found

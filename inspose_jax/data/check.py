"""List every fault of a COCO folder that would stop a training run or silently spoil it."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from inspose_jax import paths
from inspose_jax.data import annotations as annotation_file
from inspose_jax.data import coordinates, orientation
from inspose_jax.data.annotations import Dataset
from inspose_jax.data.image_files import read_annotated
from inspose_jax.errors import UserError
from inspose_jax.skeletons import Skeleton

OUTSIDE = "a labelled joint lies outside the image"


def faults(images: Path, annotations: Path, skeleton: Skeleton | None) -> list[str]:
    """One line per fault, empty for a good dataset; raises NotFound or UserError if the dataset cannot be read."""
    images, annotations = paths.expanded(images), paths.expanded(annotations)
    return faults_of(annotation_file.read(images, annotations, skeleton), annotations)


def faults_of(dataset: Dataset, name: Path) -> list[str]:
    """The same for a dataset of any kind; a warning begins with `name`."""
    images, skeleton = dataset.images, dataset.skeleton
    found, num_labelled = [], 0
    sizes: dict[int, tuple[int, int]] = {}
    people: list[tuple[list, list, tuple[int, int]]] = []
    headers: list[tuple[orientation.Header, tuple[int, int]]] = []
    for kind, entry, wrong in annotation_file.check_entries(dataset.content, skeleton):
        if kind == "image" and not wrong:
            sizes[entry["id"]] = entry["height"], entry["width"]
            headers.append((orientation.read_header(images / entry["file_name"]), sizes[entry["id"]]))
            wrong = file_faults(entry, images)
        elif kind == "annotation" and not wrong:
            wrong = label_faults(entry, sizes.get(entry["image_id"]))
            if entry["image_id"] in sizes and not entry.get("iscrowd"):
                people.append((entry.get("keypoints") or [], entry["bbox"], sizes[entry["image_id"]]))
            num_labelled += not entry.get("iscrowd") and any(v > 0 for v in entry.get("keypoints", ())[2::3])
        found += [f"{annotation_file.entry_name(kind, entry)}: {fault}" for fault in wrong]
    labels = coordinates.stack(people, skeleton.num_keypoints)
    about_all = coordinates.findings(labels)
    if any(finding.explains_outside for finding in about_all):
        found = [fault for fault in found if not fault.endswith(OUTSIDE)]
    found = [finding.line for finding in about_all] + found
    if not found and not num_labelled:
        found.append("no person has a labelled joint")
    posture = "" if about_all else coordinates.remark(labels, skeleton)
    for remark in filter(None, (orientation.remark(headers, len(headers)), posture)):
        warnings.warn(f"{name}: {remark}", stacklevel=2)
    return found


def file_faults(entry: dict[str, Any], images: Path) -> list[str]:
    """The faults of the image file of a well-formed entry of `images`."""
    said = entry["height"], entry["width"]
    try:
        size = read_annotated(images / entry["file_name"], said).shape[:2]
    except (OSError, UserError) as error:
        return [str(error)]
    return [] if size == said else [f"the file has {size}, but the JSON says {said} (height, width)"]


def label_faults(person: dict[str, Any], size: tuple[int, int] | None) -> list[str]:
    """The faults of a well-formed annotation; `size` is the (height, width) of its image, if known."""
    found = []
    joints = np.array(person.get("keypoints", ()), float).reshape(-1, 3)
    if not np.isin(joints[:, 2], (0, 1, 2)).all():
        found.append("visibility must be 0, 1 or 2")
    labelled = joints[joints[:, 2] > 0, :2]
    # Allow half a pixel: some files count from pixel centres, some from pixel corners.
    if size is not None and ((labelled < -0.5) | (labelled > [size[1], size[0]])).any():
        found.append(OUTSIDE)
    if person.get("num_keypoints", len(labelled)) != len(labelled):
        found.append(f"num_keypoints is {person['num_keypoints']}, but {len(labelled)} are labelled")
    return found

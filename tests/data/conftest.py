"""Fixtures for the tests of several readers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A COCO folder of four drawn images with one to three people each; read-only."""
    # Not above: jaxtyping's hook is in place only after this file is read.
    from inspose_jax.config import Scene
    from inspose_jax.data import coco
    from inspose_jax.data.drawn.people import DrawnPeople
    from inspose_jax.skeletons import COCO

    out = tmp_path_factory.mktemp("drawn") / "set"
    source = DrawnPeople(Scene(size=64, num_people=(1, 3)), "test", 0, 4)
    coco.write_folder(out, (source[i] for i in range(4)), COCO, 0.5)
    return out


@pytest.fixture(scope="session")
def varied(folder, tmp_path_factory) -> Path:
    """A COCO folder with what a dataset may hold; read-only.

    The drawn images, the first person of each with a mask (polygons, run lengths, compressed, none); a crowd beside
    the people of the second; then an image without people in a folder of its own, and one with an unlabelled person.
    """
    from pycocotools import mask

    out = tmp_path_factory.mktemp("varied") / "set"
    shutil.copytree(folder, out)
    content = json.loads((out / "annotations.json").read_text())
    filled = np.zeros((64, 64), np.uint8, order="F")
    filled[10:30, 20:50] = 1
    compressed = mask.encode(filled)
    segmentations = (
        [[1.5, 2, 30, 2, 30, 40.25], [40, 40, 50, 40, 50, 60]],
        {"size": [64, 64], "counts": [100, 200, 64 * 64 - 300]},
        {"size": [64, 64], "counts": compressed["counts"].decode()},
    )
    for image_id, segmentation in enumerate(segmentations):
        first = next(person for person in content["annotations"] if person["image_id"] == image_id)
        first["segmentation"], first["area"] = segmentation, 1234.5625 + image_id
    nobody = {"keypoints": [0] * 51, "num_keypoints": 0, "area": 20.5, "bbox": [1, 2, 30.1, 4.7], "category_id": 1}
    content["annotations"] += [
        {**nobody, "id": 100, "image_id": 1, "iscrowd": 1, "segmentation": {"size": [64, 64], "counts": [0, 64 * 64]}},
        {**nobody, "id": 101, "image_id": 300, "iscrowd": 0},
    ]
    (out / "images/more").mkdir()
    for image_id, name in ((77, "more/émpty.png"), (300, "wide.webp")):
        Image.new("RGB", (40, 24), (200, 40, image_id % 256)).save(out / "images" / name, lossless=True)
        content["images"].append({"id": image_id, "file_name": name, "height": 24, "width": 40})
    (out / "annotations.json").write_text(json.dumps(content))
    return out

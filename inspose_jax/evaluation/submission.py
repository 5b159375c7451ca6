"""The file that COCO's server takes for test-dev, whose labels are secret: people in COCO's results format, zipped."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

from inspose_jax import files
from inspose_jax.errors import UserError
from inspose_jax.evaluation.coco_ap import MAX_PEOPLE, best_of
from inspose_jax.skeletons import COCO, Skeleton


def file_name(method: str) -> str:
    """The name, without suffix, that the server asks for; raises UserError if `method` cannot be a part of it."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", method):
        raise UserError(
            f"--test-dev is {method!r}; it becomes a part of a file's name: give letters, digits, ., - and _"
        )
    return f"person_keypoints_test-dev2017_{method}_results"


def check(skeleton: Skeleton) -> None:
    """Raise UserError if a model's joints are not those that the server scores."""
    if skeleton.keypoint_names != COCO.keypoint_names:
        raise UserError(
            f"--test-dev: COCO's server scores its 17 joints in their order; this model has those of {skeleton.name}"
        )


def submitted(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """COCO results as the server takes them: the best people of each image, as many as count.

    As COCO recommends, coordinates are rounded to a tenth of a pixel, and every visibility is 1.
    """
    found = []
    for one in best_of(results, MAX_PEOPLE):
        x, y = ([round(float(number), 1) for number in one["keypoints"][axis::3]] for axis in (0, 1))
        joints = [number for triple in zip(x, y, [1.0] * len(x), strict=True) for number in triple]
        found.append(
            {
                "image_id": int(one["image_id"]),
                "category_id": 1,
                "keypoints": joints,
                "score": float(one["score"]),
            }
        )
    return found


def write(folder: Path, method: str, results: list[dict[str, Any]]) -> Path:
    """Write the zipped file of some COCO results into a folder, completely or not at all; returns its path."""
    name = file_name(method)
    path = folder / f"{name}.zip"
    with files.atomic(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.json", json.dumps(submitted(results)))
    return path

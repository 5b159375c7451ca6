"""The ten keypoint statistics of COCO, computed by pycocotools, or faster and bit-identical by hotcoco."""

import contextlib
import io
import warnings
from collections import defaultdict
from typing import Any

import numpy as np

from inspose_jax.skeletons import Skeleton
from inspose_jax.versions import version

NAMES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
READ = ("id", "image_id", "category_id", "keypoints", "num_keypoints", "area", "bbox", "iscrowd")  # fields per person
MAX_PEOPLE = 20  # COCO counts at most this many detections per image


def library() -> tuple[str, Any, Any]:
    """The library that computes the statistics: its name and version, and its classes COCO and COCOeval.

    It is hotcoco if installed, otherwise pycocotools, which has the same interface; both give the same numbers.
    """
    try:
        from hotcoco import COCO, COCOeval

        name = "hotcoco"
    except ImportError:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        name = "pycocotools"
    return f"{name} {version(name)}", COCO, COCOeval


def keypoint_ap(
    ground_truth: dict[str, Any], results: list[dict[str, Any]], skeleton: Skeleton, image_ids: list[int] | None = None
) -> dict[str, float]:
    """Statistics of COCO results against the content of a COCO file, over all its images or over `image_ids`.

    A size class without people gives -1, as in COCO; so do all statistics if `image_ids` is empty.  Crowds and people
    without labelled joints are ignored.
    """
    if image_ids is None:
        image_ids = [image["id"] for image in ground_truth["images"]]
    if not image_ids:  # the libraries would take an empty list for all images
        return dict.fromkeys(NAMES, -1.0)
    _, coco, coco_eval = library()
    by_image = defaultdict(list)
    for result in results:
        by_image[result["image_id"]].append(result)
    best = [
        dict(result)  # a copy, since pycocotools modifies its input
        for found in by_image.values()
        for result in sorted(found, key=lambda result: -result["score"])[:MAX_PEOPLE]
    ]
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "hotcoco: kpt_oks_sigmas differ")  # other skeletons have their own sigmas
        truth = coco()
        truth.dataset = scored_fields(ground_truth)
        truth.createIndex()
        detected = truth.loadRes(best) if best else coco()
        evaluation = coco_eval(truth, detected, "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(skeleton.oks_sigmas)
        evaluation.params.imgIds = sorted(image_ids)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(NAMES, (float(value) for value in evaluation.stats), strict=True))


def scored_fields(ground_truth: dict[str, Any]) -> dict[str, Any]:
    """A copy of the fields that are read: hotcoco rejects odd types in the others, pycocotools modifies its input."""
    return {
        "images": [{"id": image["id"]} for image in ground_truth["images"]],
        "annotations": [
            {name: person[name] for name in READ if name in person} for person in ground_truth["annotations"]
        ],
        "categories": [{"id": 1, "name": "person"}],
    }


def ap_by_number_of_people(
    ground_truth: dict[str, Any], results: list[dict[str, Any]], skeleton: Skeleton
) -> dict[int, float]:
    """AP over the images with 1, 2, 3, .. labelled people."""
    count = {image["id"]: 0 for image in ground_truth["images"]}
    for person in ground_truth["annotations"]:
        count[person["image_id"]] += person["num_keypoints"] > 0 and not person["iscrowd"]
    return {
        number: keypoint_ap(ground_truth, results, skeleton, [i for i, n in count.items() if n == number])["AP"]
        for number in sorted(set(count.values()) - {0})
    }


def table(statistics: dict[str, float]) -> str:
    """The statistics as two human-readable lines."""
    columns = [(name, f"{value:5.3f}" if value >= 0 else "-") for name, value in statistics.items()]
    padded = [[f"{cell:>{max(5, len(name))}}" for cell in (name, value)] for name, value in columns]
    return "\n".join("  ".join(row) for row in zip(*padded, strict=True))

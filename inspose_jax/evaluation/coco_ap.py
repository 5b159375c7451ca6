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
BOX_NAMES = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100", "ARS", "ARM", "ARL")
BOX = "box "  # before the names of the box statistics
READ = ("id", "image_id", "category_id", "keypoints", "num_keypoints", "area", "bbox", "iscrowd")  # fields per person
MAX_PEOPLE, MAX_BOXES = 20, 100  # COCO counts at most this many detections per image


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
    # Without the box the extent of a result is that of its joints, also for a model that predicts boxes.
    best = [
        {name: value for name, value in result.items() if name != "bbox"} for result in best_of(results, MAX_PEOPLE)
    ]
    return score(ground_truth, best, "keypoints", NAMES, skeleton, image_ids)


def box_ap(ground_truth: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, float]:
    """The twelve box statistics of COCO results (`bbox` and `score`) against the people's boxes in a COCO file."""
    best = [
        {name: result[name] for name in ("image_id", "category_id", "bbox", "score")}
        for result in best_of(results, MAX_BOXES)
    ]
    return score(ground_truth, best, "bbox", BOX_NAMES)


def best_of(results: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """The results of the highest scores, at most `number` per image: COCO does not count more."""
    by_image = defaultdict(list)
    for result in results:
        by_image[result["image_id"]].append(result)
    return [
        result for found in by_image.values() for result in sorted(found, key=lambda result: -result["score"])[:number]
    ]


def score(
    ground_truth: dict[str, Any],
    results: list[dict[str, Any]],
    kind: str,
    names: tuple[str, ...],
    skeleton: Skeleton | None = None,
    image_ids: list[int] | None = None,
) -> dict[str, float]:
    """COCO's statistics of one `kind`, "keypoints" or "bbox"; all -1 if `image_ids` is empty."""
    if image_ids is None:
        image_ids = [image["id"] for image in ground_truth["images"]]
    if not image_ids:  # the libraries would take an empty list for all images
        return dict.fromkeys(names, -1.0)
    _, coco, coco_eval = library()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "hotcoco: kpt_oks_sigmas differ")  # other skeletons have their own sigmas
        truth = coco()
        truth.dataset = scored_fields(ground_truth)
        truth.createIndex()
        detected = truth.loadRes(results) if results else coco()
        evaluation = coco_eval(truth, detected, kind)
        if skeleton is not None:
            evaluation.params.kpt_oks_sigmas = np.array(skeleton.oks_sigmas)
        evaluation.params.imgIds = sorted(image_ids)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(names, (float(value) for value in evaluation.stats), strict=True))


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
    """The statistics as two human-readable lines, and as two more those of boxes if there are any."""
    boxes = {name.removeprefix(BOX): value for name, value in statistics.items() if name.startswith(BOX)}
    others = {name: value for name, value in statistics.items() if not name.startswith(BOX)}
    return two_lines(others) + (f"\nboxes:\n{two_lines(boxes)}" if boxes else "")


def two_lines(statistics: dict[str, float]) -> str:
    """Names above numbers."""
    columns = [(name, f"{value:5.3f}" if value >= 0 else "-") for name, value in statistics.items()]
    padded = [[f"{cell:>{max(5, len(name))}}" for cell in (name, value)] for name, value in columns]
    return "\n".join("  ".join(row) for row in zip(*padded, strict=True))

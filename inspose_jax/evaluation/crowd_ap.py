"""CrowdPose's evaluation: AP on its easy, medium and hard images, told apart by their crowd index.

Crowd index and bounds are defined in "CrowdPose: Efficient Crowded Scenes Pose Estimation and A New Benchmark" (Li et
al., CVPR 2019): easy up to 0.1, medium up to 0.8, hard up to 1.  The dataset's own tool, crowdposetools, splits at 0.2
instead of 0.1 (`get_type_result(first=0.2, second=0.8)` in its cocoeval.py), and so do numbers published with it.  An
index on a bound belongs to the harder images, as there.  Everything else is COCO's AP; the reader of the data gives
people the area that the tool takes, 0.53 x the box.
"""

from typing import Any

from inspose_jax.evaluation import coco_ap
from inspose_jax.skeletons import Skeleton

PAPER, TOOL = (0.1, 0.8), (0.2, 0.8)  # crowd indices at which medium and hard images begin
LEVELS = ("easy", "medium", "hard")


def crowd_ap(
    ground_truth: dict[str, Any],
    results: list[dict[str, Any]],
    skeleton: Skeleton,
    bounds: tuple[float, float] = PAPER,
) -> dict[str, float]:
    """AP_easy, AP_medium and AP_hard of COCO results; -1 where there is no such image; empty without crowd indices."""
    images = ground_truth["images"]
    if not images or not all("crowdIndex" in image for image in images):
        return {}
    levels: dict[str, list[int]] = {name: [] for name in LEVELS}
    for image in images:
        levels[LEVELS[sum(image["crowdIndex"] >= bound for bound in bounds)]].append(image["id"])
    return {
        f"AP_{name}": coco_ap.keypoint_ap(ground_truth, results, skeleton, image_ids)["AP"]
        for name, image_ids in levels.items()
    }

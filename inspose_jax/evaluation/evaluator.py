"""Run the predictor on every image of a dataset once, at the test size and without threshold, and score the results."""

import hashlib
from typing import Any, NamedTuple

import jax
from tqdm import tqdm

from inspose_jax import processes
from inspose_jax.config import Config, places
from inspose_jax.data import pipeline
from inspose_jax.evaluation import coco_ap, crowd_ap
from inspose_jax.predictor import Predictor, coco_results

Found = dict[int, list[dict[str, Any]]]  # an image's index in the source -> its COCO results


class Evaluated(NamedTuple):
    """What an evaluation returns."""

    statistics: dict[str, float]  # COCO's ten; CrowdPose's three for its data; with a box head twelve "box .."
    results: list[dict[str, Any]]  # the COCO results that they were computed from


def evaluate(predictor: Predictor, source: pipeline.LabelledSource) -> Evaluated:
    """Evaluate a predictor on a dataset.  Every process of a run must call it, and all get the same answer.

    Raises as `find_all`.
    """
    results, truth = find_all(predictor, source), source.ground_truth()
    statistics = coco_ap.keypoint_ap(truth, results, predictor.skeleton)
    statistics |= crowd_ap.crowd_ap(truth, results, predictor.skeleton)
    if predictor.has_boxes:
        boxes = coco_ap.box_ap(truth, results)
        statistics |= {f"{coco_ap.BOX}{name}": value for name, value in boxes.items()}
    return Evaluated(statistics, results)


def fingerprint(config: Config, source: pipeline.LabelledSource) -> str:
    """What the scores of a run's evaluations depend on besides its model: images, labels and test-time fields."""
    chosen = [(place.path, place.value) for place in places(config) if place.test_time]
    return f"{pipeline.full_fingerprint(source)}, {hashlib.sha256(repr(chosen).encode()).hexdigest()[:12]}"


def find_all(predictor: Predictor, source: pipeline.Source) -> list[dict[str, Any]]:
    """COCO results of all people in every image of a source, in its order; images are taken as they are stored.

    Each of several processes handles its share on its own devices, and all return the same list.  Only the results are
    kept in memory.  A faulty image raises UserError or OSError in the process that reads it and UserError in the
    others.
    """

    def share() -> list[tuple[int, list[dict[str, Any]]]]:
        return list(find_share(predictor, source, jax.process_index(), jax.process_count()).items())

    found = {i: results for shared in processes.gathered(share) for i, results in shared}
    return [result for i in sorted(found) for result in found[i]]


def find_share(predictor: Predictor, source: pipeline.Source, process: int, num_processes: int) -> Found:
    """The share of one process: the images of every `num_processes`-th step of the plan."""
    offset = predictor.config.data.joint_pixel_offset
    found = {}
    total = -(-len(source) // num_processes)
    bar = tqdm(desc="evaluating", total=total, unit="image", dynamic_ncols=True, disable=process > 0)
    with bar:
        for i, poses in predictor.find(source, process, num_processes):
            found[i] = coco_results(poses, int(source.image_ids[i]), offset)
            bar.update()
    return found

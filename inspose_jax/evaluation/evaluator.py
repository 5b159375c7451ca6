"""A data set through the predictor: every picture once, at the test size, no threshold -> COCO results, and how good
they are.
"""

import hashlib
from typing import Any, NamedTuple

import jax
from tqdm import tqdm

from inspose_jax import processes
from inspose_jax.config import Config, places
from inspose_jax.data import pipeline
from inspose_jax.evaluation import coco_ap
from inspose_jax.predictor import Predictor, coco_results

Found = dict[int, list[dict[str, Any]]]  # a picture's index in the source -> its COCO results


class Evaluated(NamedTuple):
    """What an evaluation gives."""

    statistics: dict[str, float]  # the ten of COCO
    results: list[dict[str, Any]]  # COCO results, which they were computed from


def evaluate(predictor: Predictor, source: pipeline.LabelledSource) -> Evaluated:
    """How good a predictor is on a data set: the same in every process of a run, all of which must ask.

    Errors as `find_all`.
    """
    results = find_all(predictor, source)
    return Evaluated(coco_ap.keypoint_ap(source.ground_truth(), results, predictor.skeleton), results)


def fingerprint(config: Config, source: pipeline.LabelledSource) -> str:
    """What the scores of a run's evaluations depend on beside its model: images, labels, and test-time fields."""
    chosen = [(place.path, place.value) for place in places(config) if place.test_time]
    return f"{pipeline.full_fingerprint(source)}, {hashlib.sha256(repr(chosen).encode()).hexdigest()[:12]}"


def find_all(predictor: Predictor, source: pipeline.Source) -> list[dict[str, Any]]:
    """COCO results of everybody in every picture of a source, in its order; pictures are taken as they are stored.

    Of several processes each looks at its share, on devices of its own, and all end with the same list.  Only the
    results are kept.  What is wrong with a picture is a ValueError or OSError in all of them.
    """

    def share() -> list[tuple[int, list[dict[str, Any]]]]:
        return list(find_share(predictor, source, jax.process_index(), jax.process_count()).items())

    found = {i: results for shared in processes.gathered(share) for i, results in shared}
    return [result for i in sorted(found) for result in found[i]]


def find_share(predictor: Predictor, source: pipeline.Source, process: int, num_processes: int) -> Found:
    """What one of `num_processes` finds: the pictures of every so many steps of the plan."""
    offset = predictor.config.data.joint_pixel_offset
    found = {}
    total = -(-len(source) // num_processes)
    bar = tqdm(desc="evaluating", total=total, unit="picture", dynamic_ncols=True, disable=process > 0)
    with bar:
        for i, poses in predictor.find(source, process, num_processes):
            found[i] = coco_results(poses, int(source.image_ids[i]), offset)
            bar.update()
    return found

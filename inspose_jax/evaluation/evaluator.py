"""A data set through the predictor: every picture once, at the test size, no threshold -> COCO results."""

from typing import Any

from tqdm import tqdm

from inspose_jax.data import pipeline
from inspose_jax.predictor import Predictor, coco_results


def find_all(predictor: Predictor, source: pipeline.Source) -> list[dict[str, Any]]:
    """COCO results of everybody in every picture of a source, in its order; pictures are taken as they are stored.

    Only the results are kept.
    """
    offset = predictor.config.data.joint_pixel_offset
    results: dict[int, list[dict[str, Any]]] = {}
    found = predictor.find(source)
    for i, poses in tqdm(found, desc="evaluating", total=len(source), unit="picture", dynamic_ncols=True):
        results[i] = coco_results(poses, int(source.image_ids[i]), offset)
    return [result for i in sorted(results) for result in results[i]]

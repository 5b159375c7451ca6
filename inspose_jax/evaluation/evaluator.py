"""A data set through the predictor: every picture once, at the test size, no threshold -> COCO results."""

from typing import Any

from tqdm import tqdm

from inspose_jax.data import pipeline
from inspose_jax.predictor import BATCH, People, Predictor


def find_all(predictor: Predictor, source: pipeline.Source) -> dict[int, People]:
    """Everybody in every picture of a source, by image id; annotated pictures are taken as they are stored."""
    people = {}
    number = min(BATCH, len(source))
    progress = tqdm(range(0, len(source), number), desc="evaluating", unit="batch", dynamic_ncols=True)
    for first in progress:
        rows = range(first, min(first + number, len(source)))
        found = predictor([source[i].image for i in rows], threshold=0.0)
        people |= {int(source.image_ids[i]): one for i, one in zip(rows, found, strict=True)}
    return people


def to_results(people: dict[int, People]) -> list[dict[str, Any]]:
    """COCO results of all pictures."""
    return [result for image_id, found in people.items() for result in found.to_coco(image_id)]

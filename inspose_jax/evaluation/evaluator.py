"""A data set through the predictor: every picture once, at the test size, no threshold -> COCO results."""

from typing import Any

import numpy as np
from tqdm import tqdm

from inspose_jax.data import pipeline
from inspose_jax.predictor import BATCH, Predictor


def find_all(predictor: Predictor, source: pipeline.Source) -> list[dict[str, Any]]:
    """COCO results of everybody in every picture of a source, in its order; pictures are taken as they are stored.

    Pictures of one padded shape go together; only the results are kept.
    """
    which = predictor.shape_indices([predictor.resized(height, width) for height, width in source.sizes.tolist()])
    results: list[list[dict[str, Any]]] = [[] for _ in source.image_ids]
    groups = [np.flatnonzero(which == shape) for shape in np.unique(which)]
    chunks = [rows[first : first + BATCH].tolist() for rows in groups for first in range(0, len(rows), BATCH)]
    for chunk in tqdm(chunks, desc="evaluating", unit="batch", dynamic_ncols=True):
        found = predictor([source[i].image for i in chunk], threshold=0.0)
        for i, people in zip(chunk, found, strict=True):
            results[i] = people.to_coco(int(source.image_ids[i]))
    return [result for picture in results for result in picture]

"""Poses that rival for a few people, and whom each suppression keeps of them, by one plain loop for all three."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from inspose_jax.skeletons import COCO

SUPPRESSIONS = ("boxes", "oks", "soft")
NUM_POSES, THRESHOLD = 12, 0.1
LIMITS: dict[str, Any] = {
    "score_threshold": THRESHOLD,
    "nms_threshold": 0.3,
    "least_score": 0.05,
    "num_poses": 9,
}


def cases(suppression: str) -> Iterator[tuple[np.ndarray, np.ndarray, list[tuple[int, float]]]]:
    """Poses f32[N,K,2], their scores f32[N], and who of them is kept, best first: index and score."""
    numbers = set()
    for seed in range(20):
        keypoints, scores = rivals(seed)
        kept = plain_loop(keypoints, scores, suppression)
        numbers.add(len(kept))
        yield keypoints, scores, kept
    assert len(numbers) > 2, "the cases are too much alike"


def rivals(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Poses around one to six people; one is a single point, and two are the same."""
    rng = np.random.default_rng(seed)
    number = rng.integers(1, 7)
    people = rng.uniform(20, 200, (number, 1, 2)) + rng.normal(0, 25, (number, 17, 2))
    noise = rng.normal(0, 6, (NUM_POSES, 17, 2)) * rng.uniform(0, 1.5, (NUM_POSES, 1, 1))
    keypoints, scores = people[rng.integers(0, number, NUM_POSES)] + noise, rng.uniform(0.02, 1, NUM_POSES)
    keypoints[5] = keypoints[5, :1]
    keypoints[3] = keypoints[2]
    return keypoints.astype(np.float32), scores.astype(np.float32)


def plain_loop(keypoints: np.ndarray, scores: np.ndarray, suppression: str) -> list[tuple[int, float]]:
    """Whom a suppression keeps, one after another: index and score."""
    low, high = keypoints.min(1), np.maximum(keypoints.max(1), keypoints.min(1) + 1)

    def iou(i: int, j: int) -> float:
        shared = np.prod(np.maximum(np.minimum(high[i], high[j]) - np.maximum(low[i], low[j]), 0))
        return shared / (np.prod(high[i] - low[i]) + np.prod(high[j] - low[j]) - shared)

    def oks(i: int, j: int) -> float:
        terms = []
        for joint, sigma in enumerate(COCO.oks_sigmas):
            square = ((keypoints[i, joint] - keypoints[j, joint]) ** 2).sum()
            terms.append(np.exp(-square / (2 * np.prod(high[i] - low[i]) * (2 * sigma) ** 2)))
        return float(np.mean(terms))

    left = {i: float(score) for i, score in enumerate(scores) if score > THRESHOLD}
    kept: list[tuple[int, float]] = []
    while left and len(kept) < LIMITS["num_poses"]:
        best = max(left, key=lambda i: left[i])
        kept.append((best, left.pop(best)))
        for other in list(left):
            overlap = oks(best, other) if suppression == "oks" else iou(best, other)
            if suppression == "soft":
                left[other] *= 1 - overlap if overlap >= LIMITS["nms_threshold"] else 1
                if left[other] < LIMITS["least_score"]:
                    del left[other]
            elif overlap > LIMITS["nms_threshold"]:
                del left[other]
    return kept


def settings(suppression: str) -> dict[str, Any]:
    """What a suppression reads of the model in an exported config.json."""
    return {"decoding": {**LIMITS, "suppression": suppression}, "skeleton": {"oks_sigmas": list(COCO.oks_sigmas)}}


def best_first(keypoints: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The candidates' indices, best first, their poses, and the rectangles around them, a pixel wide at least."""
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > THRESHOLD]
    low, high = keypoints[order].min(1), keypoints[order].max(1)
    return order, keypoints[order], np.concatenate([low, np.maximum(high, low + 1)], 1)

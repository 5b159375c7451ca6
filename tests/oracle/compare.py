"""How far the oracle's answers are from reference numbers, and how far they may be."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from .answers import Arrays, Files

ALONE = 1e-16  # of the norm of the whole gradient: rounding, where a parameter's own gradient is 0


class Row(NamedTuple):
    """Arrays with one bound."""

    title: str
    file: str
    keys: str  # a pattern
    bound: float
    unit: str  # what deviation and bound are measured in, a key of UNITS


class Result(NamedTuple):
    """The worst array of a row."""

    row: Row
    number: int  # of arrays
    deviation: float
    share: float  # of its bound; 1 is just allowed
    key: str


def largest(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest magnitude."""
    difference = np.abs(found.astype(np.float64) - expected).max(initial=0)
    return float(difference / np.abs(expected).max()) if difference else 0.0


def of_norm(found: np.ndarray, expected: np.ndarray) -> float:
    """The norm of the difference, relative to the norm."""
    difference = np.linalg.norm(found - expected)
    return float(difference / np.linalg.norm(expected)) if difference else 0.0


UNITS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "differing numbers": lambda found, expected: float((found != expected).sum()),
    "of the largest magnitude": largest,
    "relative": lambda found, expected: float(abs(found - expected) / abs(expected)) if found != expected else 0.0,
    "of the norm": of_norm,
    "absolute": lambda found, expected: float(np.abs(found - expected).max(initial=0)),
    "px": lambda found, expected: float(np.abs(found - expected).max(initial=0)),
}
EQUAL, LARGEST, RELATIVE, NORM, ABSOLUTE, PX = UNITS
ROWS = [
    Row("deformable convolution and its three gradients", "ops", r"dcn/.*", 1e-9, LARGEST),
    Row("soft-NMS: order", "ops", r"softnms/.*/(kept|kept_boxes)", 0, EQUAL),
    Row("soft-NMS: scores (float32)", "ops", r"softnms/.*/kept_scores", 1e-5, LARGEST),
    Row("bicubic x2", "ops", r"bicubic2/.*/out", 1e-9, LARGEST),
    Row("bicubic x2 (float32)", "ops", r"bicubic2/.*/out_f32", 1e-5, LARGEST),
    Row("bilinear x2 and its gradient", "ops", r"bilinear2/.*", 1e-9, LARGEST),
    Row("nearest neighbours of the pyramid", "ops", r"nearest/.*", 0, EQUAL),
    Row("windows: limit before rounding", "ops", r"radius/R_.*", 1e-9, LARGEST),
    Row("windows: half-widths", "ops", r"radius/r_.*", 0, EQUAL),
    Row("windows: supervised cells", "ops", r"draw/offset_mask.*", 0, EQUAL),
    Row("heatmap and offset drawing (float32)", "ops", r"draw/(heatmap_.*|offset_all)", 1e-5, LARGEST),
    Row("varifocal loss and its gradient", "ops", r"varifocal/.*", 1e-9, LARGEST),
    Row("centre focal loss and its gradient", "ops", r"centerfocal/.*", 1e-9, LARGEST),
    Row("OKS", "ops", r"oks/value", 1e-9, LARGEST),
    Row("label assignment", "targets", r"assign/.*", 0, EQUAL),
    Row("supervised cells of the offsets", "targets", r"maps/.*/offset_mask", 0, EQUAL),
    Row("heatmaps and offsets (float32)", "targets", r"maps/.*/(heatmap|offset)", 1e-5, LARGEST),
    Row("forward, evaluation (float32), or 3 x its noise", "forward_eval", r"[ab]/(?!f64/).*", 1e-4, LARGEST),
    Row("forward, evaluation", "forward_eval", r"[ab]/f64/.*", 1e-9, LARGEST),
    Row("forward, training (stored as float32)", "forward_train", r".*", 1e-6, LARGEST),
    Row("the seven losses from the image", "losses", r"\w+/(correct/)?(loss_\w+|total)", 1e-6, RELATIVE),
    Row("the seven losses from stored outputs", "losses", r"\w+/stored/(correct/)?(loss_\w+|total)", 1e-6, RELATIVE),
    Row("their owners, divisors and peaks", "losses", r".*rec/(labels|gt_inds|cls_avg|pos_argmax).*", 0, EQUAL),
    Row("their class targets", "losses", r".*rec/(cls_target|oks)", 1e-9, LARGEST),
    Row("their heatmaps and offsets (float32)", "losses", r".*rec/(hm|offset)_target", 1e-5, LARGEST),
    Row("gradient of every parameter", "grads", r"grad/.*", 1e-6, NORM),
    Row("norms and sums of the gradients", "grads", r"norms|global_norm|sums", 1e-6, LARGEST),
    Row("names of trained and of frozen parameters", "grads", r"names|frozen", 0, EQUAL),
    Row("BN running statistics after a step", "grads", r"bn_after/.*", 1e-6, LARGEST),
    Row("preprocessing: bytes, input and sizes", "pipeline", r".*", 0, EQUAL),
    Row("detections: kept locations in order, cells", "detections", r".*/(locations|argmax)", 0, EQUAL),
    Row("detections: scores", "detections", r".*/scores", 1e-4, ABSOLUTE),
    Row("detections: joints and boxes", "detections", r".*/(joints|boxes)", 0.01, PX),
]  # fmt: skip
UNBOUNDED = r"noise_.*|.*/rec/hm_gap"  # describe the numbers, and are none


def compare(reference: Files, answers: Mapping[str, Arrays]) -> list[Result]:
    """The worst array of every row, among those that the reference has too."""
    results = []
    for row in ROWS:
        stored, noise = reference[row.file], noise_of(reference[row.file])
        worst = []
        for key, found in answers[row.file].items():
            if key in stored and re.fullmatch(row.keys, key):
                found, expected = np.asarray(found), np.asarray(stored[key])
                found = found.reshape(expected.shape)
                if row.unit == NORM and np.linalg.norm(found - expected) <= ALONE * stored["global_norm"]:
                    found = expected
                deviation, bound = UNITS[row.unit](found, expected), row.bound
                if key in noise:
                    bound = max(bound, 3 * noise[key] / max(np.abs(expected).max(), 1e-30))
                worst.append(Result(row, 0, deviation, deviation / bound if bound else deviation, key))
        assert worst, f"nothing to compare in {row.file} for: {row.title}"
        results.append(max(worst, key=lambda result: result.share)._replace(number=len(worst)))
    check_every_key_has_a_row(reference, answers)
    return results


def noise_of(stored: Arrays) -> dict[str, float]:
    """How far the float32 numbers of a file are off, where it says so."""
    if "noise_names" not in stored:
        return {}
    return dict(zip(stored["noise_names"].tolist(), stored["noise_values"].tolist(), strict=True))


def check_every_key_has_a_row(reference: Files, answers: Mapping[str, Arrays]) -> None:
    """Raise AssertionError for numbers that nothing compares."""
    for file, found in answers.items():
        patterns = [row.keys for row in ROWS if row.file == file] + [UNBOUNDED]
        for key in found:
            assert key not in reference[file] or any(re.fullmatch(one, key) for one in patterns), (file, key)


def table(results: list[Result]) -> str:
    """The results as a Markdown table."""
    lines = ["| what | arrays | largest deviation | bound | unit | within |", "| --- | --- | --- | --- | --- | --- |"]
    for result in results:
        row = result.row
        bound = f"{row.bound:.0e}" if row.bound else "0"
        within = "yes" if is_within(result) else f"NO: {result.key}"
        lines.append(f"| {row.title} | {result.number} | {result.deviation:.1e} | {bound} | {row.unit} | {within} |")
    return "\n".join(lines) + "\n"


def is_within(result: Result) -> bool:
    """Whether a row keeps its bound."""
    return result.share <= 1 if result.row.bound else result.deviation == 0

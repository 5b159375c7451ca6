"""Table 3: how fine keypoint maps and disk offsets must be."""

from inspose_jax.sweep.rows import Row, Sweep

PAPER = {
    "1/16": {"AP": 62.6, "AP50": 85.8, "AP75": 68.2, "APM": 57.2, "APL": 70.5},
    "1/8": {"AP": 63.1, "AP50": 86.2, "AP75": 68.5, "APM": 58.5, "APL": 70.1},
    "1/4": {"AP": 62.0, "AP50": 83.9, "AP75": 67.5, "APM": 57.8, "APL": 69.1},
    "1/2": {"AP": 45.4, "AP50": 73.6, "AP75": 47.0, "APM": 39.1, "APL": 54.7},
}
RATIOS = {"1/16": 0.5, "1/8": 1, "1/4": 2, "1/2": 4}  # to P3, whose sides are an eighth of the image's


def sweep() -> Sweep:
    """P3 averaged to a half, as it is, and enlarged twice and four times before the branches read it."""
    rows = tuple(
        Row(of_image, f"--config.model.map-ratio {RATIOS[of_image]:g}", paper=PAPER[of_image]) for of_image in PAPER
    )
    return Sweep("Table 3: how fine must keypoint maps and disk offsets be?", rows, steps=1200, results="../results")

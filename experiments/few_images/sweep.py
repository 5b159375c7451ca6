"""What distortions gain when few images are seen many times, as in many epochs over a small dataset."""

import runpy
from pathlib import Path

from inspose_jax.sweep.rows import Row, Sweep

ELEMENTS = runpy.run_path(str(Path(__file__).parents[1] / "modern/sweep.py"))["ADDED"]
DISTORTIONS = ("large-scale jitter", "affine distortion", "photometric distortion")
FEW_HERE = "--config.data.num-drawn 128"  # 75 epochs in 1,200 steps of 8


def sweep() -> Sweep:
    """The elements of the sweep `modern` that change images, with few images in place of ever new ones."""
    rows = [
        Row("none", changes_here=FEW_HERE),
        *(Row(label, ELEMENTS[label], FEW_HERE) for label in DISTORTIONS),
        Row("all three", " ".join(ELEMENTS[label] for label in DISTORTIONS), FEW_HERE),
    ]
    return Sweep(
        "Distortions of images: what do they gain when few images are seen many times?",
        tuple(rows),
        steps=1200,
        seeds=(0, 1),
        results="../results",
    )

"""How long a recipe trains at full size on one accelerator, from the operations that it counts."""

from functools import cache
from typing import Any

from inspose_jax import counts, methods
from inspose_jax.config import Config

IMAGES = 57_000  # of an epoch: the paper's images with a labelled joint
PASSES = 3  # of a step, in forward passes: a gradient takes about two
PEAK = 989e12  # operations a second that NVIDIA states for an H100 (SXM), bfloat16, dense
SHARE = 0.27  # of that peak, measured for r50_coco_36e (experiments/benchmarks/train_step)
ASSUMED = (
    f"Hours are those of one H100, computed and not measured: {IMAGES:,} images an epoch, {PASSES} forward passes of "
    f"the counted multiply-adds a step, at {SHARE:.0%} of {PEAK / 1e12:.0f} Tflop/s, the share measured for "
    "`r50_coco_36e` with 110 images at a time and `--config.model.compute-dtype bfloat16`. In float32, and with 16 "
    "images at a time, as the commands stand, it takes longer; how much was not measured."
)


def hours(config: Config) -> float | None:
    """Hours of all epochs, at the first of `data.shapes`, without evaluation; None if a run itself finds its shapes."""
    if not config.data.shapes:
        return None
    operations = 2 * PASSES * multiply_adds(config.model, config.data.shapes[0])
    return config.schedule.epochs * IMAGES * operations / (PEAK * SHARE) / 3600


@cache
def multiply_adds(model: Any, shape: tuple[int, int]) -> int:
    """Those of a forward pass in training for one image."""
    return counts.count(methods.for_model(model), shape, train=True).multiply_adds

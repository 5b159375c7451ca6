"""What each element of a recipe for accuracy gains: `modern` beside the paper's."""

from inspose_jax.sweep.rows import Row, Sweep

ADDED = {
    "varifocal loss": "--config.model.classification-loss varifocal",
    "large-scale jitter": "--config.data.large-scale-jitter 0.5 1.5",
    "affine distortion": "--config.data.rotation 30 --config.data.translation 0.1",
    "photometric distortion": "--config.data.brightness 0.1 --config.data.contrast 0.2 --config.data.saturation 0.3 "
    "--config.data.hue 10",
    "bfloat16": "--config.model.compute-dtype bfloat16",
    "mirrored images in testing": "--config.data.test-flip",
}
TAKEN_AWAY = {
    "without the running average": "--config.schedule.ema 0",
    "steps in place of the cosine": "--config.schedule.decay step",
}


def sweep() -> Sweep:
    """One row an element: most are added to the small recipe, which has the last two, so these are taken away.

    At full size elements are added to the paper's recipe, and taken away from `modern`.
    """
    rows = [
        Row("none of the first six"),
        *(Row(label, changes) for label, changes in ADDED.items()),
        *(Row(label, changes, full_recipe="modern") for label, changes in TAKEN_AWAY.items()),
        Row("all of them", changes_here=" ".join(ADDED.values()), full_recipe="modern"),
        # The class score is then the OKS that is expected of a pose, perhaps enough to rank poses by.
        Row("class score alone", "--config.model.pose-score class"),
        Row("varifocal loss, class score alone", f"{ADDED['varifocal loss']} --config.model.pose-score class"),
    ]
    return Sweep(
        "A modern recipe: what does each of its elements gain?",
        tuple(rows),
        steps=1200,
        seeds=(0, 1),
        results="../results",
    )

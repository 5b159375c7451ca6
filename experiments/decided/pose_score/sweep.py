"""By which score poses are ranked: the paper does not say."""

from inspose_jax.sweep.rows import Row, Sweep


def sweep() -> Sweep:
    """The class score is the choice at full size, its product with the peaks on drawn people; the runs are the same."""
    rows = (
        Row("class score", "--config.model.pose-score class"),
        Row("class score x mean softmax peak", "--config.model.pose-score class_times_peak"),
    )
    return Sweep("Pose score: by what are poses ranked?", rows, steps=1200, results="../../results")

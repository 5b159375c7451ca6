"""From which overlap on the worse of two poses is dropped: the paper gives no number."""

from inspose_jax.sweep.rows import Row, Sweep


def sweep() -> Sweep:
    """IoU of the poses' rectangles; .6 is this package's choice.  All rows evaluate the same runs."""
    rows = tuple(Row(f"{iou}", f"--config.model.nms-threshold {iou}") for iou in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8))
    return Sweep("NMS threshold: which overlap is too large?", rows, steps=1200, results="../../results")

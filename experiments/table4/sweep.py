"""Table 4: what a box head costs the keypoints, and whether that is due to how locations are assigned."""

from inspose_jax.sweep.rows import Row, Sweep

PAPER = {
    "without boxes": {"AP": 63.1, "AP50": 86.2, "AP75": 68.5, "APM": 58.5, "APL": 70.1},
    "with boxes": {"AP": 62.5, "AP50": 86.2, "AP75": 68.1, "APM": 58.3, "APL": 70.3, "box AP": 52.5},
}


def sweep() -> Sweep:
    """The paper's two rows, and one more: locations assigned by the annotated boxes, as a detector does it."""
    boxes = "--config.model.box-head"
    return Sweep(
        question="Table 4: what does a box head cost the keypoints?",
        rows=(
            Row("without boxes", paper=PAPER["without boxes"]),
            Row("with boxes", boxes, paper=PAPER["with boxes"]),
            Row("with boxes, which also assign", f"{boxes} --config.model.assigned-boxes annotated"),
        ),
        steps=1200,
        results="../results",
    )

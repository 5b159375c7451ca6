"""Table 2: how many layers a KP-Net needs."""

from inspose_jax.sweep.rows import Row, Sweep

PAPER = {
    1: {"AP": 54.7, "AP50": 81.1, "AP75": 57.4, "APM": 50.5, "APL": 62.2},
    2: {"AP": 62.4, "AP50": 85.9, "AP75": 67.9, "APM": 58.0, "APL": 69.2},
    3: {"AP": 63.1, "AP50": 86.2, "AP75": 68.5, "APM": 58.5, "APL": 70.1},
    4: {"AP": 61.7, "AP50": 85.9, "AP75": 67.2, "APM": 57.1, "APL": 68.7},
}


def sweep() -> Sweep:
    """Depths 1 to 4; 3 is the paper's choice."""
    rows = tuple(
        Row(f"{depth} layer{'s' * (depth > 1)}", f"--config.model.kp-net.depth {depth}", paper=paper)
        for depth, paper in PAPER.items()
    )
    return Sweep(question="Table 2: how deep must a KP-Net be?", rows=rows, steps=1200, results="../results")

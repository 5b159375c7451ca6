"""Table 1: what disk offsets and the auxiliary heatmap branch add."""

from inspose_jax.sweep.rows import Row, Sweep

PAPER = {
    "neither": {"AP": 60.3, "AP50": 85.4, "AP75": 65.5, "APM": 55.0, "APL": 68.4},
    "disk offsets": {"AP": 62.1, "AP50": 86.0, "AP75": 67.5, "APM": 57.6, "APL": 69.1},
    "disk offsets and heatmaps": {"AP": 63.1, "AP50": 86.2, "AP75": 68.5, "APM": 58.5, "APL": 70.1},
}
CHANGES = {
    "neither": "--config.model.no-disk-offset --config.model.no-heatmap",
    "disk offsets": "--config.model.no-heatmap",
    "disk offsets and heatmaps": "",  # as in all other tables
}


def sweep() -> Sweep:
    """The paper's three rows."""
    return Sweep(
        question="Table 1: what do disk offsets and the heatmap branch add?",
        rows=tuple(Row(label, CHANGES[label], paper=paper) for label, paper in PAPER.items()),
        steps=1200,
        results="../results",
    )

"""Table 1: what disk offsets and the auxiliary heatmap branch add."""

from inspose_jax.sweep.rows import Row, Sweep

PAPER = {
    "neither": (60.3, 85.4, 65.5, 55.0, 68.4, 68.6, 91.0, 73.7),
    "disk offsets": (62.1, 86.0, 67.5, 57.6, 69.1, 70.2, 91.4, 75.3),
    "disk offsets and heatmaps": (63.1, 86.2, 68.5, 58.5, 70.1, 70.9, 91.2, 76.1),
}
NAMES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75")
CHANGES = {
    "neither": "--config.model.no-disk-offset --config.model.no-heatmap",
    "disk offsets": "--config.model.no-heatmap",
    "disk offsets and heatmaps": "",  # as in all other tables
}


def sweep() -> Sweep:
    """The paper's three rows."""
    return Sweep(
        question="Table 1: what do disk offsets and the heatmap branch add?",
        rows=tuple(Row(label, CHANGES[label], paper=dict(zip(NAMES, PAPER[label], strict=True))) for label in PAPER),
        steps=1200,
        results="../results",
    )

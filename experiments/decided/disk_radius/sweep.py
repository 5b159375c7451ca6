"""How far from a joint disk offsets are learnt: the paper gives no number."""

from inspose_jax.sweep.rows import Row, Sweep


def sweep() -> Sweep:
    """R of Sec. 3.3 in map cells; 1 is this package's choice, and 2 that of the small recipe."""
    labels = "1 cell", "2 cells", "3 cells"
    rows = tuple(Row(label, f"--config.model.disk-radius {label[0]}") for label in labels)
    return Sweep("Disk radius: how far from a joint are offsets learnt?", rows, steps=1200, results="../../results")

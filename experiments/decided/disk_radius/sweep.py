"""How far from a joint disk offsets are learnt: the paper gives no number."""

from inspose_jax.sweep.rows import Row, Sweep


def sweep() -> Sweep:
    """R of Sec. 3.3 in map cells; 2 is this package's choice."""
    rows = tuple(Row(f"{radius} cell{'s' * (radius > 1)}", f"--config.model.disk-radius {radius}") for radius in (1, 2, 3))
    return Sweep("Disk radius: how far from a joint are offsets learnt?", rows, steps=1200, results="../../results")

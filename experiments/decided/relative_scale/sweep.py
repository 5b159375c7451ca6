"""By how much the relative coordinates of a KP-Net are divided: the paper gives no number."""

from inspose_jax.sweep.rows import Row, Sweep


def sweep() -> Sweep:
    """Pixels on P3, doubled with every level; 64 is the released model's and this package's choice."""
    rows = tuple(Row(f"{pixels} pixels", f"--config.model.kp-net.relative-scale {pixels}") for pixels in (32, 64, 128))
    return Sweep("Relative scale: what divides the coordinates?", rows, steps=1200, results="../../results")

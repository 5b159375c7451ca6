"""How many locations around a person's centre are responsible for that person."""

from inspose_jax.sweep.rows import Row, Sweep


def sweep() -> Sweep:
    """Half side of the centre region in strides; 1.5 is the paper's choice and FCOS's."""
    labels = "1 stride", "1.5 strides", "2 strides"
    rows = tuple(Row(label, f"--config.model.centre-radius {label.split()[0]}") for label in labels)
    return Sweep("Centre radius: how large is the centre region?", rows, steps=1200, results="../../results")

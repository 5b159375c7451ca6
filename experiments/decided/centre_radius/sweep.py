"""How many locations around a person's centre are responsible for that person."""

from inspose_jax.sweep.rows import Row, Sweep


def sweep() -> Sweep:
    """Half side of the centre region in strides; 1.5 is the paper's choice and FCOS's."""
    rows = tuple(Row(f"{radius} stride{'s' * (radius > 1)}", f"--config.model.centre-radius {radius}") for radius in (1, 1.5, 2))
    return Sweep("Centre radius: how large is the centre region?", rows, steps=1200, results="../../results")

"""Many small arrays in one .npz file: one flat array of each type, and lines that tell them apart.

Alone, each array would take 300 bytes more.  The lines are "NAME 4x3x7x7" in the order of the numbers.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np


def save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name."""
    stored = {}
    for kind in sorted({array.dtype.str for array in arrays.values()}):
        some = {name: array for name, array in arrays.items() if array.dtype.str == kind}
        lines = "\n".join(f"{name} {'x'.join(map(str, array.shape))}" for name, array in some.items())
        stored[f"{kind}/lines"] = np.frombuffer(lines.encode(), np.uint8)
        stored[f"{kind}/values"] = np.concatenate([array.ravel() for array in some.values()])
    np.savez_compressed(path, **stored)


def load(path: Path) -> dict[str, np.ndarray]:
    """Read them."""
    found = {}
    with np.load(path) as file:
        for kind in [key.removesuffix("/lines") for key in file.files if key.endswith("/lines")]:
            values, start = file[f"{kind}/values"], 0
            for line in file[f"{kind}/lines"].tobytes().decode().splitlines():
                name, _, sides = line.rpartition(" ")
                shape = [int(side) for side in sides.split("x") if side]
                end = start + int(np.prod(shape))
                found[name] = values[start:end].reshape(shape)
                start = end
    return found

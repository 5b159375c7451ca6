"""Numbers from a run of the released code with a small random model, where the reference data has them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inspose_jax.torch_bridge import released_weights


@pytest.fixture(scope="session")
def golden(reference) -> Callable[[str], dict[str, np.ndarray]]:
    """Name -> the arrays of a file of reference numbers by key."""
    folder = reference / "golden"
    if not folder.is_dir():
        pytest.skip(f"no reference numbers at {folder}; set INSPOSE_REFERENCE_DATA")
    return lambda name: np.load(folder / f"{name}.npz")


@pytest.fixture(scope="session")
def small(golden):
    """The config of the small released model, and its variables."""
    tensors = dict(golden("model"))
    path = Path("model.npz")
    model = released_weights.config_of(path, tensors)
    return model, released_weights.variables_of(path, tensors, model)

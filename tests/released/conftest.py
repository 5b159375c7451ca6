"""Two sources of numbers: the torch oracle's fixtures, and a run of the authors' code where that reference data is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import packed
import pytest

from inspose_jax.torch_bridge import released_weights, variants

FIXTURES = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="session", params=["oracle", "authors"])
def source(request) -> str:
    """Whose numbers a test compares with."""
    return request.param


@pytest.fixture(scope="session")
def golden(source, reference) -> Callable[[str], dict[str, np.ndarray]]:
    """Name of a file of numbers -> its arrays by key; skips the test with a reason if it is missing."""

    def read(name: str) -> dict[str, np.ndarray]:
        if source == "oracle":
            return packed.load(FIXTURES / f"{name}.npz")
        path = reference / "golden" / f"{name}.npz"
        if not path.is_file():
            pytest.skip(f"no reference data at {path}; set INSPOSE_REFERENCE_DATA")
        return np.load(path)

    return read


@pytest.fixture(scope="session")
def small(golden):
    """The config of the small released model, and its variables."""
    tensors = dict(golden("model"))
    path = Path("model.npz")
    model = released_weights.config_of(path, tensors)
    return model, variants.variables_of(path, tensors, model)

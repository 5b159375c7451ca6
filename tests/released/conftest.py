"""Two sources of numbers: the torch oracle's fixtures, and a run of the authors' code where that reference data is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import packed
import pytest

from inspose_jax.torch_bridge import released_weights, variants

FIXTURES = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="session", params=["oracle", pytest.param("authors", marks=pytest.mark.slow)])
def source(request) -> str:
    """Whose numbers a test compares with."""
    return request.param


@pytest.fixture(scope="session")
def golden(source, golden) -> Callable[[str], dict[str, np.ndarray]]:
    """Name of a file of numbers -> its arrays by key; skips the test with a reason if it is missing."""
    return golden if source == "authors" else lambda name: packed.load(FIXTURES / f"{name}.npz")


@pytest.fixture(scope="session")
def small(golden):
    """The config of the small released model, and its variables."""
    tensors = dict(golden("model"))
    path = Path("model.npz")
    model = released_weights.config_of(path, tensors)
    return model, variants.variables_of(path, tensors, model)

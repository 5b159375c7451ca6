"""optax 0.2.8 takes a Python float to the power of an int32 count, which has no strict type."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield

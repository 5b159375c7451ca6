"""optax 0.2.8 takes a Python float to the power of an int32 count, flax 0.12.8 a bfloat16 map times a float32 scale.

Neither has a strict type.
"""

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield

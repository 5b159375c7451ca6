"""Two libraries mix types that strict promotion keeps apart: optax 0.2.8 takes a Python float to the power of an int32
count, flax 0.12.8 multiplies a bfloat16 map by a float32 scale.
"""

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield

"""Numbers from a run of the released code with a small random model, where the reference data has them."""

from pathlib import Path

import pytest

from inspose_jax.torch_bridge import released_weights, variants


@pytest.fixture(scope="session")
def small(golden):
    """The config of the small released model, and its variables."""
    tensors = dict(golden("model"))
    path = Path("model.npz")
    model = released_weights.config_of(path, tensors)
    return model, variants.variables_of(path, tensors, model)

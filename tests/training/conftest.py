"""Two libraries mix types that strict promotion keeps apart: optax 0.2.8 takes a Python float to the power of an int32
count, flax 0.12.8 multiplies a bfloat16 map by a float32 scale.
"""

import functools
from pathlib import Path

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def steps_are_traced_once():
    """Tracing a step takes longer than a dozen of its runs: runs of one config share it.  Who patches what a step does
    must not use the configs of a file that asks for this.
    """
    from inspose_jax.training import sharding  # not above: jaxtyping's hook is in place only after this file is read

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "jit_train_step", functools.cache(sharding.jit_train_step))
        yield


@pytest.fixture(scope="module")
def workdir(steps_are_traced_once, tmp_path_factory) -> Path:
    """The folder of the small run with all of its 12 steps; read-only."""
    import small_run

    from inspose_jax.training import loop

    folder = tmp_path_factory.mktemp("runs") / "a"
    loop.train(small_run.CONFIG, small_run.SOURCE, folder, num_steps=12)
    return folder

"""Session settings: 8 simulated devices, strict dtypes, and the place of the reference data."""

import os
from pathlib import Path

os.environ["JAX_PLATFORMS"] = os.environ.get("JAX_PLATFORMS", "cpu")
if os.environ["JAX_PLATFORMS"] == "cpu":  # compiling is most of a small test's time, also in a process of it
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")

REFERENCE = Path(os.environ.get("INSPOSE_REFERENCE_DATA", Path(__file__).parents[1] / ".." / "shared"))


def pytest_collection_modifyitems(items):
    """Files that take longest first, so that workers end at about the same time: with slow tests, and of training."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, item.path.parent.name != "training"))


@pytest.fixture(scope="session", autouse=True)
def _own_compilation_cache(tmp_path_factory):
    """A compilation cache shared by all tests and the processes that they start; the user's cache is not used."""
    cache = str(tmp_path_factory.mktemp("cache"))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
    jax.config.update("jax_compilation_cache_dir", cache)


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Path:
    """A read-only folder with a checkpoint `run` of random weights and a drawn dataset `drawn`."""
    import tiny  # not above: jaxtyping's hook is in place only after this file is read

    from inspose_jax import cli, methods
    from inspose_jax.checkpoints import Checkpoints
    from inspose_jax.training import step

    place = tmp_path_factory.mktemp("place")
    # Without a score threshold, random weights find people everywhere.
    config = replace(tiny.CONFIG, model=tiny.model(score_threshold=0.0, nms_threshold=0.9))
    variables = tiny.variables(config.model)
    with Checkpoints(place / "run" / "checkpoints", 0) as checkpoints, jax.numpy_dtype_promotion("standard"):
        checkpoints.save(1, step.state_of(variables, methods.for_model(config.model), config.schedule, 10), config)
    cli.main(["data", "draw", "--out", str(place / "drawn"), "--count", "4", "--size", "64"])
    return place


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of reference data; what a test needs from it may be missing."""
    return REFERENCE


@pytest.fixture(scope="session")
def golden(reference) -> Callable[[str], dict[str, np.ndarray]]:
    """Name of a file of reference numbers -> its arrays by key; skips the test with a reason if it is missing."""

    def read(name: str) -> dict[str, np.ndarray]:
        path = reference / "golden" / f"{name}.npz"
        if not path.is_file():
            pytest.skip(f"no reference data at {path}; set INSPOSE_REFERENCE_DATA")
        return np.load(path)

    return read


@pytest.fixture(scope="session")
def coco_real() -> Path:
    """The folder of real COCO images; skips the test with a reason if it is missing."""
    folder = REFERENCE / "data" / "coco_real"
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}; set INSPOSE_REFERENCE_DATA")
    return folder

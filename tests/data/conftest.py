"""Fixtures for the tests of several readers."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A COCO folder of four drawn images with one to three people each; read-only."""
    # Not above: jaxtyping's hook is in place only after this file is read.
    from inspose_jax.config import Scene
    from inspose_jax.data import coco
    from inspose_jax.data.drawn.people import DrawnPeople
    from inspose_jax.skeletons import COCO

    out = tmp_path_factory.mktemp("drawn") / "set"
    source = DrawnPeople(Scene(size=64, num_people=(1, 3)), "test", 0, 4)
    coco.write_folder(out, (source[i] for i in range(4)), COCO, 0.5)
    return out

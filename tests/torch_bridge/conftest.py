"""The PyTorch file by itself."""

import importlib.util
import shutil
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "inspose_jax" / "torch_bridge" / "inspose_torch.py"


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """The module, from a copy of its file somewhere else; without PyTorch the test is skipped."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; `make test-torch` has it")
    copy = shutil.copy(FILE, tmp_path_factory.mktemp("alone"))
    spec = importlib.util.spec_from_file_location("inspose_torch_alone", copy)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.set_num_threads(1)
    return module

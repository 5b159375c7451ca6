"""Compiled by torch.compile, the model in PyTorch finds the same people, also with the default backend, inductor."""

import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed; `make test-torch` has it")
torch_models = pytest.importorskip("torch_models")

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]  # PyTorch's compiler warns of its own parts
HAS_COMPILER = shutil.which("g++") or shutil.which("clang++")
INDUCTOR = pytest.param(
    "inductor",
    marks=[pytest.mark.slow, pytest.mark.skipif(not HAS_COMPILER, reason="inductor needs a C++ compiler on a CPU")],
)


@pytest.mark.parametrize("backend", ["aot_eager", INDUCTOR])
@pytest.mark.parametrize("given", [torch_models.PAPERS, torch_models.RELEASEDS], ids=["paper", "released"])
def test_compiled_it_finds_the_same_people(alone, given, backend):
    _, model = torch_models.both(given, alone)
    image = np.random.default_rng(0).integers(0, 256, (50, 61, 3), dtype=np.uint8)
    (expected,) = model.detect(image, threshold=0)
    assert len(expected["scores"]) > 3
    torch.compiler.reset()
    model.compile(backend=backend, fullgraph=True)
    (actual,) = model.detect(image, threshold=0)
    assert torch.equal(actual["locations"], expected["locations"])
    torch.testing.assert_close(actual["scores"], expected["scores"], rtol=0, atol=1e-5)
    torch.testing.assert_close(actual["keypoints"], expected["keypoints"], rtol=0, atol=1e-3)

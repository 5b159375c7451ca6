"""What `export` writes, read by PyTorch alone: strict keys, and the people that JAX finds."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from test_export import MODELS, config_of, random_variables, write_run

import inspose_jax
from inspose_jax.torch_bridge import export, save_torch

torch = pytest.importorskip("torch", reason="PyTorch is not installed; `make test-torch` has it")

pytestmark = pytest.mark.torch
ALONE = """
import sys
import numpy as np
from inspose_torch import load

model = load(sys.argv[1])
(people,) = model.detect(np.load("image.npy"), threshold=0)
np.savez("people.npz", **{name: values.numpy() for name, values in people.items()})
assert not {"inspose_jax", "jax"} & set(sys.modules)
"""


@pytest.fixture(autouse=True)
def _standard_promotion():  # the strict one promotes no half precision
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(params=MODELS)
def run_folder(request, tmp_path):
    one = config_of(MODELS[request.param])
    one = replace(one, data=replace(one.data, test_padding="own"))
    return write_run(tmp_path / "run", one, random_variables(one.model))


def test_the_folder_alone_finds_the_people_that_jax_finds(run_folder, tmp_path):
    save_torch(run_folder, tmp_path / "hub")
    save_torch(run_folder, tmp_path / "hub/again.pth")
    elsewhere = shutil.move(tmp_path / "hub", tmp_path / "elsewhere")
    image = np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    np.save(elsewhere / "image.npy", image)
    expected = inspose_jax.load(run_folder)(image, threshold=0.0)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for weights in (".", "again.pth"):
        command = [sys.executable, "-c", ALONE, weights]
        done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = np.load(elsewhere / "people.npz")
        assert len(found["scores"]) == len(expected) > 3
        np.testing.assert_allclose(found["scores"], expected.scores, rtol=0, atol=1e-5)
        np.testing.assert_allclose(found["keypoints"], expected.keypoints, rtol=0, atol=1e-3)


def test_a_pth_is_loaded_strictly_by_torch_itself(run_folder, tmp_path):
    from inspose_jax.torch_bridge import inspose_torch

    save_torch(run_folder, tmp_path / "a.pth")
    loaded = inspose_jax.load(run_folder)
    model = inspose_torch.InsPose(export.torch_config(loaded.config))
    found = torch.load(tmp_path / "a.pth", weights_only=True)
    assert {name: (x.dtype, x.shape) for name, x in found.items()} == {
        name: (x.dtype, x.shape) for name, x in model.state_dict().items()
    }
    model.load_state_dict(found, strict=True)
    kernel = np.asarray(loaded.variables["params"]["backbone"]["stage2"]["block0"]["shortcut_conv"]["kernel"])
    actual = model.state_dict()["backbone.layer2.0.downsample.0.weight"].numpy()
    np.testing.assert_array_equal(actual, kernel.transpose(3, 2, 0, 1))

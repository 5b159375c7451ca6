"""Files of tensors by their suffix, and the names that wrappers and hooks change or add."""

import numpy as np
import pytest

from inspose_jax.torch_bridge import load_torch, save_torch

MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)
TENSORS = {"w": MATRIX, "turned": MATRIX.T, "part": MATRIX[:, ::2], "count": np.array(7, np.int64)}


@pytest.mark.parametrize("suffix", ["pth", "pt", "safetensors"])
def test_what_is_saved_comes_back(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_text("earlier")
    save_torch(TENSORS, path)
    read = load_torch(str(path))
    assert read.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert (read[name].dtype, read[name].tolist()) == (array.dtype, array.tolist())
    assert [place.name for place in tmp_path.iterdir()] == [path.name]
    (tmp_path / "usual").touch()
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_other_suffixes_are_refused(tmp_path):
    for name in ("a.bin", "a"):
        with pytest.raises(ValueError, match=f"{name}: weights must be written to a .pth, .pt or .safetensors file"):
            save_torch(TENSORS, tmp_path / name)
        with pytest.raises(ValueError, match=f"{name}: weights must be a .pth, .pt or .safetensors file"):
            load_torch(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_wrapper_s_prefix_and_the_second_values_of_mmcv_s_averages_are_left_out(tmp_path):
    names = ("module.backbone.conv1.weight", "module.bn_1.bias", "ema_backbone_conv1_weight", "module.ema_bn_1_bias")
    save_torch(
        {name: np.full(1, i, np.float32) for i, name in enumerate((*names, "ema_of_nothing"))}, tmp_path / "a.pth"
    )
    read = load_torch(tmp_path / "a.pth")
    assert {name: int(array[0]) for name, array in read.items()} == {
        "backbone.conv1.weight": 0,
        "bn_1.bias": 1,
        "ema_of_nothing": 4,  # no second value of anything, so that whoever reads it can complain
    }


def test_a_damaged_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_torch({"w": np.ones(100, np.float32)}, path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"a.safetensors: not a safetensors file .* damaged"):
        load_torch(path)

"""Tensors as torch stores them: views of shared storages, and invalid files."""

import io
from collections import OrderedDict

import numpy as np
import pytest
from torch_files import Tensor, write_legacy, write_zip

from inspose_jax.torch_bridge import pth

STORAGE = ("FloatStorage", np.arange(8, dtype=np.float32))


def test_a_view_starts_at_its_offset_and_follows_its_strides():
    view = pth.rebuild_tensor(STORAGE, 1, (2, 3), (4, 1), False, OrderedDict())
    assert view.tolist() == [[1, 2, 3], [5, 6, 7]]
    assert pth.rebuild_tensor(STORAGE, 7, (), ()).tolist() == 7
    assert pth.rebuild_tensor(STORAGE, 0, (0, 3), (3, 1)).shape == (0, 3)


def test_a_tensor_is_a_copy_of_its_storage():
    flat = np.zeros(2, np.float32)
    view = pth.rebuild_tensor(("FloatStorage", flat), 0, (2,), (1,))
    view[0] = 1
    assert flat[0] == 0


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (9,), (1,)),
        (6, (3,), (1,)),
        (0, (2, 3), (6, 1)),
        (-1, (2,), (1,)),
        (8, (), ()),
        (0, (2,), (-1,)),
        (0, (2, 2), (-1, 3)),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(offset, size, stride):
    with pytest.raises(ValueError, match="beyond its storage"):
        pth.rebuild_tensor(STORAGE, offset, size, stride)


def test_a_parameter_is_read_as_its_tensor(tmp_path):
    reader = pth.Reader(io.BytesIO(), tmp_path, lambda pid: pid)
    tensor = np.ones(3)
    assert reader.find_class("torch._utils", "_rebuild_parameter")(tensor, True, OrderedDict()) is tensor


@pytest.mark.parametrize(
    ("module", "name"), [("builtins", "eval"), ("torch", "load"), ("torch._utils", "_rebuild_tensor"), ("os", "system")]
)
def test_only_functions_that_rebuild_tensors_are_allowed(tmp_path, module, name):
    with pytest.raises(ValueError, match=f"holds {module}.{name}, which is not a tensor and is not executed"):
        pth.Reader(io.BytesIO(), tmp_path, lambda pid: pid).find_class(module, name)


@pytest.mark.parametrize("level", ["state_dict", "model"])
def test_a_state_dict_inside_a_checkpoint_is_found(tmp_path, level):
    write_zip(tmp_path / "a.pth", {level: OrderedDict(w=Tensor(np.ones(2, np.float32))), "epoch": 3})
    assert pth.read_pth(tmp_path / "a.pth").keys() == {"w"}


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_a_file_cut_anywhere_is_refused_with_its_name(tmp_path, write):
    path = tmp_path / "a.pth"
    write(path, {"w": Tensor(np.ones(20, np.float32))})
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"a\.pth: .*damaged|a\.pth: not a file that torch.save wrote"):
            pth.read_pth(path)


def test_a_zip_whose_bytes_changed_is_refused(tmp_path):
    path = tmp_path / "a.pth"
    write_zip(path, {"w": Tensor(np.full(20, 7, np.float32))})
    seven = np.float32(7).tobytes()
    path.write_bytes(path.read_bytes().replace(seven, np.float32(8).tobytes(), 1))
    with pytest.raises(ValueError, match=r"a\.pth: not a file that torch.save wrote .*damaged"):
        pth.read_pth(path)


@pytest.mark.parametrize("content", [[Tensor(np.ones(2, np.float32))], "text"])
def test_a_file_without_a_state_dict_is_refused(tmp_path, content):
    write_zip(tmp_path / "a.pth", content)
    with pytest.raises(ValueError, match=r"a.pth: holds (list|str), not a state_dict"):
        pth.read_pth(tmp_path / "a.pth")

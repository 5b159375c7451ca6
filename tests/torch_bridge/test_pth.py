"""Tensors as torch stores them: views of shared storages, invalid files, and files that we write."""

import io
import os
import struct
import zipfile
from collections import OrderedDict

import jax.numpy as jnp
import numpy as np
import pytest
from torch_files import Tensor, write_legacy, write_zip

from inspose_jax.torch_bridge import pth

STORAGE = np.arange(8, dtype=np.float32)


def test_a_view_starts_at_its_offset_and_follows_its_strides():
    view = pth.rebuild_tensor(STORAGE, 1, (2, 3), (4, 1), False, OrderedDict())
    assert view.tolist() == [[1, 2, 3], [5, 6, 7]]
    assert pth.rebuild_tensor(STORAGE, 7, (), ()).tolist() == 7
    assert pth.rebuild_tensor(STORAGE, 0, (0, 3), (3, 1)).shape == (0, 3)


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_tensors_of_one_storage_share_their_memory_and_can_be_written_to(tmp_path, write):
    shared = Tensor(np.zeros(4, np.float32))
    write(tmp_path / "a.pth", {"a": shared, "b": shared, "c": Tensor(np.zeros(4, np.float32))})
    read = pth.read_pth(tmp_path / "a.pth")
    read["a"][1] = 1
    assert [array.tolist() for array in read.values()] == [[0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


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


def mmcv_checkpoint(meta):
    """What mmcv's runner saves, with a momentum of its optimizer."""
    momentum = {"momentum_buffer": Tensor(np.full(2, 9, np.float32))}
    optimizer = {"state": {0: momentum}, "param_groups": [{"lr": 0.01, "nesterov": False, "params": [0]}]}
    weights = OrderedDict({"backbone.conv1.weight": Tensor(np.ones(2, np.float32))})
    return {"meta": meta, "state_dict": weights, "optimizer": optimizer}


META = {"epoch": 12, "iter": 90_000, "seed": None, "config": "lr = 0.01\n", "CLASSES": ("person",), "hook_msgs": {}}


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_of_a_checkpoint_as_mmcv_nests_it_the_state_dict_is_read(tmp_path, write):
    write(tmp_path / "a.pth", mmcv_checkpoint(META))
    read = pth.read_pth(tmp_path / "a.pth")
    assert {name: array.tolist() for name, array in read.items()} == {"backbone.conv1.weight": [1, 1]}


OF_NUMPY = {
    "best": np.float64(0.652),
    "matrix": np.arange(6.0).reshape(2, 3).T,
    "words": np.array(["a", "b"]),
    "objects": np.array([{"a": np.int64(1)}], object),
    "type": np.dtype([("x", "<f4")]),
}


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_objects_of_numpy_beside_the_weights_are_passed_over(tmp_path, write):
    write(tmp_path / "a.pth", mmcv_checkpoint({**META, "hook_msgs": OF_NUMPY}))
    read = pth.read_pth(tmp_path / "a.pth")
    assert {name: array.tolist() for name, array in read.items()} == {"backbone.conv1.weight": [1, 1]}


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_numpy_before_its_second_version_is_passed_over_too(tmp_path, module):
    reader = pth.Reader(io.BytesIO(), tmp_path, lambda pid: pid)
    assert vars(reader.find_class(module, "scalar")(np.dtype("f8"), b"12345678")) == {}
    with pytest.raises(ValueError, match=f"holds {module}.fromfile, which is not a tensor"):
        reader.find_class(module, "fromfile")


class Runs:
    def __reduce__(self):
        return os.mkdir, ("harmed",)


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_a_class_inside_an_object_of_numpy_is_refused(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.pth", mmcv_checkpoint({"best": np.array([Runs()], object)}))
    with pytest.raises(ValueError, match=r"a.pth: holds \w+.mkdir, which is not a tensor"):
        pth.read_pth(tmp_path / "a.pth")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_a_class_anywhere_in_a_checkpoint_is_refused_in_one_line(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.pth", mmcv_checkpoint({**META, "hook_msgs": [{"last": Runs()}]}))
    with pytest.raises(ValueError, match=r"^[^\n]*a.pth: holds \w+.mkdir, which is not a tensor[^\n]*$"):
        pth.read_pth(tmp_path / "a.pth")
    assert not (tmp_path / "harmed").exists()


RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(3, 4)).astype(np.float32)
TENSORS = {
    "conv.weight": RNG.normal(size=(2, 3, 5, 4)).astype(np.float32),
    "bn.num_batches_tracked": np.array(2**40 + 1, np.int64),
    "any bits": np.frombuffer(RNG.bytes(40), np.float32),  # NaNs of all kinds among them
    "signed zero": np.array([0.0, -0.0, np.inf, 1e-45], np.float32),
    "double": RNG.normal(size=3),
    "half": RNG.normal(size=3).astype(np.float16),
    "bool": np.array([True, False]),
    "empty": np.zeros((0, 3), np.float32),
    "turned": MATRIX.T,
    "every second": MATRIX[:, ::2],
    "großer name": np.arange(-3, 3, dtype=np.int8),
    **{name: np.array([0, 1, 100]).astype(name) for name in ("uint8", "int16", "int32", "int64")},
}
BFLOAT = np.array([1.5, -np.inf, 3e38], jnp.bfloat16)  # which numpy does not have, and torch does not give to it


def same(a, b):
    """Whether two arrays have the same type, shape and bits."""
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def test_what_is_written_is_read_bit_for_bit_in_the_same_order(tmp_path):
    tensors = {**TENSORS, "bfloat": BFLOAT}
    pth.write_pth(tmp_path / "a.pth", tensors)
    read = pth.read_pth(tmp_path / "a.pth")
    assert list(read) == list(tensors)
    assert [name for name in tensors if not same(read[name], tensors[name])] == []


def test_the_other_order_of_bytes_means_the_same_numbers(tmp_path):
    pth.write_pth(tmp_path / "a.pth", {"w": MATRIX.astype(">f4")})
    assert same(pth.read_pth(tmp_path / "a.pth")["w"], MATRIX)


def test_the_same_tensors_give_the_same_file(tmp_path):
    for name in ("a.pth", "b.pth"):
        pth.write_pth(tmp_path / name, TENSORS)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_numbers_lie_uncompressed_at_multiples_of_64_bytes(tmp_path):
    pth.write_pth(tmp_path / "a.pth", TENSORS)
    content = (tmp_path / "a.pth").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        entries = archive.infolist()
    for entry in entries:
        lengths = struct.unpack_from("<HH", content, entry.header_offset + 26)  # of the name and the extra field
        assert (entry.header_offset + 30 + sum(lengths)) % 64 == 0
        assert entry.compress_type == zipfile.ZIP_STORED
    assert len(entries) == len(TENSORS) + 3


@pytest.mark.parametrize("kind", [np.uint16, np.complex64, "U3", "datetime64[s]"])
def test_what_torch_has_no_storage_for_is_refused_and_an_earlier_file_stays(tmp_path, kind):
    (tmp_path / "a.pth").write_text("earlier")
    with pytest.raises(ValueError, match=r"a.pth: w is .*, which a .pth cannot hold; convert it"):
        pth.write_pth(tmp_path / "a.pth", {"v": MATRIX, "w": np.zeros(2, kind)})
    assert [path.read_text() for path in tmp_path.iterdir()] == ["earlier"]


def test_a_write_that_fails_midway_leaves_the_earlier_file(tmp_path, monkeypatch):
    (tmp_path / "a.pth").write_text("earlier")
    add = pth.add

    def full(archive, name, content):
        add(archive, name, content)
        if name == "data/3":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(pth, "add", full)
    with pytest.raises(ValueError, match=r"a.pth: cannot be written \(No space left"):
        pth.write_pth(tmp_path / "a.pth", TENSORS)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["earlier"]


@pytest.mark.torch
@pytest.mark.parametrize("how", [{}, {"mmap": True}])
def test_torch_reads_what_is_written_without_running_code(tmp_path, how):
    torch = pytest.importorskip("torch")
    pth.write_pth(tmp_path / "a.pth", {**TENSORS, "bfloat": BFLOAT})
    read = torch.load(tmp_path / "a.pth", weights_only=True, **how)
    assert list(read) == [*TENSORS, "bfloat"]
    assert torch.equal(read["bfloat"], torch.tensor(BFLOAT.astype(np.float32)).bfloat16())
    assert [name for name in TENSORS if not same(read[name].numpy(), TENSORS[name])] == []
    assert all(tensor.is_contiguous() for tensor in read.values())


@pytest.mark.torch
def test_a_module_of_torch_takes_what_is_written_strictly(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    ones = {name: np.ones_like(tensor.numpy()) for name, tensor in module.state_dict().items()}
    pth.write_pth(tmp_path / "a.pth", ones)
    module.load_state_dict(torch.load(tmp_path / "a.pth", weights_only=True), strict=True)
    assert all((tensor == 1).all() for tensor in module.state_dict().values())


@pytest.mark.torch
@pytest.mark.parametrize("is_zip", [True, False])
def test_what_torch_writes_is_read_bit_for_bit(tmp_path, is_zip):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(array.copy()) for name, array in TENSORS.items()}
    tensors["view"] = tensors["conv.weight"][1, :, 1:4].permute(2, 0, 1)
    tensors["bfloat"] = torch.tensor(BFLOAT.astype(np.float32)).bfloat16()
    tensors["parameter"] = torch.nn.Parameter(tensors["double"])
    content = {"meta": META, "state_dict": OrderedDict(tensors), "optimizer": {"state": {0: tensors["half"]}}}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=is_zip)
    read = pth.read_pth(tmp_path / "a.pth")
    assert list(read) == list(tensors)
    assert same(read.pop("bfloat"), BFLOAT)
    assert [name for name in read if not same(read[name], tensors[name].detach().numpy())] == []

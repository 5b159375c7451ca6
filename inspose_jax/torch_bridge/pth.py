"""Tensors in `.pth` files: both formats of torch.save are read, the newer one is written; no torch, no code is run.

A `.pth` is a pickle, which may call any function by name.  This reader allows only those that rebuild tensors.  The
scalars and arrays of numpy among what training frameworks store beside the weights are passed over, not built.
"""

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from inspose_jax import files
from inspose_jax.errors import UserError

STORAGES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(jnp.bfloat16),  # numpy has none of its own
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
KINDS = {dtype: name for name, dtype in STORAGES.items()}
PASSED_OVER = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    ("_codecs", "encode"),  # how pickle's second protocol, torch's, writes the bytes of such an array
}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
ALIGNMENT = 64  # bytes: torch can then use the numbers where they lie in a mapped file


class StorageType:
    """Stands in for torch.FloatStorage and the other storage types."""

    def __init__(self, name: str):
        self.dtype = STORAGES[name]


class PassedOver:
    """Stands in for an object of numpy, and for what makes one; takes any arguments and state, and keeps nothing."""

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class Reader(pickle.Unpickler):
    """An unpickler of tensors; `storage` maps a persistent id to its flat array."""

    def __init__(self, file: Any, path: Path, storage: Callable[[tuple], np.ndarray]):
        super().__init__(file)
        self.path, self.storage = path, storage

    def find_class(self, module: str, name: str) -> Any:
        """Allow only what rebuilds tensors or is passed over; raises UserError for anything else."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in STORAGES:
            return StorageType(name)
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if (module, name) in PASSED_OVER:
            return PassedOver
        raise UserError(
            f"{self.path}: holds {module}.{name}, which is not a tensor and is not executed; save a plain state_dict, "
            f"or convert it to .safetensors"
        )

    def persistent_load(self, pid: Any) -> Any:
        """The storage that a tensor refers to."""
        return self.storage(pid)


def rebuild_tensor(
    flat: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> np.ndarray:
    """A view of a tensor's flat storage by offset, size and stride."""
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    is_backwards = min(0, offset, *size, *stride) < 0  # `last` misses it if another stride makes up for a negative one
    if is_backwards or (min(size, default=1) > 0 and last >= len(flat)):
        raise UserError("a tensor reaches beyond its storage")
    flat = flat[offset:]
    strides = [s * flat.itemsize for s in stride]
    return np.lib.stride_tricks.as_strided(flat, size, strides)


def read_pth(path: Path) -> dict[str, np.ndarray]:
    """The state_dict in a file; raises UserError if it has none, or holds objects other than tensors.

    Tensors that share memory in PyTorch share it here too.
    """
    try:
        content = read_zip(path) if zipfile.is_zipfile(path) else read_legacy(path)
    except ValueError as error:  # also those of numpy and pickle for a damaged file
        raise UserError(str(error) if str(path) in str(error) else f"{path}: {error}; is it damaged?") from None
    except (
        pickle.UnpicklingError,
        EOFError,
        KeyError,
        IndexError,
        AttributeError,
        TypeError,
        OverflowError,
        zipfile.BadZipFile,
    ) as error:
        raise UserError(f"{path}: not a file that torch.save wrote ({type(error).__name__}); is it damaged?") from None
    for level in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(level), dict):
            content = content[level]
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds {type(content).__name__}, not a state_dict of tensors")
    return {name: tensor for name, tensor in content.items() if isinstance(tensor, np.ndarray)}


def read_zip(path: Path) -> Any:
    """The format since PyTorch 1.6: a zip of one pickle and one file per storage."""
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/data.pkl") or name == "data.pkl"]
        folder = name.removesuffix("data.pkl")

        @cache
        def content(key: str) -> bytearray:
            return bytearray(archive.read(f"{folder}data/{key}"))  # unlike bytes, it can be written to

        def storage(pid: tuple) -> np.ndarray:
            _, kind, key, _, _ = pid
            return np.frombuffer(content(key), kind.dtype)

        return Reader(io.BytesIO(archive.read(name)), path, storage).load()


def read_legacy(path: Path) -> Any:
    """The format before PyTorch 1.6: several pickles in a row, then the storages in the order of their keys.

    The pickle of the tensors refers to storages whose bytes come later, so it is read twice, first only to learn the
    types of the storages.
    """

    def nothing(_: tuple) -> np.ndarray:
        raise UserError("a storage where none belongs")

    kinds: dict[str, StorageType] = {}

    def note(pid: tuple) -> np.ndarray:
        kinds[pid[2]] = pid[1]
        return np.broadcast_to(np.zeros(1, pid[1].dtype), (pid[4],))

    with path.open("rb") as file:
        if Reader(file, path, nothing).load() != LEGACY_MAGIC:
            raise UserError(f"{path}: not a file that torch.save wrote")
        for _ in range(2):  # protocol version, system information
            Reader(file, path, nothing).load()
        start = file.tell()
        Reader(file, path, note).load()
        keys = Reader(file, path, nothing).load()
        size, flat = path.stat().st_size, {}
        for key in keys:
            number = int.from_bytes(file.read(8), "little")
            flat[key] = np.fromfile(file, kinds[key].dtype, min(number, size))  # a damaged number may be any
        file.seek(start)
        return Reader(file, path, lambda pid: flat[pid[2]]).load()


# --- writing --------------------------------------------------------------------------------------------------------


def write_pth(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write a state_dict as torch.save does, completely or not at all; the same tensors always give the same bytes.

    `torch.load` reads it with `weights_only=True` and with `mmap=True`.  Raises UserError for a type that torch has no
    storage for, or if the file cannot be written.
    """
    arrays = {name: little_endian(np.asarray(tensor)) for name, tensor in tensors.items()}
    for name, array in arrays.items():
        if array.dtype not in KINDS:
            raise UserError(f"{path}: {name} is {array.dtype}, which a .pth cannot hold; convert it, as to float32")
    with files.atomic(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        add(archive, "data.pkl", b"".join(state_dict_opcodes(arrays)))
        add(archive, "byteorder", b"little")
        for key, array in enumerate(arrays.values()):
            add(archive, f"data/{key}", array.tobytes())  # in the order of its indices, however it lies in memory
        add(archive, "version", b"3\n")


def little_endian(array: np.ndarray) -> np.ndarray:
    """The same numbers, with their bytes in the order that is common today."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add an uncompressed file whose content begins at a multiple of ALIGNMENT, with an extra field as padding."""
    entry = zipfile.ZipInfo(f"archive/{name}")
    assert archive.fp is not None
    header = 30 + len(entry.filename) + 4  # the last 4 bytes are the extra field's own header
    padding = -(archive.fp.tell() + header) % ALIGNMENT
    entry.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    archive.writestr(entry, content)


def state_dict_opcodes(arrays: Mapping[str, np.ndarray]) -> Iterator[bytes]:
    """The pickle of an OrderedDict of tensors; the numbers of the i-th one are the storage with the key `i`.

    It is put together from opcodes, since Python's pickler writes names of torch's functions only where torch is there.
    """
    ordered_dict = named("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    yield pickle.PROTO + b"\x02" + ordered_dict + pickle.MARK
    for key, (name, array) in enumerate(arrays.items()):
        kind = named("torch", KINDS[array.dtype])
        strides = tuple(math.prod(array.shape[i + 1 :]) for i in range(array.ndim))
        yield plain(name) + named("torch._utils", "_rebuild_tensor_v2") + pickle.MARK
        yield pickle.MARK + plain("storage") + kind + plain(str(key)) + plain("cpu") + plain(array.size) + pickle.TUPLE
        yield pickle.BINPERSID + plain(0) + plain(array.shape) + plain(strides) + plain(False) + ordered_dict
        yield pickle.TUPLE + pickle.REDUCE
    yield pickle.SETITEMS + pickle.STOP


def named(module: str, name: str) -> bytes:
    """The opcode for a global."""
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def plain(value: Any) -> bytes:
    """The opcodes for a number, a text or a tuple of them: its whole pickle without the first and the last opcode."""
    return pickle.dumps(value, protocol=2)[2:-1]

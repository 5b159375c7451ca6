"""Files as torch.save writes them, without torch; and the tensors of torchvision's weights for a backbone."""

import io
import pickle
import zipfile
from collections import OrderedDict

import jax
import numpy as np
import tiny

from inspose_jax.torch_bridge import names, pth


class Named:
    """Pickles as a reference to a global of another module, as torch's types do."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name

    def __reduce__(self):
        raise AssertionError("only by Pickler.reducer_override")


class Tensor:
    """An array, with the stride it should have in the file."""

    def __init__(self, array: np.ndarray, kind: str = "FloatStorage", transposed: bool = False):
        self.array, self.kind, self.transposed = array, kind, transposed


class TorchPickler(pickle._Pickler):
    """Writes what torch.save writes; storages go to `storages`."""

    def __init__(self, file, legacy: bool):
        super().__init__(file, protocol=2)
        self.legacy, self.storages = legacy, {}

    def persistent_id(self, obj):
        if isinstance(obj, tuple) and obj and obj[0] == "a storage":
            _, key, kind, size = obj
            return ("storage", Named("torch", kind), key, "cpu", size, *((None,) if self.legacy else ()))
        return None

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Named):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Tensor):
            flat = obj.array.T.ravel() if obj.transposed else obj.array.ravel()
            key = str(id(obj))  # a tensor that occurs twice has one storage
            self.storages[key] = flat
            strides = [int(s) // obj.array.itemsize for s in obj.array.strides]
            if obj.transposed:
                strides = [int(np.prod(obj.array.shape[:i], initial=1)) for i in range(obj.array.ndim)]
            self.save(Named("torch._utils", "_rebuild_tensor_v2"))
            self.write(pickle.MARK)
            storage = ("a storage", key, obj.kind, flat.size)
            for argument in (storage, 0, obj.array.shape, tuple(strides), False, OrderedDict()):
                self.save(argument)
            self.write(pickle.TUPLE + pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def write_zip(path, content):
    file = io.BytesIO()
    pickler = TorchPickler(file, legacy=False)
    pickler.dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", file.getvalue())
        for key, flat in pickler.storages.items():
            archive.writestr(f"archive/data/{key}", flat.tobytes())


def write_legacy(path, content):
    with path.open("wb") as file:
        for head in (pth.LEGACY_MAGIC, 1001, {"little_endian": True}):
            pickle.dump(head, file, protocol=2)
        pickler = TorchPickler(file, legacy=True)
        pickler.dump(content)
        pickle.dump([*pickler.storages], file, protocol=2)
        for flat in pickler.storages.values():
            file.write(flat.size.to_bytes(8, "little") + flat.tobytes())


def backbone(model):
    """Shapes of our backbone by torchvision's names, and the tree they go into."""
    shapes = jax.eval_shape(
        lambda: tiny.network(model).init(
            jax.random.key(0), np.zeros((1, 64, 64, 3), np.uint8), np.zeros((1, 2), np.int32), train=True
        )
    )
    flat = {}
    for kind in ("params", "batch_stats"):
        for path, leaf in jax.tree_util.tree_flatten_with_path(shapes[kind]["backbone"])[0]:
            flat[names.backbone_name(tuple(entry.key for entry in path))] = names.torch_shape(leaf.shape)
    return flat

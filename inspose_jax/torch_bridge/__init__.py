"""Weights from PyTorch and for it, without PyTorch.

`pth` reads and writes `.pth` files, `tensor_files` chooses the format by the suffix, `names` and `released_names` are
the only tables of names and axis orders.  `weights` puts arrays into a backbone of ours, `released_weights` into the
whole released model, which `imported` writes as a run; `export` takes them out.  `inspose_torch` is the model in
PyTorch, one file that needs nothing of this package.
"""

from inspose_jax.torch_bridge.tensor_files import load_torch, save_torch

__all__ = ["load_torch", "save_torch"]

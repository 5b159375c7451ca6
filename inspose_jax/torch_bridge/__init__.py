"""Weights from PyTorch and for it, without PyTorch.

`pth` reads and writes `.pth` files, `tensor_files` chooses the format by the suffix, `names` is the only table of names
and axis orders, `weights` puts the arrays into our trees.
"""

from inspose_jax.torch_bridge.tensor_files import load_torch, save_torch

__all__ = ["load_torch", "save_torch"]

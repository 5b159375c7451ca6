"""Weights from PyTorch and for it, without PyTorch.

`pth` reads and writes `.pth` files, `tensor_files` chooses the format by the suffix.  `names` and `released_names` are
the only tables of names and axis orders, `paper_weights` and `released_weights` tell a model's config by its tensors,
and `variants` has all of this for each method.  `fitting` puts tensors into a tree of ours, `weights` into a backbone.
`reading` reads a whole model, from PyTorch's files as from our checkpoints, `imported` writes it as a run, and `export`
writes it for PyTorch.  `inspose_torch` is the model in PyTorch, one file that needs nothing of this package; `graph`
makes ONNX of it, which needs PyTorch, and `inspose_numpy`, a file of its own too, finds people with that.
"""

from inspose_jax.torch_bridge.export import save_torch
from inspose_jax.torch_bridge.tensor_files import load_torch

__all__ = ["load_torch", "save_torch"]

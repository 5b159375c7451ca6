"""Weights from PyTorch, without PyTorch.

`pth` reads files, `names` is the only table of names and axis orders, `weights` puts arrays into our trees.
"""

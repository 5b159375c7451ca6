"""Weights from PyTorch, without PyTorch.

`pth` reads files, `names` is the only table of names and axis orders, `weights` puts the arrays into our trees.
"""

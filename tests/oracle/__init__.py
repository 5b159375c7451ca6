"""The torch oracle: what the released model has to compute, in readable PyTorch and float64, for tests of the JAX code.

    network.py           the network, from `inspose_jax/torch_bridge/inspose_torch.py`, and all of its stages
    released_ops.py      single operations
    released_targets.py  which location answers for whom; heatmaps and offsets
    released_losses.py   the seven terms, with the slips of the released code or without
    answers.py           every array of a file of reference numbers, computed from the inputs in it
    questions.py         the inputs of our own files
    compare.py           the bound of each, and how far off the oracle is
    make.py              compares with the authors' numbers and writes `tests/golden/`

It was written from facts about the released code, and shares nothing with the JAX code: loops over people, joints and
cells in place of arrays.  It needs torch and numpy.
"""

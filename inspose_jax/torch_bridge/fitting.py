"""Put a PyTorch file's tensors into a tree of our arrays: all of them fit, or everything that does not is told."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from inspose_jax.torch_bridge import names


def fill(tree: Any, name_of: Callable[[tuple[str, ...]], str], tensors: Mapping[str, np.ndarray]) -> tuple[Any, str]:
    """`tree` ({"params": .., "batch_stats": ..}, arrays or their shapes) with the tensors in it, and what does not fit.

    `name_of` gives PyTorch's name of a path below "params" or "batch_stats".  A leaf without a tensor of its shape
    stays as it is.  The second value names each such leaf and each tensor without a place, `2 missing: a, b; ..`; it is
    empty if everything fits.  Counts of batches have no place and are passed over.  The arrays share the tensors'
    memory wherever the type is the same.
    """
    used: set[str] = set()
    missing: list[str] = []
    other_shape: list[str] = []

    def take(tree_path: tuple, leaf: Any) -> Any:
        name = name_of(tuple(entry.key for entry in tree_path[1:]))
        used.add(name)
        if name not in tensors:
            missing.append(name)
            return leaf
        array = names.to_flax(tensors[name])
        if array.shape != leaf.shape:
            other_shape.append(f"{name} {tensors[name].shape}, the model's {names.torch_shape(leaf.shape)}")
            return leaf
        return np.asarray(array, leaf.dtype)

    filled = jax.tree_util.tree_map_with_path(take, tree)
    unknown = [name for name in tensors if name not in used and not names.is_counter(name)]
    groups = (("missing", missing), ("not in the model", unknown), ("of another shape", other_shape))
    return filled, "; ".join(f"{len(found)} {what}: {', '.join(found)}" for what, found in groups if found)

"""Our variables -> the tensors of a PyTorch model, by their names there."""

from typing import Any

import jax
import numpy as np

from inspose_jax import config, config_json
from inspose_jax.torch_bridge import names


def state_dict(variables: Any, model: config.Model) -> dict[str, np.ndarray]:
    """The variables of the paper's model as the state_dict of the model in `inspose_torch.py`.

    PyTorch counts the batches that a batch norm has seen.  We do not, so every count is 0; nothing depends on it as
    long as a batch norm's momentum is a number.
    """
    tensors: dict[str, np.ndarray] = {}
    for kind in ("params", "batch_stats"):
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables[kind]):
            name = names.paper_name(tuple(entry.key for entry in path), model.network)
            tensors[name] = names.to_torch(np.asarray(leaf))
    counts = {name.replace("running_var", names.COUNTER) for name in tensors if name.endswith("running_var")}
    return {**tensors, **{name: np.zeros((), np.int64) for name in sorted(counts)}}


def torch_config(config: config.Config) -> dict[str, Any]:
    """The content of a config.json, which the model in `inspose_torch.py` is made from."""
    return config_json.to_dict(config)

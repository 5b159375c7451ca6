"""What the bridge knows of each method of the package that has a model in PyTorch: the table that all else looks up."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from inspose_jax import methods
from inspose_jax.errors import UserError
from inspose_jax.skeletons import Skeleton
from inspose_jax.torch_bridge import paper_weights, released_weights
from inspose_jax.torch_bridge.fitting import fill
from inspose_jax.torch_bridge.names import paper_name
from inspose_jax.torch_bridge.released_names import released_name


class Variant(NamedTuple):
    """One of the models that PyTorch's file has too."""

    method: str  # its name in `methods.METHODS`
    words: str  # for messages
    mark: str  # a key of its weights, which none of those listed before it has
    recipe: str  # whose data and schedule count where a file has no config
    config_of: Callable[[Path, Mapping[str, np.ndarray], Skeleton], Any]
    """(path, tensors, skeleton) -> the config of the model."""
    name_of: Callable[[tuple[str, ...], Any], str]
    """(path of a parameter or statistic of ours, config of the model) -> its name in PyTorch."""


VARIANTS = {  # by the name that a user gives
    "released": Variant(
        "released",
        "the released model",
        released_weights.MARK,
        "released_r50_coco_3x",
        released_weights.config_of,
        lambda path, model: released_name(path, model.network.keypoint_depth),
    ),
    "paper": Variant(
        "inspose",
        "the paper's model",
        paper_weights.MARK,
        "r50_coco_36e",
        paper_weights.config_of,
        lambda path, model: paper_name(path, model.network),
    ),
}


def recognise(path: Path, tensors: Mapping[str, np.ndarray]) -> Variant:
    """The variant in a file, by its keys; raises UserError if it is none."""
    for variant in VARIANTS.values():
        if variant.mark in tensors:
            return variant
    raise UserError(
        f"{path}: not a whole model of InsPose (no {paper_weights.MARK}); weights of a backbone alone go to "
        f"inspose train --init"
    )


def of_model(model: Any) -> Variant:
    """The variant that a `Config.model` belongs to; it must be a method of the package."""
    return next(variant for variant in VARIANTS.values() if variant.method == methods.name_of(model))


def torch_name(model: Any) -> Callable[[tuple[str, ...]], str]:
    """PyTorch's name of each path below "params" and "batch_stats", for a `Config.model`."""
    name_of = of_model(model).name_of
    return lambda path: name_of(path, model)


def variables_of(path: Path, tensors: Mapping[str, np.ndarray], model: Any) -> Any:
    """The variables {"params": .., "batch_stats": ..} of a model, float32, from the tensors of a file.

    Raises UserError, which lists what is missing, unexpected or of another shape.
    """
    shapes = jax.eval_shape(methods.for_model(model).init, jax.random.key(0))
    variables, faults = fill(shapes, torch_name(model), tensors)
    if faults:
        raise UserError(f"{path}: the weights do not fit {of_model(model).words} of its config: {faults}")
    return variables

"""What `--init` gives a new run: the backbone of a network for ImageNet, or all that fits of an InsPose model."""

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from inspose_jax import checkpoints, methods, processes, provenance
from inspose_jax.config import Config
from inspose_jax.errors import UserError
from inspose_jax.method import Method
from inspose_jax.recipes import Recipe
from inspose_jax.torch_bridge import reading, variants, weights
from inspose_jax.torch_bridge.tensor_files import load_torch
from inspose_jax.training.start import Pretrained
from inspose_jax.training.transfer import transfer


def pretrained(path: Path, recipe: Recipe, config: Config, method: Method) -> Pretrained:
    """The weights in a file or in a run's folder, which are read only if a new run starts from them."""
    return Pretrained(identity(path), partial(load_into, path, recipe, config, method))


def identity(path: Path) -> str:
    """A short hash of a file of weights, also of the one in a folder, or of a run's checkpoint."""
    if path.is_dir() and not reading.is_weights(path):
        return checkpoints.identity(path)[:12]
    with reading.weights_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def load_into(path: Path, recipe: Recipe, config: Config, method: Method, variables: Any) -> tuple[Any, dict[str, str]]:
    """New variables with the weights that fit, and in words what was kept and what was not, which is also printed.

    With these words stands the name of the file that the weights derive from, unless only runs of ours led to them.
    Raises UserError if there are no such weights at the path, or weights of another model.
    """
    if path.is_file() or reading.is_weights(path):
        file = reading.weights_file(path)
        tensors = load_torch(file)
        try:
            found = reading.model_in(file, tensors)
        except variants.NotWhole:
            return load_backbone(file, tensors, recipe, config, variables), {provenance.DERIVED: file.name}
    else:
        found = checkpoints.load(path, recipe if recipe.make_method is not None else None)
    loaded, told = transfer(path, found, config, method, variables)
    joints = found.config.model.skeleton
    say(f"{path} ({joints.name}, {joints.num_keypoints} joints): kept: {told['kept']}")
    if told["afresh"]:
        say(f"{path}: starts afresh: {told['afresh']}")
    origin = provenance.origin(found.about)
    return loaded, {**told, provenance.DERIVED: origin} if origin else told


def load_backbone(path: Path, tensors: Mapping[str, np.ndarray], recipe: Recipe, config: Config, variables: Any) -> Any:
    """The variables with the backbone of a network for ImageNet, whose classifier is ignored, which is printed."""
    if "backbone" not in variables["params"]:
        raise UserError(f"{path}: the method of {recipe.path} has no backbone to load it into; leave out --init")
    is_known = bool(methods.name_of(config.model))  # the config of a recipe's own model may name no backbone
    backbone = f"a {config.model.network.backbone}" if is_known else f"the backbone of {recipe.path}"
    loaded, ignored = weights.fill_backbone(path, tensors, backbone, variables)
    if ignored:
        say(f"{path}: the classifier is ignored: {weights.summary(ignored)}")
    return loaded


def say(line: str) -> None:
    """Print a line, once for all processes of a run."""
    if processes.is_first():
        print(f"inspose: {line}")

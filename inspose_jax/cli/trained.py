"""The model of `--checkpoint`, for the commands that find people with it."""

from pathlib import Path

import jax

from inspose_jax import recipes
from inspose_jax.cli import config_flags
from inspose_jax.methods import from_recipe
from inspose_jax.predictor import Predictor, check_fit
from inspose_jax.torch_bridge import reading


def load(checkpoint: Path, recipe: Path | None, overrides: list[str]) -> Predictor:
    """A predictor on all devices of this process, with `--config.FIELD VALUE` arguments applied to its config.

    `recipe` is needed only if the model was trained with that recipe's own method.  Raises the errors of
    `torch_bridge.reading.load`, and UserError for a wrong argument or one that changes the network.
    """
    given = recipes.read(recipe) if recipe is not None else None
    loaded = reading.load(checkpoint, given)
    config = config_flags.override(loaded.config, overrides)
    method = from_recipe(given, config.model)
    check_fit(method, loaded.variables)
    return Predictor(config, loaded.variables, jax.local_devices(), method)

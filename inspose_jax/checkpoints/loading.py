"""Load from a checkpoint what prediction needs."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from inspose_jax import config_json, paths, provenance
from inspose_jax.checkpoints import restoring
from inspose_jax.checkpoints.folder import find, is_finished
from inspose_jax.config import Config
from inspose_jax.errors import UserError
from inspose_jax.method import Method
from inspose_jax.methods import from_recipe
from inspose_jax.recipes import Recipe


class NeedsRecipe(UserError):
    """A checkpoint of a recipe's own method, which only that recipe's file can bring back."""


class Loaded(NamedTuple):
    """The contents of a checkpoint that prediction needs."""

    config: Config
    method: Method
    variables: Any  # {"params": .., "batch_stats": ..} as numpy arrays; the running average if the run kept one
    step: int
    about: dict[str, Any]  # all that is saved beside the state


def load(path: Path | str, recipe: Recipe | None = None, raw: bool = False) -> Loaded:
    """Load what prediction needs, from a run's workdir (its newest readable checkpoint) or one checkpoint's folder.

    `recipe` is the recipe that the run was trained with.  It must be given if it defines its own method, since a
    checkpoint never executes code.  `raw` asks for the parameters even if the run kept their running average.
    Raises NotFound, a FileNotFoundError, if the path does not exist, and UserError if the folder is no checkpoint or
    the checkpoint belongs to another recipe.
    """
    path = paths.absolute(path)
    folder = find(path)
    about, state = restoring.read(folder) if is_finished(folder) else restoring.newest(folder)
    check_recipe(path, about.get("recipe"), recipe)
    try:
        config = config_json.from_dict(about["config"], type(recipe.config.model) if recipe else None)
    except config_json.OtherFields as error:
        raise UserError(f"{path}: {provenance.other_version(str(error), about.get('written_by', {}))}") from None
    except UserError as error:
        raise UserError(f"{path}: the checkpoint's config is invalid: {error}") from None
    method = from_recipe(recipe, config.model)
    variables = jax.tree.map(np.asarray, evaluated(state, config, raw))
    return Loaded(config, method, variables, int(about["step"]), about)


def check_recipe(path: Path, stored: dict[str, str] | None, given: Recipe | None) -> None:
    """Raise UserError unless the given recipe, or None, is the one that the checkpoint needs.

    If it is missing, the error is `NeedsRecipe`.
    """
    if stored is None:
        if given is not None and given.make_method is not None:
            raise UserError(f"{path}: was not trained with a recipe's own method; leave out {given.path}")
        return
    if given is None:
        raise NeedsRecipe(
            f"{path}: was trained with the method of the recipe {stored['name']}, and a checkpoint runs no code; give "
            f"the recipe's file with --recipe (in Python, load(path, recipe=FILE))"
        )
    if given.sha256 != stored["sha256"]:
        raise UserError(
            f"{path}: was trained with the recipe {stored['name']}, but {given.path} differs from it; "
            f"give the original file, whose text the checkpoint keeps in about/metadata under recipe, text"
        )


def evaluated(state: dict[str, Any], config: Config, raw: bool = False) -> Any:
    """The variables of a state (as a dict) to evaluate: the running average, or else the parameters and statistics.

    `raw` asks for the latter in any case.
    """
    if config.schedule.ema > 0 and "average" in state and not raw:  # imported weights have only the average
        return state["average"]
    return {"params": state["params"], "batch_stats": state["batch_stats"]}

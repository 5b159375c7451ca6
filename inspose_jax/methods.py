"""The methods of this package, and which of them a config, a checkpoint or a recipe means."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from inspose_jax import config, paper
from inspose_jax.errors import UserError
from inspose_jax.method import Method
from inspose_jax.recipes import Recipe, failed
from inspose_jax.released import config as released_config
from inspose_jax.released import method as released_method

# Name of a kind of config in checkpoints, which never changes -> class of `Config.model`, builder of its method.
METHODS: dict[str, tuple[type, Callable[[Any], Method]]] = {
    "inspose": (config.Model, paper.method),
    "released": (released_config.Model, released_method.method),
}


@cache
def for_model(model: Any) -> Method:
    """The method of this package that a `Config.model` belongs to; raises UserError if there is none."""
    if not name_of(model):
        raise UserError(
            f"Config.model is a {type(model).__name__}, which has no method in this package; its recipe must define "
            f"the method"
        )
    return METHODS[name_of(model)][1](model)


def from_recipe(recipe: Recipe | None, model: Any) -> Method:
    """The method that a recipe defines for a `Config.model`, or else the package's; UserError if the recipe fails."""
    if recipe is None or recipe.make_method is None:
        return for_model(model)
    try:
        made = recipe.make_method(model)
    except Exception as error:  # a user's file may raise anything
        raise failed(recipe.path, error) from error
    if not isinstance(made, Method):
        raise UserError(f"{recipe.path}: `method` returns {type(made).__name__}; it must return a Method")
    return replace(made, recipe={"name": recipe.path.name, "sha256": recipe.sha256, "text": recipe.text})


def config_class(name: Any) -> type | None:
    """The class of `Config.model` for the name of a method; None if this package has no such method."""
    return METHODS[name][0] if name in METHODS else None


def name_of(model: Any) -> str:
    """The name of the method that a `Config.model` belongs to; empty if it is not a method of this package."""
    return next((name for name, (kind, _) in METHODS.items() if type(model) is kind), "")

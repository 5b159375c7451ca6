"""The interface between a model and the rest of the package: a `Method`, which is a set of pure functions.

`training/step.py` minimises a method's losses and `predictor.py` finds people with it; both use only this interface.
To add a method, write files that build a `Method` from a config class of their own, and add a line to `METHODS`.

Axes: B images, H W the padded image in pixels, N people, K keypoints.  The outputs and targets are pytrees that only
the method itself interprets; the arrays of targets have a leading axis B.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from inspose_jax import config, decode, geometry, losses, targets
from inspose_jax.errors import UserError
from inspose_jax.network import inspose, kp_net
from inspose_jax.network.per_person import PerPerson
from inspose_jax.recipes import Recipe, failed
from inspose_jax.structures import Batch, KeypointMaps, Outputs, Poses, Targets


@dataclass(frozen=True, eq=False)  # functions compare by identity only
class Method:
    """A model as seen by training and inference."""

    init: Callable[[jax.Array], Any]
    """Random key -> variables {"params": .., "batch_stats": ..}."""
    apply: Callable[..., tuple[Any, Any]]
    """(variables, u8[B,H,W,3] images, i32[B,2] their sizes, train, data_axis) -> outputs, new batch statistics.

    `data_axis` names the mesh axis that the batch is divided over if the call sees the rows of one device only; else
    None.
    """
    targets: Callable[[Batch], Any]
    """A batch -> targets."""
    count: Callable[[Any], Any]
    """Targets of the global batch -> the divisors of the losses, summed over that batch."""
    losses: Callable[[Any, Any, Any, Batch], dict[str, jax.Array]]
    """(outputs, targets, counts, batch) -> the terms of the loss by name, each already divided by its count, so that
    the terms of the pieces of a batch add up to the term of the whole."""
    weights: dict[str, float]
    """The weight of every term in the total loss."""
    measure: Callable[[Any], dict[str, jax.Array]]
    """Targets -> further scalars that a training step reports, summed over the batch."""
    decode: Callable[[Any, jax.Array, tuple[int, int]], Poses]
    """(outputs, i32[B,2] sizes of the unpadded images, padded (H, W)) -> people in pixels of the padded images."""
    maps: Callable[[Any, jax.Array, tuple[int, int], jax.Array], KeypointMaps] | None
    """(outputs, i32[B,2] sizes, padded (H, W), i32[B,N] some of `Poses.location`) -> the maps, parameters and features
    behind those poses, for drawings and experiments; None if the method has no such maps."""
    trains: Callable[[Any], Any]
    """Parameters -> a tree of bool with the same structure: False where a parameter is frozen."""
    is_hidden: Callable[[Any], Any]
    """Parameters -> a tree of bool with the same structure: True for the kernels of hidden layers, which Muon may
    update.  The kernels that read the image and those of output layers are not hidden."""
    needs_weights: str = ""
    """Why a new run cannot start from random weights, and the remedy, in one line; empty if it can."""
    sees_batch: bool = False
    """Whether in training an image's outputs depend on the other images of its batch, as with batch statistics."""
    recipe: dict[str, str] | None = None
    """The recipe that defines the method: name, sha256 and text; None for the methods of this package."""


def paper(model: config.Model, per_person: PerPerson | None = None) -> Method:
    """InsPose as in Sec. 3.1 to 3.4 of the paper, one file each; `per_person` replaces the paper's KP-Net."""
    per_person = per_person or kp_net.make(model.kp_net, model.skeleton.num_keypoints)
    network = inspose.InsPose(
        config=model.network,
        num_keypoints=model.skeleton.num_keypoints,
        num_parameters=per_person.num_parameters,
        feature_channels=model.kp_net.feature_channels,
    )

    def grid_of(image_size: tuple[int, int]) -> geometry.Grid:
        return geometry.make_grid(
            image_size, model.network.levels, model.network.map_level, model.kp_net.relative_scale
        )

    def init(key: jax.Array) -> Any:
        # Parameters do not depend on the size of the image; a small one that has every level is enough.
        image, size = jnp.zeros((1, 64, 64, 3), jnp.uint8), jnp.full((1, 2), 64, jnp.int32)
        return network.init(key, image, size, train=True)

    def apply(
        variables: Any, image: jax.Array, size: jax.Array, train: bool = False, data_axis: str | None = None
    ) -> tuple[Any, Any]:
        outputs, changed = network.clone(data_axis=data_axis).apply(
            variables, image, size, train=train, mutable=["batch_stats"]
        )
        return outputs, changed["batch_stats"]

    def targets_of(batch: Batch) -> Targets:
        return targets.make_targets(batch, grid_of(batch.image.shape[1:3]), model.assignment)

    def losses_of(outputs: Outputs, targets: Targets, counts: losses.Counts, batch: Batch) -> dict[str, jax.Array]:
        grid = grid_of(batch.image.shape[1:3])
        return losses.losses(outputs, targets, counts, batch.size, grid, per_person)

    def measure(targets: Targets) -> dict[str, jax.Array]:
        return {"num_positives": targets.is_slot.sum(), "slots_dropped": targets.slots_dropped.sum()}

    def poses_of(outputs: Outputs, size: jax.Array, image_size: tuple[int, int]) -> Poses:
        return decode.decode(outputs, size, grid_of(image_size), model.decoding, per_person)

    def maps_of(outputs: Outputs, size: jax.Array, image_size: tuple[int, int], location: jax.Array) -> KeypointMaps:
        return decode.keypoint_maps(outputs, size, grid_of(image_size), location, per_person)

    weights = model.weights
    return Method(
        init=init,
        apply=apply,
        targets=targets_of,
        count=losses.count,
        losses=losses_of,
        weights={
            "cls": weights.cls,
            "keypoint": weights.keypoint,
            "offset": weights.offset,
            "heatmap": weights.heatmap,
        },
        measure=measure,
        decode=poses_of,
        maps=maps_of,
        trains=lambda params: inspose.trains(params, model.network),
        is_hidden=inspose.is_hidden,
        needs_weights=inspose.needs_weights(model.network),
        sees_batch=model.network.batch_norm == "trained",
    )


# Name in a checkpoint -> the class of `Config.model`, and the function that builds a method from an instance of it.
METHODS: dict[str, tuple[type, Callable[[Any], Method]]] = {"inspose": (config.Model, paper)}


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

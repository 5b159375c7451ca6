"""The middle: what training and inference ask of a model, as one noun of pure functions.

`training/step.py` minimises a method's losses and `predictor.py` finds people with it; neither knows more of it than
stands here.  A second method is a function that makes this noun from a config of its own, and a line in `of`.

Axes: B images, H W the padded image in pixels, N people, K keypoints.  What a method calls its outputs and its targets
are pytrees of its own, whose arrays have a leading axis B; nobody else looks into them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from inspose_jax import decode, losses, targets
from inspose_jax.config import Config
from inspose_jax.network import inspose, kp_net
from inspose_jax.structures import Batch, KeypointMaps, Outputs, Poses, Targets


@dataclass(frozen=True, eq=False)  # functions have no equality but their own
class Method:
    """A model as training and inference see it."""

    init: Callable[[jax.Array], Any]
    """Random key -> variables {"params": .., "batch_stats": ..}."""
    apply: Callable[..., tuple[Any, Any]]
    """(variables, u8[B,H,W,3] images, i32[B,2] their sizes, train, data_axis) -> outputs, new batch statistics.

    `data_axis` names the mesh axis that a batch is divided over, where the call sees the rows of one device, or None.
    """
    targets: Callable[[Batch], Any]
    """A batch -> targets."""
    count: Callable[[Any], Any]
    """Targets -> what the losses are divided by, summed over the global batch."""
    losses: Callable[[Any, Any, Any, Batch], dict[str, jax.Array]]
    """(outputs, targets, counts, batch) -> the terms of the loss by name, each already divided by its count: what the
    terms of pieces of a batch add up to is the term of the whole."""
    weights: dict[str, float]
    """Of every term in the total loss."""
    measure: Callable[[Any], dict[str, jax.Array]]
    """Targets -> further scalars that a step reports, summed over the batch."""
    decode: Callable[[Any, jax.Array, tuple[int, int]], Poses]
    """(outputs, i32[B,2] sizes of the real images, padded (H, W)) -> people in pixels of the padded images."""
    maps: Callable[[Any, jax.Array, tuple[int, int], jax.Array], KeypointMaps]
    """(outputs of one image, without the axis B, i32[2] its size, padded (H, W), i32[N] `Poses.location`) -> what made
    those poses, for pictures and experiments."""
    trains: Callable[[Any], Any]
    """Parameters -> a tree of bool like them: False where a parameter stays as it is."""
    is_hidden: Callable[[Any], Any]
    """Parameters -> a tree of bool like them: True for the kernels inside the network, which Muon may move; neither
    those that read the image nor those that are read."""
    needs_weights: str
    """Why a new run cannot start at random, and the remedy, in one line; empty where it can."""


@cache
def of(config: Config) -> Method:
    """The method that a config is for."""
    return paper(config)


def paper(config: Config) -> Method:
    """InsPose as the paper has it: Sec. 3.1 to 3.4, one file each."""
    model, schedule = config.model, config.schedule
    kp_nets = kp_net.make(model.kp_net, inspose.num_keypoints(model))

    def init(key: jax.Array) -> Any:
        # Parameters do not depend on the size of the image; the smallest that has every level is enough.
        image, size = jnp.zeros((1, 64, 64, 3), jnp.uint8), jnp.full((1, 2), 64, jnp.int32)
        return inspose.InsPose(model).init(key, image, size, train=True)

    def apply(
        variables: Any, image: jax.Array, size: jax.Array, train: bool = False, data_axis: str | None = None
    ) -> tuple[Outputs, Any]:
        outputs: Any
        outputs, changed = inspose.InsPose(model, data_axis).apply(
            variables, image, size, train=train, mutable=["batch_stats"]
        )
        return outputs, changed["batch_stats"]

    def losses_of(outputs: Outputs, targets: Targets, counts: losses.Counts, batch: Batch) -> dict[str, jax.Array]:
        return losses.losses(outputs, targets, counts, batch, model, kp_nets)

    def measure(targets: Targets) -> dict[str, jax.Array]:
        return {"num_positives": targets.is_slot.sum(), "slots_dropped": targets.slots_dropped.sum()}

    def maps(outputs: Outputs, size: jax.Array, image_size: tuple[int, int], location: jax.Array) -> KeypointMaps:
        return decode.keypoint_maps(outputs, size, image_size, location, model, kp_nets)

    return Method(
        init=init,
        apply=apply,
        targets=lambda batch: targets.make_targets(batch, model),
        count=losses.count,
        losses=losses_of,
        weights={
            "cls": schedule.weight_cls,
            "keypoint": schedule.weight_keypoint,
            "offset": schedule.weight_offset,
            "heatmap": schedule.weight_heatmap,
        },
        measure=measure,
        decode=lambda outputs, size, image_size: decode.decode(outputs, size, image_size, model, kp_nets),
        maps=maps,
        trains=lambda params: inspose.trains(params, model),
        is_hidden=inspose.is_hidden,
        needs_weights=inspose.needs_weights(model),
    )

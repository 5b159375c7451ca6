"""The interface between a model and the rest of the package: a `Method`, which is a set of pure functions.

`training/step.py` minimises a method's losses and `predictor.py` finds people with it; both use only this interface.

To add a model, copy `tests/toy_recipe.py`, the smallest complete one: a recipe file with a config class, a function
`method` that builds a `Method` from it, a network and a loss.  A model that belongs to the package gets files of its
own beside `paper.py`, a line in `methods.METHODS`, a place in the tables of `tests/test_layers.py`, and, if it is a
folder, in `packages` of `pyproject.toml`.

The config class (`Config.model`) is a frozen dataclass.  Its fields are bool, int, float, str, Literal, tuples of
these or further such dataclasses, each with a default.  It has at least `skeleton`, `num_people` and
`ignore_unlabelled`, from which batches are prepared.

In training, `apply` and `losses` see the rows of one device, or a part of them (`schedule.accumulate`), inside
`jax.shard_map`; `targets`, `count` and `measure` see the global batch.  A blank image has size 0 and `is_real` False.
What a loop or a `cond` inside `apply` or `losses` carries must vary over the mesh axis as its results do, so zeros are
made with `jnp.zeros_like` of an array that varies.

Axes: B images, H W the padded image in pixels, N people, K keypoints.  The outputs and targets are pytrees that only
the method itself interprets; the arrays of targets have a leading axis B.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from inspose_jax.structures import Batch, JointSlices, KeypointMaps, Poses


@dataclass(frozen=True, eq=False)  # functions compare by identity only
class Method:
    """A model as seen by training and inference."""

    init: Callable[[jax.Array], Any]
    """Random key -> variables {"params": .., "batch_stats": ..}."""
    apply: Callable[..., tuple[Any, Any]]
    """(variables, u8[B,H,W,3] images, i32[B,2] sizes, train=False, data_axis=None) -> outputs, new batch statistics.

    `data_axis` names the mesh axis that the batch is divided over if the call sees the rows of one device only; else
    None.  The new statistics must be equal on all devices, so they are averaged over that axis.
    """
    targets: Callable[[Batch], Any]
    """A batch -> targets."""
    count: Callable[[Any], Any]
    """Targets of the global batch -> the divisors of the losses, summed over that batch."""
    losses: Callable[[Any, Any, Any, Batch], dict[str, jax.Array]]
    """(outputs, targets, counts, batch) -> the terms of the loss by name, each already divided by its count, so that
    the terms of the pieces of a batch add up to the term of the whole."""
    weights: dict[str, float]
    """The weight in the total loss of every term that `losses` returns."""
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
    """Parameters -> a tree of bool with the same structure: True for the kernels f[h,w,in,out] of hidden layers, which
    Muon may update.  The kernels that read the image and those of output layers are not hidden."""
    joint_slices: dict[tuple[str, ...], JointSlices] | None = None
    """Path -> slices, of all parameters whose size or order depends on the joints: `--init` keeps those of joints of
    equal name.  None if that is not known; weights then fit a model of the same joints only."""
    needs_weights: str = ""
    """Why a new run cannot start from random weights, and the remedy, in one line; empty if it can."""
    sees_batch: bool = False
    """Whether in training an image's outputs depend on the other images of its batch, as with batch statistics."""
    recipe: dict[str, str] | None = None
    """The recipe that defines the method: name, sha256 and text; None for the methods of this package."""

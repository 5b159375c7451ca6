"""Weights of another run as the start of a new one: what has the same meaning in both is kept, the rest is new.

The two may differ in their joints.  All else must be equal: the method, the backbone, the number and the channels of
the layers.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from inspose_jax import config, methods
from inspose_jax.checkpoints import Loaded
from inspose_jax.config import Config, Place
from inspose_jax.errors import UserError
from inspose_jax.method import Method
from inspose_jax.structures import JointSlices

ANY_WEIGHTS = {"batch_norm", "frozen_stages", "compute_dtype"}  # fields of a network that all weights fit

Name = tuple[str, ...]


class Share(NamedTuple):
    """How many of a layer's slices are kept, of how many."""

    kept: int
    all: int


def transfer(path: Path, found: Loaded, here: Config, method: Method, variables: Any) -> tuple[Any, dict[str, str]]:
    """The `variables` of the new run `here`, overwritten by every parameter of `found` that has the same meaning.

    `path`, from which `found` was read, begins messages.
    The second value says in words what is `kept` and what starts `afresh`; that is empty if nothing does.  Raises
    UserError, which lists everything that differs but has to be equal.
    """
    if type(found.config.model) is not type(here.model):
        known, wanted = (methods.name_of(model) or "a recipe's own" for model in (found.config.model, here.model))
        raise UserError(
            f"{path}: the weights of another method, {known}, where the recipe's is {wanted}; use a recipe of that "
            f"method, or other weights"
        )
    ours, theirs = joint_slices(path, found, here, method)
    old = by_name(found.variables)
    faults = [f"{'.'.join(name)} not in this model" for name in sorted(old.keys() - by_name(variables).keys())]
    shares: dict[Name, Share] = {}

    def take(tree_path: tuple, leaf: Any) -> Any:
        name = name_of(tree_path)
        if name not in old:
            faults.append(f"{'.'.join(name)} missing")
            return leaf
        if name[1:] not in ours:
            if old[name].shape != leaf.shape:
                faults.append(f"{'.'.join(name)} {old[name].shape}, here {leaf.shape}")
            return np.asarray(old[name], leaf.dtype)
        to, source = ours[name[1:]], theirs[name[1:]]
        into = np.array(leaf)
        rows, old_rows = (as_rows(array, one) for array, one in ((into, to), (np.asarray(old[name]), source)))
        if rows.shape[1:] != old_rows.shape[1:]:
            faults.append(f"{'.'.join(name)} {old[name].shape}, here {leaf.shape}")
            return leaf
        pairs = common(to, source)
        for new_place, old_place in pairs:
            rows[new_place] = old_rows[old_place]
        shares[layer_of(name[1:])] = Share(len(pairs), len(to.meanings))
        return into

    loaded = jax.tree_util.tree_map_with_path(take, variables)
    fields = differing(found.config.model, here.model)
    # What a KP-Net's parameters mean depends on all of its fields, also on one that leaves their number as it is.
    if faults or any(field.path[0] == "kp_net" for field, _ in fields):
        listed = [f"model.{'.'.join(there.typed)} {there.value}, here {now.value}" for there, now in fields] or faults
        remedy = "set these fields to its values (--config.model.FIELD VALUE)" if fields else "use the same network"
        raise UserError(f"{path}: the weights of another model: {'; '.join(listed)}; {remedy}, or give other weights")
    return loaded, summary(shares, found.config.model.skeleton.keypoint_names, here.model.skeleton.keypoint_names)


def joint_slices(
    path: Path, found: Loaded, here: Config, method: Method
) -> tuple[dict[Name, JointSlices], dict[Name, JointSlices]]:
    """The slices of the new run's parameters that depend on joints, and those of the weights found."""
    if method.joint_slices is not None and found.method.joint_slices is not None:
        return method.joint_slices, found.method.joint_slices
    there, now = found.config.model.skeleton, here.model.skeleton
    if there.keypoint_names != now.keypoint_names:
        raise UserError(
            f"{path}: weights for the joints of {there.name}, here {now.name}; its method does not say which of them "
            f"belong to which joint, so give weights for the same joints"
        )
    return {}, {}


def by_name(variables: Any) -> dict[Name, Any]:
    """Every leaf by its path: ("params", "fpn", "output3", "bias")."""
    return {name_of(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(variables)}


def name_of(tree_path: tuple) -> Name:
    """The keys of a path in a tree."""
    return tuple(entry.key for entry in tree_path)


def as_rows(array: np.ndarray, slices: JointSlices) -> np.ndarray:
    """A view of an array with the slices as its first axis."""
    number = len(slices.meanings)
    return array.reshape(number, -1) if slices.axis == 0 else array.reshape(-1, number).T


def common(to: JointSlices, source: JointSlices) -> list[tuple[int, int]]:
    """The places of each meaning that both have, in `to` and in `source`."""
    places = {meaning: place for place, meaning in enumerate(source.meanings)}
    return [(place, places[meaning]) for place, meaning in enumerate(to.meanings) if meaning in places]


def differing(there: Any, here: Any) -> list[tuple[Place, Place]]:
    """The fields of the networks of two models of one kind that differ, though weights depend on them."""
    pairs = zip(config.places(there), config.places(here), strict=True)
    return [
        (one, other)
        for one, other in pairs
        if one.path[0] in ("network", "kp_net") and one.path[-1] not in ANY_WEIGHTS and one.value != other.value
    ]


def layer_of(name: Name) -> Name:
    """The layer that a parameter belongs to; its convolution is called `conv` everywhere."""
    return name[:-2] if name[-2] == "conv" else name[:-1]


def summary(shares: dict[Name, Share], there: tuple[str, ...], here: tuple[str, ...]) -> dict[str, str]:
    """In words, what is `kept` and what starts `afresh`; `there` and `here` are the names of the joints."""
    if there == here and all(share.kept == share.all for share in shares.values()):
        return {"kept": "everything", "afresh": ""}
    same, new = ([name for name in here if (name in there) == is_known] for is_known in (True, False))
    kept = [f"{'.'.join(name)} {share.kept} of {share.all}" for name, share in shares.items() if share.kept]
    fresh = [f"{'.'.join(name)} {share.all - share.kept}" for name, share in shares.items() if share.kept < share.all]
    return {
        "kept": "; ".join(["what does not depend on joints", f"of {', '.join(same) or 'no joint'}: {', '.join(kept)}"]),
        "afresh": ", ".join(fresh) + (f" ({', '.join(new)})" if new else ""),
    }

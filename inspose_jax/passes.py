"""Several looks at one image: mirrored or at other scales, and how the people of all passes become one list (Table 5).

Axes: B images, N people of all passes, D people of one, K keypoints.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int32, UInt8

from inspose_jax import config, nms
from inspose_jax.averaged_maps import MapsOf, averaged, partners
from inspose_jax.skeletons import Skeleton
from inspose_jax.structures import Poses

# u8[B,H,W,3] padded images, i32[B,2] their sizes -> the method's outputs, and the people in each image
Forward = Callable[[Array, Array], tuple[Any, Poses]]


def find_twice(
    forward: Forward,
    maps: MapsOf | None,
    image: UInt8[Array, "B H W 3"],
    size: Int32[Array, "B 2"],
    skeleton: Skeleton,
    passes: config.Passes,
) -> Poses:
    """The people that are found in padded images and in their mirror images, in pixels of the padded images.

    `maps` is that of the method, which `test_merge` needs for averaging them.
    """
    is_averaged = passes.test_merge == "maps"

    def find(image: Array) -> tuple[Any, Poses]:
        outputs, poses = forward(image, size)
        return outputs if is_averaged else None, poses

    # One after the other in a loop, so that the network is compiled once and needs no more memory than for one pass.
    # Unlike a training step, a forward pass may stand in a loop on a CPU: two take 1.9 times as long as one.
    outputs, poses = jax.lax.map(find, jnp.stack([image, mirrored(image, size)]))
    first, second = (jax.tree.map(lambda x, i=i: x[i], poses) for i in (0, 1))
    found = joined([first, mirrored_back(second, size, skeleton)], axis=1)
    number = first.scores.shape[1]
    people = jax.vmap(lambda found: merged(found, number, skeleton.oks_sigmas, passes))(found)
    if not is_averaged:
        return people
    assert maps is not None, "the predictor refuses methods without maps"
    pairs = jax.vmap(lambda found, people: partners(found, people, skeleton.oks_sigmas, passes))(found, people)
    return averaged(people, pairs, outputs, maps, size, (image.shape[1], image.shape[2]), skeleton)


def mirrored(image: UInt8[Array, "B H W 3"], size: Int32[Array, "B 2"]) -> UInt8[Array, "B H W 3"]:
    """Images mirrored horizontally within their `size`; the padding stays at the right and bottom."""
    width = image.shape[2]
    return jax.vmap(lambda image, size: jnp.roll(image[:, ::-1], size[1] - width, axis=1))(image, size)


def mirrored_back(poses: Poses, size: Int32[Array, "B 2"], skeleton: Skeleton) -> Poses:
    """The people of mirrored images where they are in the images themselves: x' = width - x, left and right swap."""
    order = jnp.array(skeleton.flip_order)
    width = size[:, 1].astype(poses.keypoints.dtype)[:, None, None]
    keypoints = poses.keypoints[:, :, order].at[..., 0].set(width - poses.keypoints[:, :, order, 0])
    boxes = poses.boxes
    if boxes is not None:
        boxes = boxes.at[..., 0::2].set(width - boxes[..., 2::-2])
    return poses._replace(keypoints=keypoints, keypoint_scores=poses.keypoint_scores[:, :, order], boxes=boxes)


def joined(passes: Sequence[Poses], axis: int) -> Poses:
    """The people of all passes in one list along an axis, not yet in order; arrays of numpy or jax."""
    return jax.tree.map(lambda *parts: jnp.concatenate(parts, axis), *passes)


def merged(poses: Poses, number: int, sigmas: Sequence[float], passes: config.Passes) -> Poses:
    """The best `number` people of one image, best first, of N from several passes, where everybody may occur in each.

    All are in pixels of the same image.  `location` remains that of the pass in which a person was found.
    """
    poses = nms.best_first(poses)
    overlaps = nms.pose_overlaps(poses.keypoints, poses.boxes, passes.test_merge != "boxes", sigmas)
    picks = nms.suppress(overlaps, poses.scores, poses.is_person, passes.test_merge_threshold, number)
    best = jax.tree.map(lambda x: x[picks.index], poses)
    return best._replace(is_person=jnp.arange(len(picks.index)) < picks.number)

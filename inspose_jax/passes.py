"""Several looks at one image: mirrored or at other scales, and how the people of all passes become one list (Table 5).

Axes: B images, N people of all passes, D people of one, K keypoints.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int32, UInt8

from inspose_jax import config, geometry, nms
from inspose_jax.skeletons import Skeleton
from inspose_jax.structures import Poses

Find = Callable[[Array, Array], Poses]  # u8[B,H,W,3] padded images, i32[B,2] their sizes -> the people in each


def find_twice(
    find: Find, image: UInt8[Array, "B H W 3"], size: Int32[Array, "B 2"], skeleton: Skeleton, passes: config.Passes
) -> Poses:
    """The people that `find` finds in padded images and in their mirror images, in pixels of the padded images."""
    # One after the other in a loop, so that the network is compiled once and needs no more memory than for one pass.
    both = jax.lax.map(lambda images: find(images, size), jnp.stack([image, mirrored(image, size)]))
    first, second = (jax.tree.map(lambda x, i=i: x[i], both) for i in (0, 1))
    found = joined([first, mirrored_back(second, size, skeleton)], axis=1)
    number = first.scores.shape[1]
    return jax.vmap(lambda people: merged(people, number, skeleton.oks_sigmas, passes))(found)


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
    order = jnp.argsort(jnp.where(poses.is_person, poses.scores, -1), descending=True)
    poses = jax.tree.map(lambda x: x[order], poses)
    if passes.test_merge == "oks":
        overlaps = nms.pose_oks(poses.keypoints, sigmas)
    else:
        extents = nms.rectangles(poses.keypoints) if poses.boxes is None else poses.boxes
        overlaps = geometry.box_iou(extents, extents)
    picks = nms.suppress(overlaps, poses.scores, poses.is_person, passes.test_merge_threshold, number)
    best = jax.tree.map(lambda x: x[picks.index], poses)
    return best._replace(is_person=jnp.arange(len(picks.index)) < picks.number)

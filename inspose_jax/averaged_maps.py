"""People who were found in an image and in its mirror image: their keypoint maps are averaged, and read once more.

The maps of a mirrored image are turned back first.  Its columns need not lie on those of the image, whose width is no
multiple of the stride, so their values are interpolated linearly.

Axes: B images, D people of one pass, N people of both together, K keypoints, h w map cells.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from inspose_jax import config, nms
from inspose_jax.errors import UserError
from inspose_jax.skeletons import Skeleton
from inspose_jax.structures import KeypointMaps, Poses

PEOPLE_AT_ONCE = 4  # in each image, whose maps are in memory together
MapsOf = Callable[[Any, Array, tuple[int, int], Array], KeypointMaps]  # `Method.maps`


class Pairs(NamedTuple):
    """Where each of an image's people was found: in the image, in its mirror image, or in both."""

    location: Array  # i32[N,2] that of each pass; of any pose where the pass did not find the person
    score: Array  # f32[N,2]
    is_found: Array  # bool[N,2]


def partners(found: Poses, people: Poses, sigmas: Sequence[float], passes: config.Passes) -> Pairs:
    """For each of an image's merged `people`, the pose of either pass that is nearest to theirs, by OKS.

    `found` has the people of the image, and then as many of its mirror image, in pixels of the image.
    """
    number = len(found.scores) // 2

    def of_pass(first: int) -> tuple[Array, Array, Array]:
        poses = jax.tree.map(lambda x: x[first : first + number], found)
        overlaps = nms.pose_oks(people.keypoints, sigmas, poses.keypoints)
        overlaps = jnp.where(people.is_person[:, None] & poses.is_person, overlaps, -1)
        nearest = overlaps.argmax(1)
        is_mutual = overlaps.argmax(0)[nearest] == jnp.arange(len(nearest))  # else the pose is somebody else's
        is_found = people.is_person & is_mutual & (overlaps.max(1) >= passes.test_merge_threshold)
        return poses.location[nearest], poses.scores[nearest], is_found

    return Pairs(*(jnp.stack(both, -1) for both in zip(of_pass(0), of_pass(number), strict=True)))


def averaged(
    people: Poses,
    pairs: Pairs,
    outputs: Any,
    maps: MapsOf,
    size: Int32[Array, "B 2"],
    image_size: tuple[int, int],
    skeleton: Skeleton,
) -> Poses:
    """The people of a batch, whose joints and their scores are read from averaged maps; a score is averaged too.

    A pass that did not find a person counts as a score of 0, so that who is found in one pass alone has half of it.
    `outputs` are the method's for the images and for their mirror images, along a further axis in front.  `image_size`
    is the padded (height, width).
    """
    first, second = (jax.tree.map(lambda x, i=i: x[i], outputs) for i in (0, 1))
    number, width = people.scores.shape[1], min(PEOPLE_AT_ONCE, people.scores.shape[1])
    read = jax.vmap(partial(read_both, image_size=image_size, flip_order=skeleton.flip_order))

    def visit(i: Array, joints_and_scores: tuple[Array, Array]) -> tuple[Array, Array]:
        start = jnp.minimum(i * width, number - width)  # the last people may be read twice
        few = Pairs(*(jax.lax.dynamic_slice_in_dim(x, start, width, axis=1) for x in pairs))
        one = maps(first, size, image_size, few.location[..., 0])
        other = maps(second, size, image_size, few.location[..., 1])
        if one.joints is None or other.joints is None:
            raise UserError("data.test_merge maps needs maps whose cells tell where joints are; take oks")
        new = read(one.maps, one.joints, other.maps, other.joints, few.is_found, size)
        update = jax.lax.dynamic_update_slice_in_dim
        joints, scores = (update(x, y, start, axis=1) for x, y in zip(joints_and_scores, new, strict=True))
        return joints, scores

    most = people.is_person.sum(1, dtype=jnp.int32).max()
    bare = people.keypoints, people.keypoint_scores
    keypoints, keypoint_scores = jax.lax.fori_loop(0, (most + width - 1) // width, visit, bare)
    # The second of two equal poses, which a merging threshold of 1 keeps, is nobody's partner: its joints stay.
    is_read = pairs.is_found.any(-1)
    weights = pairs.is_found.astype(people.scores.dtype)
    scores = jnp.where(is_read, (weights * pairs.score).sum(-1), people.scores) / 2
    keypoints = jnp.where(is_read[..., None, None], keypoints, people.keypoints)
    keypoint_scores = jnp.where(is_read[..., None], keypoint_scores, people.keypoint_scores)
    read_again = people._replace(keypoints=keypoints, keypoint_scores=keypoint_scores, scores=scores)
    return jax.vmap(nms.best_first)(read_again)


def read_both(
    maps: Float[Array, "N K h w"],
    joints: Float[Array, "h w K 2"],
    mirrored_maps: Float[Array, "N K h w"],
    mirrored_joints: Float[Array, "h w K 2"],
    is_found: Bool[Array, "N 2"],
    size: Int32[Array, " 2"],
    image_size: tuple[int, int],
    flip_order: tuple[int, ...],
) -> tuple[Float[Array, "N K 2"], Float[Array, "N K"]]:
    """Joints f[N,K,2] and their peaks f[N,K] in the average of an image's maps and of those of its mirror image."""
    num_cells, stride, order = maps.shape[3], image_size[1] // maps.shape[3], jnp.array(flip_order)
    image_width = size[1].astype(maps.dtype)
    left = jnp.arange(num_cells, dtype=maps.dtype) * stride  # of each column's cells, in pixels
    place = (image_width - left) / stride - 1  # of each column's centre in the mirror image, in columns
    before = jnp.floor(place)
    share = place - before
    low, high = (jnp.clip(before.astype(jnp.int32) + i, 0, num_cells - 1) for i in (0, 1))
    turned = mirrored_maps[..., low] * (1 - share) + mirrored_maps[..., high] * share
    turned = jnp.where(left < image_width, turned, 0)[:, order]
    weights = is_found.astype(maps.dtype)
    weights = weights / jnp.maximum(weights.sum(1, keepdims=True), 1)
    mean = weights[:, :1, None, None] * maps + weights[:, 1:, None, None] * turned
    flat = mean.reshape(*mean.shape[:2], -1)
    cell, peaks = flat.argmax(2), flat.max(2)
    nearest = jnp.clip(jnp.round(place), 0, num_cells - 1).astype(jnp.int32)
    row = cell // num_cells
    one = joints[row, cell % num_cells, jnp.arange(len(order))]
    other = mirrored_joints[row, nearest[cell % num_cells], order]
    other = other.at[..., 0].set(image_width - other[..., 0])
    return weights[:, :1, None] * one + weights[:, 1:, None] * other, peaks

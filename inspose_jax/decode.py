"""From outputs to poses (Sec. 3.4): scores, best locations, Eq. 2, Eq. 3, non-maximum suppression.

Static shapes throughout, so that one compiled program serves every picture of a shape; padding never yields a person.
Axes: B pictures, L locations, C candidates, D poses kept, K keypoints, P parameters, h w map cells.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from inspose_jax import config, geometry, nms
from inspose_jax.network import inspose, kp_net
from inspose_jax.network.kp_net import KPNetFunctions
from inspose_jax.structures import KeypointMaps, Outputs, Poses

CHUNK = 50  # candidates whose maps exist at once: 500 maps of 100 x 168 x 17 floats would be 0.57 GB


def decode(
    outputs: Outputs,
    size: Int32[Array, "B 2"],
    image_size: tuple[int, int],
    model: config.Model,
    functions: KPNetFunctions,
) -> Poses:
    """People of every picture, best first, in pixels of the padded picture; `size` is the real (height, width)."""

    def one_picture(outputs: Outputs, size: Array) -> Poses:
        return picture_poses(outputs, size, image_size, model, functions)

    return jax.vmap(one_picture)(outputs._replace(heatmaps=None), size)


def picture_poses(
    outputs: Outputs,
    size: Int32[Array, " 2"],
    image_size: tuple[int, int],
    model: config.Model,
    functions: KPNetFunctions,
) -> Poses:
    """`decode` of one picture: the fields of `outputs` without their batch axis."""
    points = jnp.asarray(geometry.locations(image_size, model.levels).points)
    scores = jnp.where(geometry.inside(points, size), jax.nn.sigmoid(outputs.logits), 0)
    class_scores, location = jax.lax.top_k(scores, min(model.num_candidates, len(points)))
    is_candidate = class_scores > model.score_threshold

    centres, scales = geometry.generating_locations(location, image_size, model.levels, model.kp_net.relative_scale)
    peaks = jax.lax.map(
        lambda one: functions.peak(one[0], outputs.features, one[1], one[2], size),
        (outputs.theta[location], centres, scales),
        batch_size=CHUNK,
    )
    keypoints = read_joints(peaks.cell, outputs, 2**model.map_level)
    keypoint_scores = jnp.exp(peaks.logit - peaks.log_sum_exp)
    pose_scores = class_scores
    if model.pose_score == "class_times_peak":
        pose_scores = class_scores * keypoint_scores.mean(-1)

    order = jnp.argsort(jnp.where(is_candidate, pose_scores, -1), descending=True)
    is_kept = nms.keep(rectangles(keypoints[order]), is_candidate[order], model.nms_threshold)
    best = order[jnp.argsort(~is_kept, stable=True)[: model.num_poses]]
    is_person = jnp.sort(is_kept, descending=True)[: model.num_poses]
    return Poses(
        keypoints[best], keypoint_scores[best], pose_scores[best], class_scores[best], is_person, location[best]
    )


def read_joints(cells: Int32[Array, "C K"], outputs: Outputs, stride: int) -> Float[Array, "C K 2"]:
    """Eq. 3: the cell shifted by the disk offset read there, times the stride; without offsets the cell's centre."""
    width, num_keypoints = outputs.features.shape[1], cells.shape[1]
    corner = jnp.stack([cells % width, cells // width], -1).astype(jnp.float32)
    if outputs.disk_offsets is None:
        return (corner + 0.5) * stride
    offsets = outputs.disk_offsets.reshape(-1, num_keypoints, 2)
    return (corner + offsets[cells, jnp.arange(num_keypoints)]) * stride


def keypoint_maps(
    outputs: Outputs,
    size: Int32[Array, " 2"],
    image_size: tuple[int, int],
    location: Int32[Array, " N"],
    model: config.Model,
) -> KeypointMaps:
    """The maps of the people that some locations of an image generate; `outputs` without their batch axis."""
    centres, scales = geometry.generating_locations(location, image_size, model.levels, model.kp_net.relative_scale)
    sizes = kp_net.layer_sizes(model.kp_net, inspose.num_keypoints(model))

    def one(theta: Array, centre: Array, scale: Array) -> Array:
        logits = kp_net.keypoint_map(theta, outputs.features, centre, scale, size, sizes, 2**model.map_level)
        return jax.nn.softmax(logits, axis=1).reshape(-1, *outputs.features.shape[:2])

    theta = outputs.theta[location]
    return KeypointMaps(jax.vmap(one)(theta, centres, scales), theta, outputs.features, centres)


def rectangles(keypoints: Float[Array, "C K 2"]) -> Float[Array, "C 4"]:
    """Smallest rectangle around each pose, sides at least one pixel, so that a collapsed pose still overlaps itself."""
    every = jnp.ones(keypoints.shape[:2], bool)
    boxes: Float[Array, "C 4"] = geometry.pseudo_boxes(keypoints, every)
    return boxes.at[:, 2:].max(boxes[:, :2] + 1)

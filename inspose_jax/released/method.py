"""The released model as a `Method`."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from inspose_jax import geometry
from inspose_jax.config import KPNet
from inspose_jax.decode import keypoint_maps
from inspose_jax.method import Method
from inspose_jax.network import inspose, joint_slices, kp_net
from inspose_jax.released import config, decode, losses, network, targets
from inspose_jax.structures import Batch, JointSlices, KeypointMaps, Poses
from inspose_jax.targets import slot_counts


def method(model: config.Model) -> Method:
    """InsPose as its authors released it."""
    names, star_joints = model.skeleton.keypoint_names, config.star_joints(model)
    num_keypoints = len(names)
    per_person = kp_net.make(model.kp_net, num_keypoints)
    keypoint_map = partial(kp_net.keypoint_map, sizes=kp_net.layer_sizes(model.kp_net, num_keypoints))
    net = network.Network(
        config=model.network,
        star_joints=star_joints,
        num_keypoints=num_keypoints,
        num_parameters=per_person.num_parameters,
        feature_channels=model.kp_net.feature_channels,
    )

    def grid_of(image_size: tuple[int, int]) -> geometry.Grid:
        return geometry.make_grid(image_size, network.LEVELS, network.MAP_LEVEL, model.kp_net.relative_scale)

    def init(key: jax.Array) -> Any:
        # Parameters do not depend on the size of the image; a small one that has every level is enough.
        return net.init(key, jnp.zeros((1, 64, 64, 3), jnp.float32), jnp.full((1, 2), 64, jnp.int32), train=True)

    def apply(
        variables: Any, image: jax.Array, size: jax.Array, train: bool = False, data_axis: str | None = None
    ) -> tuple[network.Outputs, Any]:
        image = inspose.normalise(jnp.asarray(image), jnp.asarray(size))
        outputs, changed = net.clone(data_axis=data_axis).apply(
            variables, image, size, train=train, mutable=["batch_stats"]
        )
        return outputs, changed["batch_stats"]

    def poses_of(outputs: network.Outputs, size: jax.Array, image_size: tuple[int, int]) -> Poses:
        return decode.decode(outputs, size, grid_of(image_size), model.decoding, keypoint_map)

    def maps_of(
        outputs: network.Outputs, size: jax.Array, image_size: tuple[int, int], location: jax.Array
    ) -> KeypointMaps:
        whole = jnp.broadcast_to(jnp.array(image_size, jnp.int32), size.shape)  # the maps reach into the padding
        return keypoint_maps(outputs.controller, outputs.features, whole, grid_of(image_size), location, per_person)

    def targets_of(batch: Batch) -> targets.Targets:
        return targets.make_targets(batch, grid_of(batch.image.shape[1:3]), model.assignment, model.strict_parity)

    def losses_of(
        outputs: network.Outputs, targets: targets.Targets, counts: losses.Counts, batch: Batch
    ) -> dict[str, jax.Array]:
        grid = grid_of(batch.image.shape[1:3])
        sigmas = model.skeleton.oks_sigmas
        return losses.losses(outputs, targets, counts, grid, keypoint_map, sigmas, model.strict_parity)

    return Method(
        init=init,
        apply=apply,
        targets=targets_of,
        count=losses.count,
        losses=losses_of,
        weights=asdict(model.weights),
        measure=slot_counts,
        decode=poses_of,
        maps=maps_of,
        trains=lambda params: inspose.trains(params, model.network),
        is_hidden=lambda params: inspose.is_hidden(params, network.OUTER),
        joint_slices=slices(model.kp_net, names, [names[joint] for joint in star_joints]),
        needs_weights=inspose.needs_weights(model.network),
        sees_batch=model.network.batch_norm == "trained",
    )


def slices(kp_net: KPNet, names: Sequence[str], star: Sequence[str]) -> dict[tuple[str, ...], JointSlices]:
    """`Method.joint_slices` of the released network, for the names of its joints and of those that its stars read."""
    once, twice = joint_slices.per_joint(names, 1), joint_slices.per_joint(names, 2)
    return {
        **joint_slices.outputs("instance_heads", "theta", "conv", of=joint_slices.theta(kp_net, names)),
        **joint_slices.outputs("instance_heads", "coarse", "conv", of=twice),
        **joint_slices.outputs("dense", "heatmaps", "conv", of=once),
        **joint_slices.outputs("dense", "tags", "conv", of=once),
        **joint_slices.outputs("dense", "offsets", "conv", of=twice),
        ("instance_heads", "classification_star", "conv", "kernel"): joint_slices.taps(star),
        ("instance_heads", "controller_star", "conv", "kernel"): joint_slices.taps(star),
    }

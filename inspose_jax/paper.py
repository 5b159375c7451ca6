"""The paper's model as a `Method`: its network (Figure 3), targets, losses and decoding (Sec. 3) put together."""

from dataclasses import asdict
from typing import Any

import jax
import jax.numpy as jnp

from inspose_jax import config, decode, geometry, losses, targets
from inspose_jax.method import Method
from inspose_jax.network import inspose, joint_slices, kp_net
from inspose_jax.network.per_person import PerPerson
from inspose_jax.structures import Batch, KeypointMaps, Outputs, Poses, Targets
from inspose_jax.targets import slot_counts


def method(model: config.Model, per_person: PerPerson | None = None) -> Method:
    """The method of a model's config; `per_person` replaces the paper's KP-Net."""
    names = model.skeleton.keypoint_names
    if per_person is None:
        per_person, theta = kp_net.make(model.kp_net, len(names)), joint_slices.theta(model.kp_net, names)
    else:
        theta = joint_slices.of_all_joints(names, per_person.num_parameters)
    sigmas = model.skeleton.oks_sigmas if model.assignment.classification_loss == "varifocal" else None
    network = inspose.InsPose(
        config=model.network,
        num_keypoints=len(names),
        num_parameters=per_person.num_parameters,
        feature_channels=model.kp_net.feature_channels,
    )

    def grid_of(image_size: tuple[int, int]) -> geometry.Grid:
        return geometry.make_grid(
            image_size,
            model.network.levels,
            model.network.map_level,
            model.kp_net.relative_scale,
            model.network.map_ratio,
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
        return losses.losses(outputs, targets, counts, batch, grid, per_person, sigmas)

    def poses_of(outputs: Outputs, size: jax.Array, image_size: tuple[int, int]) -> Poses:
        return decode.decode(outputs, size, grid_of(image_size), model.decoding, per_person, model.skeleton.oks_sigmas)

    def maps_of(outputs: Outputs, size: jax.Array, image_size: tuple[int, int], location: jax.Array) -> KeypointMaps:
        grid = grid_of(image_size)
        found = decode.keypoint_maps(outputs.controller, outputs.features, size, grid, location, per_person)

        # Without offsets, the features alone tell `vmap` how many images there are.
        def joints_of(offsets: jax.Array | None, features: jax.Array) -> jax.Array:
            return decode.joints_of_cells(offsets, grid.map_size, len(names), grid.map_stride)

        return found._replace(joints=jax.vmap(joints_of)(outputs.disk_offsets, outputs.features))

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
        is_hidden=inspose.is_hidden,
        joint_slices={
            **joint_slices.outputs("instance_heads", "theta", "conv", of=theta),
            **joint_slices.outputs("disk_offset", "offsets", "conv", of=joint_slices.per_joint(names, 2)),
            **joint_slices.outputs("heatmap", "logits", "conv", of=joint_slices.per_joint(names, 1)),
        },
        needs_weights=inspose.needs_weights(model.network),
        sees_batch=model.network.batch_norm == "trained",
    )

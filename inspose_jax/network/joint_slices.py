"""Which slices of a network's parameters belong to which joint, so that weights can move to a model of other joints."""

from collections.abc import Sequence

import numpy as np

from inspose_jax import config
from inspose_jax.network import kp_net
from inspose_jax.structures import JointSlices, Meaning


def outputs(*layer: str, of: Sequence[Meaning]) -> dict[tuple[str, ...], JointSlices]:
    """The slices of a convolution's kernel and bias, by their paths, whose output channels mean `of`."""
    return {(*layer, name): JointSlices(-1, tuple(of)) for name in ("kernel", "bias")}


def per_joint(names: Sequence[str], number: int) -> list[Meaning]:
    """The meanings of `number` output channels for each joint, joint by joint."""
    return [(name, channel) for name in names for channel in range(number)]


def taps(joints: Sequence[str]) -> JointSlices:
    """The slices of a kernel f[h,w,in,out] whose taps, row by row, read at these joints; a joint may be there twice."""
    return JointSlices(0, tuple((joint, [*joints[:tap]].count(joint)) for tap, joint in enumerate(joints)))


def theta(kp_net_config: config.KPNet, names: Sequence[str]) -> list[Meaning]:
    """What the parameters of a KP-Net mean.

    Those of its last layer belong to the joint that they compute, those of earlier layers (160 of the paper's 313) to
    all joints.
    """
    sizes = kp_net.layer_sizes(kp_net_config, len(names))
    numbers = np.arange(kp_net.num_parameters(kp_net_config, len(names)))
    meanings = [("", int(number)) for number in numbers]
    weight, bias = kp_net.split_theta(numbers, sizes)[-1]
    for name, row, last in zip(names, weight, bias, strict=True):
        for place, number in enumerate([*row, last]):
            meanings[number] = (name, place)
    return meanings


def of_all_joints(names: Sequence[str], number: int) -> list[Meaning]:
    """The meanings of `number` channels that are valid only for exactly these joints in this order."""
    return per_joint([" ".join(names)], number)

"""The KP-Net: theta, 313 numbers predicted for one person -> that person's keypoint map (Sec. 3.2).

It applies three 1x1 convolutions to [F_kp ; relative coordinates], with ReLU between them.  `keypoint_map` is written
for one person; `per_person.lift` derives from it what training and decoding need.  To use another network per person,
write another function like `keypoint_map`.

Axes: P parameters, C channels of F_kp, h w map cells, K keypoints.
"""

from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from inspose_jax import config
from inspose_jax.errors import UserError
from inspose_jax.network import per_person


def make(kp_net: config.KPNet, num_keypoints: int) -> per_person.PerPerson:
    """The paper's network per person, lifted to all people of an image."""
    person_map = partial(keypoint_map, sizes=layer_sizes(kp_net, num_keypoints))
    return per_person.lift(person_map, num_parameters(kp_net, num_keypoints))


def layer_sizes(kp_net: config.KPNet, num_keypoints: int) -> list[tuple[int, int]]:
    """(inputs, outputs) of each 1x1 convolution; in the paper (10, 8), (8, 8), (8, 17)."""
    inputs = kp_net.feature_channels + 2  # plus the two relative coordinates
    return list(pairwise([inputs, *[kp_net.width] * (kp_net.depth - 1), num_keypoints]))


def num_parameters(kp_net: config.KPNet, num_keypoints: int) -> int:
    """P, the number of weights and biases; 313 in the paper."""
    return sum(inputs * outputs + outputs for inputs, outputs in layer_sizes(kp_net, num_keypoints))


def split_theta(theta: Num[Array | np.ndarray, " P"], sizes: list[tuple[int, int]]) -> list[tuple[Any, Any]]:
    """Weight f[out,in] and bias f[out] of each layer, sliced from theta in that order.

    Checkpoints depend on this order, which is the released model's: layer by layer, weight (row-major) then bias.  The
    inputs of the first layer are F_kp, relative x, relative y.  Raises UserError if numbers are left over.
    """
    layers, start = [], 0
    for inputs, outputs in sizes:
        weight = theta[start : start + inputs * outputs].reshape(outputs, inputs)
        start += inputs * outputs
        layers.append((weight, theta[start : start + outputs]))
        start += outputs
    if start != len(theta):
        raise UserError(f"theta has {len(theta)} numbers, but layers of (inputs, outputs) {sizes} take {start}")
    return layers


def keypoint_map(
    theta: Float[Array, " P"],
    features: Float[Array, "C h w"],
    relative: Float[Array, "2 h w"],
    sizes: list[tuple[int, int]],
) -> Float[Array, "K h w"]:
    """Logits of every joint in every map cell; `relative` is (x, y) divided by the scale of the person's level."""
    channels, height, width = features.shape
    # A TPU multiplies in bfloat16 by default, in which two logits near the peak would be equal.
    product = partial(jnp.matmul, precision="highest")
    (weight, bias), *rest = split_theta(theta, sizes)
    # The two kinds of input are multiplied separately, so that vmap over people never copies F_kp.
    x = product(weight[:, :channels], features.reshape(channels, -1))
    x = x + product(weight[:, channels:], relative.reshape(2, -1)) + bias[:, None]
    for weight, bias in rest:
        x = product(weight, jax.nn.relu(x)) + bias[:, None]
    return x.reshape(-1, height, width)

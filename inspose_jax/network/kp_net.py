"""The KP-Net: theta, 313 numbers made for one person -> that person's keypoint map (Sec. 3.2).

Three 1x1 convolutions over [F_kp ; relative coordinates], ReLU between them.  Written for one person; whoever has
a picture's people vmaps.  Training and decoding never ask for the map itself, they ask two questions of it, which
`KPNetFunctions` carries; a faster version or another per-person network answers the same two.

Axes: P parameters, C channels of F_kp, h w map cells, K keypoints.  Inside, cells are the last axis ([K, h w]), because
a TPU pads the last axis to 128.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Int32

from inspose_jax import config, geometry


class Peak(NamedTuple):
    """Answer to "where is each joint" (Eq. 2)."""

    cell: Any  # i32[K] row-major map cell of the largest activation, the first of equals
    logit: Any  # f32[K] its activation
    log_sum_exp: Any  # f32[K] of the joint's whole map: exp(logit - log_sum_exp) is the softmax peak


class KPNetFunctions(NamedTuple):
    """The two questions, both for one person (see `plain` for the arguments)."""

    log_likelihood: Callable[..., Any]
    peak: Callable[..., Peak]


def layer_sizes(kp_net: config.KPNet, num_keypoints: int) -> list[tuple[int, int]]:
    """(inputs, outputs) of each 1x1 convolution; in the paper (10, 8), (8, 8), (8, 17)."""
    inputs = kp_net.feature_channels + 2  # and the two relative coordinates
    return list(pairwise([inputs, *[kp_net.width] * (kp_net.depth - 1), num_keypoints]))


def num_parameters(kp_net: config.KPNet, num_keypoints: int) -> int:
    """P, weights and biases; in the paper 313."""
    return sum(inputs * outputs + outputs for inputs, outputs in layer_sizes(kp_net, num_keypoints))


def split_theta(theta: Float[Array, " P"], sizes: list[tuple[int, int]]) -> list[tuple[Array, Array]]:
    """Weight f[out,in] and bias f[out] of each layer, cut from theta in that order.

    Checkpoints depend on this order, which is the released model's: layer by layer, weight (row-major) then bias; the
    inputs of the first layer are F_kp, relative x, relative y.
    """
    layers, start = [], 0
    for inputs, outputs in sizes:
        weight = theta[start : start + inputs * outputs].reshape(outputs, inputs)
        start += inputs * outputs
        layers.append((weight, theta[start : start + outputs]))
        start += outputs
    return layers


def keypoint_map(
    theta: Float[Array, " P"],
    features: Float[Array, "h w C"],
    centre: Float[Array, " 2"],
    scale: Float[Array, ""],
    size: Int32[Array, " 2"],
    sizes: list[tuple[int, int]],
    stride: int,
) -> Float[Array, "K h*w"]:
    """Logits of every joint in every map cell; cells that hold nothing of the real picture get about -1e38.

    `centre` is the generating location (x, y) in pixels; the relative coordinates are (cell centre - `centre`) /
    `scale`; `size` is the real picture's (height, width) in pixels.
    """
    height, width, channels = features.shape
    # Never in bfloat16, whatever the network computes in and however a TPU multiplies by default: with 8 bits
    # neighbouring cells far from `centre` have the same relative coordinates, and two logits near the peak are the same
    # number.
    dtype = jnp.promote_types(features.dtype, jnp.float32)
    product = partial(jnp.matmul, precision="highest")
    centres = jnp.asarray(geometry.cell_centres((height, width), stride).reshape(-1, 2), dtype)
    relative = (centres - centre.astype(dtype)).T / scale.astype(dtype)
    shared = features.astype(dtype).reshape(-1, channels).T
    (weight, bias), *rest = split_theta(theta.astype(dtype), sizes)
    # The two kinds of input are multiplied apart, so that vmap over people never copies F_kp.
    x = product(weight[:, :channels], shared) + product(weight[:, channels:], relative) + bias[:, None]
    for weight, bias in rest:
        x = product(weight, jax.nn.relu(x)) + bias[:, None]
    # Not -inf: a blank picture has no cell at all, and its empty slots must still have a finite gradient.
    is_cell = geometry.real_cells((height, width), stride, size).reshape(1, -1)
    return jnp.where(is_cell, x, jnp.finfo(dtype).min / 4)


def plain(kp_net: config.KPNet, num_keypoints: int, stride: int) -> KPNetFunctions:
    """The two questions, answered by computing the map; `stride` is the map's, in pixels."""
    sizes = layer_sizes(kp_net, num_keypoints)

    def log_likelihood(
        theta: Float[Array, " P"],
        features: Float[Array, "h w C"],
        centre: Float[Array, " 2"],
        scale: Float[Array, ""],
        size: Int32[Array, " 2"],
        cells: Int[Array, " K"],
    ) -> Float[Array, " K"]:
        """Log of the softmax over all cells at each joint's own cell: minus Eq. 4's cross-entropy of one person."""
        logits = keypoint_map(theta, features, centre, scale, size, sizes, stride)
        at_cell = jnp.take_along_axis(logits, cells[:, None], axis=1)[:, 0]
        return at_cell - jax.nn.logsumexp(logits, axis=1)

    def peak(
        theta: Float[Array, " P"],
        features: Float[Array, "h w C"],
        centre: Float[Array, " 2"],
        scale: Float[Array, ""],
        size: Int32[Array, " 2"],
    ) -> Peak:
        """The cell of largest activation (Eq. 2), its logit, and the map's log-sum-exp."""
        logits = keypoint_map(theta, features, centre, scale, size, sizes, stride)
        return Peak(jnp.argmax(logits, axis=1).astype(jnp.int32), logits.max(axis=1), jax.nn.logsumexp(logits, axis=1))

    return KPNetFunctions(log_likelihood, peak)

"""The queries for an image agree with a vmap over all slots, for filled slots and for candidates."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from inspose_jax.errors import UserError
from inspose_jax.network import kp_net, per_person

NUM_SLOTS, HEIGHT, WIDTH, STRIDE = 10, 6, 7, 8
SIZES = kp_net.layer_sizes(tiny.MODEL.kp_net, 17)
KP_NET = kp_net.make(tiny.MODEL.kp_net, 17)


@pytest.fixture(autouse=True)
def _four_at_once(monkeypatch):
    monkeypatch.setattr(per_person, "SLOTS_AT_ONCE", 4)
    monkeypatch.setattr(per_person, "CANDIDATES_AT_ONCE", 4)


def image(num_slots=NUM_SLOTS):
    """Theta, F_kp and the other inputs of a per-person network, for every slot."""
    rng = np.random.default_rng(0)
    return (
        jnp.asarray(rng.normal(size=(num_slots, KP_NET.num_parameters)), jnp.float32),
        jnp.asarray(rng.normal(size=(HEIGHT, WIDTH, tiny.MODEL.kp_net.feature_channels)), jnp.float32),
        jnp.asarray(rng.uniform(0, 48, (num_slots, 2)), jnp.float32),
        jnp.full(num_slots, 64.0),
        jnp.array([45, 50], jnp.int32),
        jnp.asarray(rng.integers(0, HEIGHT * WIDTH, (num_slots, 17)), jnp.int32),
    )


def filled_log_likelihoods(num_filled, *arguments):
    return KP_NET.log_likelihoods(num_filled, *arguments, STRIDE)


def all_log_likelihoods(net, theta, features, centres, scales, size, cells):
    """The log-likelihoods, computed from the maps of all slots."""
    logits = net.maps(theta, features, centres, scales, size, STRIDE).reshape(*cells.shape, -1)
    return jnp.take_along_axis(logits, cells[..., None], axis=2)[..., 0] - jax.nn.logsumexp(logits, axis=2)


@pytest.mark.parametrize("num_filled", [0, 1, 4, 5, 9, 10])
def test_values_and_gradients_are_those_of_a_vmap(num_filled):
    theta, features, *rest = image()
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(NUM_SLOTS, 17)), jnp.float32)
    weights = weights.at[num_filled:].set(0)  # empty slots add no loss

    def answer(function):
        def weighted(theta, features):
            found = function(theta, features, *rest)
            return (weights * found).sum(), found[:num_filled]

        return jax.value_and_grad(weighted, argnums=(0, 1), has_aux=True)(theta, features)

    ours, others = (
        answer(partial(filled_log_likelihoods, jnp.int32(num_filled))),
        answer(partial(all_log_likelihoods, KP_NET)),
    )
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(others), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_filled", [0, 5, 7])
def test_cells_beside_the_log_likelihoods_are_those_of_the_peaks(num_filled):
    theta, features, *rest, cells = image()
    arguments = jnp.int32(num_filled), theta, features, *rest
    likelihoods, found = KP_NET.log_likelihoods_and_cells(*arguments, cells, STRIDE)
    alone = KP_NET.log_likelihoods(*arguments, cells, STRIDE)
    np.testing.assert_array_equal(likelihoods[:num_filled], alone[:num_filled])
    np.testing.assert_array_equal(found[:num_filled], KP_NET.peaks(*arguments, STRIDE).cell[:num_filled])


def test_the_gradient_reaches_centres_and_scales_and_what_a_network_closes_over():
    theta, features, centres, scales, size, cells = image()

    def answer(function):
        def summed(factor, centres, scales):
            def keypoint_map(*arguments):  # another per-person network, with a parameter that all people share
                return factor * kp_net.keypoint_map(*arguments, SIZES)

            net = per_person.lift(keypoint_map, KP_NET.num_parameters)
            images = jax.tree.map(lambda x: x[None], (theta, features, centres, scales, size, cells))
            return jax.lax.map(lambda image: function(net, *image), images)[0, :7].sum()

        return jax.jit(jax.grad(summed, argnums=(0, 1, 2)))(jnp.float32(2), centres, scales)

    def ours(net, *arguments):
        return net.log_likelihoods(jnp.int32(7), *arguments, STRIDE)

    for one, other in zip(answer(ours), answer(all_log_likelihoods), strict=True):
        assert np.abs(other).max() > 0.1
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda maps: maps.transpose(1, 2, 0), r"shape \(\d+, \d+, 17\); it must be \(joints, \d+, \d+\), a map of"),
        (lambda maps: maps.reshape(17, -1), r"shape \(17, \d+\); it must be"),
        (lambda maps: maps[:5], "keypoint_map returns 5 maps, but there are 17 joints"),
    ],
)
def test_maps_of_another_shape_are_refused(change, line):
    """Otherwise a network with joints as its last axis would train, on maps that are mixed up."""
    net = per_person.lift(lambda *given: change(kp_net.keypoint_map(*given, SIZES)), KP_NET.num_parameters)
    with pytest.raises(UserError, match=line):
        net.log_likelihoods(jnp.int32(7), *image(), STRIDE)


def test_slots_beyond_the_filled_ones_are_not_computed():
    theta, features, *rest = image()
    theta = theta.at[4:].set(jnp.nan)
    value, gradients = jax.value_and_grad(
        lambda theta, features: filled_log_likelihoods(jnp.int32(3), theta, features, *rest)[:3].sum(), argnums=(0, 1)
    )(theta, features)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    np.testing.assert_array_equal(filled_log_likelihoods(jnp.int32(3), theta, features, *rest)[4:], 0)


def memory_bytes(function, *arguments):
    """Bytes of intermediate values of a compiled function."""
    with tiny.as_users_compile():
        return jax.jit(function).lower(*arguments).compile().memory_analysis().temp_size_in_bytes


ONE_MAP = 4 * 17 * HEIGHT * WIDTH  # bytes


def test_more_slots_need_no_memory_for_more_maps():
    def memory_bytes_for(num_slots):
        theta, features, *rest = image(num_slots)

        def summed(num_filled, theta, features):
            return filled_log_likelihoods(num_filled, theta, features, *rest).sum()

        return memory_bytes(jax.grad(summed, argnums=(1, 2)), jnp.int32(num_slots), theta, features)

    assert memory_bytes_for(8) > 4 * ONE_MAP
    assert memory_bytes_for(80) - memory_bytes_for(8) < 72 * ONE_MAP / 2


@pytest.mark.parametrize("num_candidates", [0, 1, 4, 5, 10])
def test_peaks_are_those_of_the_maps(num_candidates):
    *people, cells = image()
    logits = KP_NET.maps(*people, STRIDE).reshape(*cells.shape, -1)
    found = KP_NET.peaks(jnp.int32(num_candidates), *people, STRIDE)
    expected = logits.argmax(2), logits.max(2), jax.nn.logsumexp(logits, axis=2)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one[:num_candidates], other[:num_candidates], rtol=1e-5)


def test_only_the_chunks_of_candidates_are_computed():
    computed = []

    def keypoint_map(theta, features, relative):
        jax.debug.callback(lambda: computed.append(1))  # once per chunk
        return kp_net.keypoint_map(theta, features, relative, SIZES)

    *people, _ = image(num_slots=50)
    peaks = jax.jit(per_person.lift(keypoint_map, KP_NET.num_parameters).peaks, static_argnums=6)
    for num_candidates, num_chunks in ((0, 0), (3, 1), (5, 2), (50, 13)):
        computed.clear()
        jax.block_until_ready(peaks(jnp.int32(num_candidates), *people, STRIDE))
        jax.effects_barrier()
        assert len(computed) == num_chunks, num_candidates

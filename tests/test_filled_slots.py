"""The KP-Nets of filled slots: what a vmap over all slots gives, for the filled ones alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from inspose_jax import filled_slots
from inspose_jax.network import kp_net

NUM_SLOTS, HEIGHT, WIDTH = 10, 6, 7
KP_NET = kp_net.plain(tiny.MODEL.kp_net, 17, 8)
NUM_PARAMETERS = kp_net.num_parameters(tiny.MODEL.kp_net, 17)


@pytest.fixture(autouse=True)
def _four_at_once(monkeypatch):
    monkeypatch.setattr(filled_slots, "SLOTS_AT_ONCE", 4)


def picture(num_slots=NUM_SLOTS):
    """Theta, F_kp, and what else a KP-Net wants to know, of every slot."""
    rng = np.random.default_rng(0)
    return (
        jnp.asarray(rng.normal(size=(num_slots, NUM_PARAMETERS)), jnp.float32),
        jnp.asarray(rng.normal(size=(HEIGHT, WIDTH, tiny.MODEL.kp_net.feature_channels)), jnp.float32),
        jnp.asarray(rng.uniform(0, 48, (num_slots, 2)), jnp.float32),
        jnp.full(num_slots, 64.0),
        jnp.array([45, 50], jnp.int32),
        jnp.asarray(rng.integers(0, HEIGHT * WIDTH, (num_slots, 17)), jnp.int32),
    )


def of_filled(num_filled, theta, features, *rest):
    return filled_slots.log_likelihoods(KP_NET.log_likelihood, num_filled, theta, features, *rest)


def of_all(num_filled, theta, features, centres, scales, size, cells):
    over_slots = jax.vmap(KP_NET.log_likelihood, in_axes=(0, None, 0, 0, None, 0))
    return over_slots(theta, features, centres, scales, size, cells)


@pytest.mark.parametrize("num_filled", [0, 1, 4, 5, 9, 10])
def test_values_and_gradients_are_those_of_a_vmap(num_filled):
    theta, features, *rest = picture()
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(NUM_SLOTS, 17)), jnp.float32)
    weights = weights.at[num_filled:].set(0)  # empty slots add no loss

    def answer(function):
        def weighted(theta, features):
            found = function(jnp.int32(num_filled), theta, features, *rest)
            return (weights * found).sum(), found[:num_filled]

        return jax.value_and_grad(weighted, argnums=(0, 1), has_aux=True)(theta, features)

    for one, other in zip(jax.tree.leaves(answer(of_filled)), jax.tree.leaves(answer(of_all)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_the_gradient_reaches_centres_and_scales_and_what_a_network_closes_over():
    theta, features, centres, scales, size, cells = picture()

    def answer(function):
        def summed(factor, centres, scales):
            def of_one(*arguments):  # another per-person network, with a parameter that all people share
                return factor * KP_NET.log_likelihood(*arguments)

            pictures = jax.tree.map(lambda x: x[None], (jnp.int32(7), theta, features, centres, scales, size, cells))
            found = jax.lax.map(lambda picture: function(of_one, *picture), pictures)
            return found[0, :7].sum()

        return jax.jit(jax.grad(summed, argnums=(0, 1, 2)))(jnp.float32(2), centres, scales)

    def plain(of_one, _, *arguments):
        return jax.vmap(of_one, in_axes=(0, None, 0, 0, None, 0))(*arguments)

    for one, other in zip(answer(filled_slots.log_likelihoods), answer(plain), strict=True):
        assert np.abs(other).max() > 0.1
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_what_lies_beyond_the_filled_slots_is_not_computed():
    theta, features, *rest = picture()
    theta = theta.at[4:].set(jnp.nan)
    value, gradients = jax.value_and_grad(
        lambda theta, features: of_filled(jnp.int32(3), theta, features, *rest)[:3].sum(), argnums=(0, 1)
    )(theta, features)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    np.testing.assert_array_equal(of_filled(jnp.int32(3), theta, features, *rest)[4:], 0)


def test_more_slots_hold_no_more_maps():
    def held(num_slots):  # bytes of intermediate values of the gradient
        theta, features, *rest = picture(num_slots)

        def summed(num_filled, theta, features):
            return of_filled(num_filled, theta, features, *rest).sum()

        lowered = jax.jit(jax.grad(summed, argnums=(1, 2))).lower(jnp.int32(num_slots), theta, features)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    one_map = 4 * 17 * HEIGHT * WIDTH
    assert held(8) > 4 * one_map
    assert held(80) - held(8) < 72 * one_map / 2

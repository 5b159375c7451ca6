"""Theta at single locations equals the controller's last convolution there, in value and gradient."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspose_jax.network import instance_heads
from inspose_jax.network.instance_heads import KernelAndBias, theta_at, theta_at_first
from inspose_jax.network.tower import small_normal
from inspose_jax.structures import Controller

SIZES = (5, 7), (3, 4), (1, 1)  # odd, even, a single cell
NUM_LOCATIONS = 5 * 7 + 3 * 4 + 1
EVERY = jnp.tile(jnp.arange(NUM_LOCATIONS, dtype=jnp.int32), (2, 1))


def controller(kernel: int, dtype=jnp.float32) -> Controller:
    keys = jax.random.split(jax.random.key(0), 5)
    features = tuple(jax.random.normal(key, (2, *size, 6), dtype) for key, size in zip(keys, SIZES, strict=False))
    return Controller(features, jax.random.normal(keys[3], (kernel, kernel, 6, 9)), jax.random.normal(keys[4], (9,)))


def at_all_locations(one: Controller) -> jax.Array:
    """The convolution of every level, as a list of locations."""
    conv = nn.Conv(9, one.kernel.shape[:2])
    variables = {"params": {"kernel": one.kernel, "bias": one.bias}}
    return jnp.concatenate([conv.apply(variables, x).reshape(2, -1, 9) for x in one.features], 1)


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_theta_is_that_of_the_convolution_at_every_location(kernel):
    one = controller(kernel)
    np.testing.assert_allclose(theta_at(one, EVERY), at_all_locations(one), rtol=1e-4, atol=1e-5)
    some = jnp.array([[46, 3, 3], [0, 47, 11]], jnp.int32)
    found = jnp.take_along_axis(at_all_locations(one), some[..., None], 1)
    np.testing.assert_allclose(theta_at(one, some), found, rtol=1e-4, atol=1e-5)


def test_the_gradient_is_that_of_the_convolution_where_it_is_read():
    one, weights = controller(3), jax.random.normal(jax.random.key(1), (2, 5, 9))
    some = jnp.array([[0, 1, 8, 47, 36], [34, 35, 35, 46, 20]], jnp.int32)  # neighbours, one twice, on every level

    def read(one):
        return (weights * theta_at(one, some)).sum()

    def convolved(one):
        return (weights * jnp.take_along_axis(at_all_locations(one), some[..., None], 1)).sum()

    for found, expected in zip(*(jax.tree.leaves(jax.grad(f)(one)) for f in (read, convolved)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("number", "num_computed"), [((0, 0), 0), ((2, 0), 3), ((3, 1), 3), ((4, 6), 6), ((48, 48), 48)]
)
def test_theta_of_the_first_locations_is_computed_for_no_more_chunks_than_they_fill(number, num_computed, monkeypatch):
    monkeypatch.setattr(instance_heads, "LOCATIONS_AT_ONCE", 3)
    some = EVERY[:, 8:48]  # 40 locations, no multiple of 3
    found = theta_at_first(controller(3), some, jnp.array(number, jnp.int32))
    np.testing.assert_allclose(
        found[:, :num_computed], theta_at(controller(3), some)[:, :num_computed], rtol=1e-5, atol=1e-6
    )
    assert (found[:, num_computed:] == 0).all()
    assert found.shape == (2, 40, 9)


def test_half_precision_is_added_up_in_float32():
    one = controller(3, jnp.bfloat16)
    with jax.numpy_dtype_promotion("standard"):  # strict promotion does not promote half precision
        found = theta_at(one, EVERY)
        gradient = jax.grad(lambda one: theta_at(one, EVERY).sum())(one)
    assert found.dtype == jnp.float32
    assert [x.dtype for x in jax.tree.leaves(gradient)] == [jnp.bfloat16] * 3 + [jnp.float32] * 2
    rounded = one.kernel.astype(jnp.bfloat16).astype(jnp.float32)
    exact = Controller(tuple(x.astype(jnp.float32) for x in one.features), rounded, one.bias)
    np.testing.assert_allclose(found, at_all_locations(exact), rtol=1e-4, atol=1e-4)


def test_the_layer_starts_as_a_convolution_of_its_name_would():
    x = jnp.zeros((1, 4, 4, 6))
    ours = KernelAndBias((3, 3, 6, 9)).init(jax.random.key(7))
    theirs = nn.Conv(9, (3, 3), kernel_init=small_normal).init(jax.random.key(7), x)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)

"""A 1x1 convolution as a product is Flax's convolution: parameters, values, gradients."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspose_jax.network.product import Product

INIT = nn.initializers.he_normal()


@pytest.mark.parametrize(("stride", "use_bias"), [(1, False), (2, False), (1, True)])
@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_a_product_equals_the_convolution(stride, use_bias, size):
    x = jax.random.normal(jax.random.key(0), (2, *size, 3))
    ours = Product(5, INIT, x.dtype, stride, use_bias)
    theirs = nn.Conv(5, (1, 1), (stride, stride), use_bias=use_bias, kernel_init=INIT)
    variables = ours.init(jax.random.key(1), x)
    jax.tree.map(np.testing.assert_array_equal, variables, theirs.init(jax.random.key(1), x))
    np.testing.assert_allclose(ours.apply(variables, x), theirs.apply(variables, x), rtol=1e-5, atol=1e-6)

    def squares(network, variables, x):
        return jnp.square(network.apply(variables, x)).sum()

    found, expected = (jax.grad(partial(squares, one), argnums=(0, 1))(variables, x) for one in (ours, theirs))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), found, expected)


def test_a_product_in_half_precision_returns_half_precision():
    x = jnp.ones((1, 2, 2, 3), jnp.bfloat16)
    network = Product(5, INIT, x.dtype)
    variables = network.init(jax.random.key(0), x)
    assert variables["params"]["kernel"].dtype == jnp.float32
    assert network.apply(variables, x).dtype == jnp.bfloat16


def test_on_a_cpu_the_gradient_of_a_kernel_copies_no_map_transposed():
    x = jnp.zeros((2, 16, 20, 24))
    network = Product(48, INIT, x.dtype)
    variables = network.init(jax.random.key(0), x)

    def loss(variables):
        return (nn.relu(network.apply(variables, x) * 3) ** 2).sum()

    program = jax.jit(jax.grad(loss)).lower(variables).compile().as_text()
    assert "f32[640,48]" in program  # the map as one matrix, 2 x 16 x 20 cells by channels
    assert "f32[48,640]" not in program

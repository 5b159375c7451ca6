"""The KP-Net: its 313 parameters, their order, and the queries for an image with one person."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspose_jax import config
from inspose_jax.errors import UserError
from inspose_jax.network import kp_net

PAPER = config.KPNet()
KP_NET = kp_net.make(PAPER, 17)


def test_the_papers_kp_net_has_313_parameters():
    assert kp_net.layer_sizes(PAPER, 17) == [(10, 8), (8, 8), (8, 17)]
    assert kp_net.num_parameters(PAPER, 17) == 313


@pytest.mark.parametrize(("depth", "parameters"), [(1, 187), (2, 241), (4, 385)])
def test_depth_changes_the_number_of_parameters(depth, parameters):
    # 1: 10*17+17; 2: (10*8+8)+(8*17+17); 4: 313 + (8*8+8)
    assert kp_net.num_parameters(config.KPNet(depth=depth), 17) == parameters


def test_theta_is_split_layer_by_layer_weight_before_bias():
    theta = jnp.arange(313.0)
    (w1, b1), (w2, b2), (w3, b3) = kp_net.split_theta(theta, kp_net.layer_sizes(PAPER, 17))
    assert [w1[0, 0], w1[0, 9], w1[1, 0], b1[0]] == [0, 9, 10, 80]  # [out, in], row-major
    assert [w2[0, 0], b2[0], w3[0, 0], b3[0], b3[16]] == [88, 152, 160, 296, 312]
    with pytest.raises(UserError, match=r"theta has 320 numbers, but layers of .* take 313"):
        kp_net.split_theta(jnp.arange(320.0), kp_net.layer_sizes(PAPER, 17))


def by_loops(theta, features, centre, scale, stride):
    """The map of one person, cell by cell and layer by layer."""
    height, width, _ = features.shape
    out = np.zeros((17, height, width))
    w1, b1 = theta[:80].reshape(8, 10), theta[80:88]
    w2, b2 = theta[88:152].reshape(8, 8), theta[152:160]
    w3, b3 = theta[160:296].reshape(17, 8), theta[296:313]
    for row in range(height):
        for column in range(width):
            relative = (
                (stride * column + stride / 2 - centre[0]) / scale,
                (stride * row + stride / 2 - centre[1]) / scale,
            )
            x = np.concatenate([features[row, column], relative])
            x = np.maximum(w1 @ x + b1, 0)
            x = np.maximum(w2 @ x + b2, 0)
            out[:, row, column] = w3 @ x + b3
    return out.reshape(17, -1)


@pytest.fixture
def person():
    rng = np.random.default_rng(0)
    theta, features = rng.normal(size=(1, 313)).astype(np.float32), rng.normal(size=(3, 5, 8)).astype(np.float32)
    return tuple(map(jnp.asarray, (theta, features, np.array([[20.0, 12.0]], np.float32), np.full(1, 64, np.float32))))


def test_all_queries_agree_with_a_map_computed_by_loops(person):
    theta, features, centres, scales = map(np.asarray, person)
    expected = by_loops(theta[0], features, centres[0], scales[0], stride=8)
    size = jnp.array([24, 40], jnp.int32)
    cells = jnp.arange(17, dtype=jnp.int32) % 15
    np.testing.assert_allclose(KP_NET.maps(*person, size, 8)[0], expected.reshape(17, 3, 5), atol=1e-4)
    log_softmax = expected - np.log(np.exp(expected).sum(1, keepdims=True))
    answer = KP_NET.log_likelihoods(jnp.int32(1), *person, size, cells[None], 8)
    np.testing.assert_allclose(answer[0], log_softmax[np.arange(17), cells], atol=1e-4)
    cell, logit, log_sum_exp = KP_NET.peaks(jnp.int32(1), *person, size, 8)
    np.testing.assert_array_equal(cell[0], expected.argmax(1))
    np.testing.assert_allclose(logit[0], expected.max(1), atol=1e-4)
    np.testing.assert_allclose(jnp.exp(logit - log_sum_exp)[0], np.exp(log_softmax.max(1)), atol=1e-5)


def test_cells_in_the_padding_are_ignored(person):
    theta, features, *place = person
    size = jnp.array([24, 24], jnp.int32)  # column 3 begins at 24: nothing of it is real
    changed = features.at[:, 3:].add(100.0)
    cells = jnp.zeros((1, 17), jnp.int32)
    np.testing.assert_array_equal(
        KP_NET.log_likelihoods(jnp.int32(1), theta, features, *place, size, cells, 8),
        KP_NET.log_likelihoods(jnp.int32(1), theta, changed, *place, size, cells, 8),
    )
    assert (KP_NET.peaks(jnp.int32(1), theta, changed, *place, size, 8).cell % 5 < 3).all()


def test_an_image_without_cells_has_a_finite_gradient(person):
    theta, *rest = person
    size, cells = jnp.zeros(2, jnp.int32), jnp.zeros((1, 17), jnp.int32)

    def summed(theta):
        return KP_NET.log_likelihoods(jnp.int32(1), theta, *rest, size, cells, 8).sum()

    assert jnp.isfinite(jax.grad(summed)(theta)).all()

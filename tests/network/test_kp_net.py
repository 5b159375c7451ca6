"""The KP-Net: 313 numbers, their order, and the two questions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspose_jax import config
from inspose_jax.network import kp_net

PAPER = config.KPNet()


def test_the_papers_kp_net_has_313_parameters():
    assert kp_net.layer_sizes(PAPER, 17) == [(10, 8), (8, 8), (8, 17)]
    assert kp_net.num_parameters(PAPER, 17) == 313


@pytest.mark.parametrize(("depth", "parameters"), [(1, 187), (2, 241), (4, 385)])
def test_depth_changes_the_number_of_parameters(depth, parameters):
    # 1: 10*17+17; 2: (10*8+8)+(8*17+17); 4: 313 + (8*8+8)
    assert kp_net.num_parameters(config.KPNet(depth=depth), 17) == parameters


def test_theta_is_cut_layer_by_layer_weight_before_bias():
    theta = jnp.arange(313.0)
    (w1, b1), (w2, b2), (w3, b3) = kp_net.split_theta(theta, kp_net.layer_sizes(PAPER, 17))
    assert [w1[0, 0], w1[0, 9], w1[1, 0], b1[0]] == [0, 9, 10, 80]  # [out, in], row-major
    assert [w2[0, 0], b2[0], w3[0, 0], b3[0], b3[16]] == [88, 152, 160, 296, 312]


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
    theta, features = rng.normal(size=313).astype(np.float32), rng.normal(size=(3, 5, 8)).astype(np.float32)
    return theta, features, np.array([20.0, 12.0], np.float32), np.float32(64)


def test_both_questions_agree_with_a_map_made_by_loops(person):
    theta, features, centre, scale = person
    expected = by_loops(theta, features, centre, scale, stride=8)
    functions = kp_net.plain(PAPER, 17, stride=8)
    size = jnp.array([24, 40], jnp.int32)
    cells = jnp.arange(17, dtype=jnp.int32) % 15
    log_softmax = expected - np.log(np.exp(expected).sum(1, keepdims=True))
    answer = functions.log_likelihood(*map(jnp.asarray, person), size, cells)
    np.testing.assert_allclose(answer, log_softmax[np.arange(17), cells], atol=1e-4)
    peak = functions.peak(*map(jnp.asarray, person), size)
    np.testing.assert_array_equal(peak.cell, expected.argmax(1))
    np.testing.assert_allclose(peak.logit, expected.max(1), atol=1e-4)
    np.testing.assert_allclose(jnp.exp(peak.logit - peak.log_sum_exp), np.exp(log_softmax.max(1)), atol=1e-5)


def test_cells_in_the_padding_take_no_part(person):
    functions = kp_net.plain(PAPER, 17, stride=8)
    theta, features, centre, scale = map(jnp.asarray, person)
    size = jnp.array([24, 24], jnp.int32)  # column 3 begins at 24: nothing of it is real
    changed = features.at[:, 3:].add(100.0)
    cells = jnp.zeros(17, jnp.int32)
    np.testing.assert_array_equal(
        functions.log_likelihood(theta, features, centre, scale, size, cells),
        functions.log_likelihood(theta, changed, centre, scale, size, cells),
    )
    assert (functions.peak(theta, changed, centre, scale, size).cell % 5 < 3).all()


def test_a_picture_without_cells_has_a_finite_gradient(person):
    functions = kp_net.plain(PAPER, 17, stride=8)
    theta, features, centre, scale = map(jnp.asarray, person)
    cells = jnp.zeros(17, jnp.int32)
    size = jnp.zeros(2, jnp.int32)
    gradient = jax.grad(lambda t: functions.log_likelihood(t, features, centre, scale, size, cells).sum())(theta)
    assert jnp.isfinite(gradient).all()

"""Rates, update rules and frozen parameters, against numbers computed by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from inspose_jax import config, methods
from inspose_jax.training import optimizer

PAPER = config.Schedule()


def rates(schedule, num_steps, steps):
    rate = optimizer.learning_rate(schedule, num_steps)
    return [float(rate(jnp.int32(step))) for step in steps]


def test_the_papers_rate_warms_up_and_drops_twice():
    # 36,000 steps: warm-up over 1,000 from a third; a tenth from 27,000, a hundredth from 33,000
    got = rates(PAPER, 36_000, [0, 500, 1000, 26_999, 27_000, 33_000])
    np.testing.assert_allclose(got, [0.01 / 3, 0.02 / 3, 0.01, 0.01, 0.001, 0.0001], rtol=1e-5)


def test_the_released_rate_warms_up_from_a_thousandth():
    schedule = dataclasses.replace(PAPER, learning_rate=0.02, warmup_steps=2000, warmup_from=0.001)
    got = rates(schedule, 36_000, [0, 500, 2000])
    np.testing.assert_allclose(got, [0.02 * (1 - (1 - t) * (1 - 0.001)) for t in (0, 0.25, 1)], rtol=1e-5)


def test_a_short_run_warms_up_over_a_tenth_and_still_has_its_drops():
    np.testing.assert_allclose(rates(PAPER, 36, [0, 3, 26, 27, 33]), [0.01 / 3, 0.01, 0.01, 0.001, 1e-4], rtol=1e-5)


def test_cosine_ends_at_zero():
    schedule = dataclasses.replace(PAPER, decay="cosine", warmup_steps=10)
    np.testing.assert_allclose(rates(schedule, 110, [10, 60, 110]), [0.01, 0.005, 0], atol=1e-8)


def moved(schedule, gradients, model=tiny.MODEL, num_steps=10):
    """Parameters after updates with the given multiples of an all-ones gradient, starting from ones."""
    params = jax.tree.map(jnp.ones_like, tiny.variables(model)["params"])
    model_method = methods.for_model(model)
    rule = optimizer.make_optimizer(schedule, model_method, num_steps)
    state = rule.init(params)
    for value in gradients:
        gradient = jax.tree.map(lambda p, v=value: jnp.full_like(p, v), params)
        gradient = optimizer.freeze(gradient, model_method.trains(params))
        updates, state = rule.update(gradient, state, params)
        params = jax.tree.map(lambda p, u: p + u, params, updates)
    return params


def test_sgd_adds_decay_to_the_gradient_and_keeps_momentum():
    schedule = dataclasses.replace(PAPER, warmup_steps=0, weight_decay=0.1, clip_norm=1e9, learning_rate=0.1)
    after = moved(schedule, [1.0, 0.0])["fpn"]["lateral3"]["kernel"]
    # v1 = 1 + .1; w1 = 1 - .11 = .89; v2 = .9 * 1.1 + .089 = 1.079; w2 = .89 - .1079
    np.testing.assert_allclose(after, 0.7821, rtol=1e-5)


def test_the_gradient_is_clipped_by_its_global_norm():
    schedule = dataclasses.replace(PAPER, warmup_steps=0, weight_decay=0.0, clip_norm=1.0, learning_rate=1.0)
    before = sum(leaf.size for leaf in jax.tree.leaves(tiny.variables()["params"]))
    after = moved(schedule, [5.0])["fpn"]["lateral3"]["kernel"]
    np.testing.assert_allclose(after, 1 - 1 / np.sqrt(before), rtol=1e-5)


@pytest.mark.parametrize("kind", ["sgd", "adamw", "muon"])
def test_frozen_parameters_do_not_change_and_the_others_do(kind):
    model = tiny.model(frozen_stages=1, batch_norm="frozen")
    after = moved(dataclasses.replace(PAPER, optimizer=kind, warmup_steps=0), [0.1], model)
    for path, leaf in jax.tree_util.tree_flatten_with_path(after)[0]:
        names = [entry.key for entry in path]
        frozen = names[0] == "backbone" and (names[1] in ("stem", "stage1") or "norm" in names[-2])
        assert bool((leaf == 1).all()) == frozen, names


def test_muon_moves_matrices_along_orthogonal_directions():
    schedule = dataclasses.replace(
        PAPER, optimizer="muon", warmup_steps=0, weight_decay=0.0, learning_rate=1.0, clip_norm=1e9
    )
    params = tiny.variables()["params"]
    rule = optimizer.make_optimizer(schedule, tiny.METHOD, 10)
    rng = np.random.default_rng(0)
    # Output channels of very different size, so that the gradient itself points along few directions.
    gradient = jax.tree.map(
        lambda p: jnp.asarray(rng.normal(size=p.shape) * np.geomspace(1, 30, p.shape[-1]), p.dtype), params
    )
    updates, _ = rule.update(gradient, rule.init(params), params)

    def spread(tree) -> float:  # of the singular values of one kernel
        kernel = np.asarray(tree["backbone"]["stage2"]["block0"]["conv2"]["kernel"]).reshape(-1, 8)
        singular = np.linalg.svd(kernel, compute_uv=False)
        return singular.max() / singular.min()

    assert spread(gradient) > 20
    assert spread(updates) < 2
    # Adam's first step is its rate, .3 of Muon's, whatever the gradient.
    np.testing.assert_allclose(np.abs(updates["instance_heads"]["theta"]["conv"]["kernel"]), 0.3, rtol=1e-3)

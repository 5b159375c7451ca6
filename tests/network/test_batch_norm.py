"""Batch norm uses only the real images of a batch, however they are divided over devices and parts."""

from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax.sharding import PartitionSpec

from inspose_jax import methods
from inspose_jax.losses import count
from inspose_jax.network.batch_norm import BatchNorm, real_images
from inspose_jax.targets import make_targets
from inspose_jax.training import sharding, step

RNG = np.random.default_rng(0)
MAPS = ((RNG.normal(size=(8, 5, 4, 3)) + 0.5) * [1, 3, 0.2]).astype(np.float32)
WEIGHTS = RNG.normal(size=MAPS.shape).astype(np.float32)  # of the outputs, in a loss
PARAMS = {name: RNG.uniform(0.5, 2, 3).astype(np.float32) for name in ("scale", "bias")}
STATS = {name: RNG.uniform(0.5, 2, 3).astype(np.float32) for name in ("mean", "var")}
AXIS = step.DATA_AXIS


@pytest.fixture(autouse=True, scope="module")
def _standard_promotion():  # flax and optax, see training/conftest.py
    with jax.numpy_dtype_promotion("standard"):
        yield


def assert_close(a, b, bound=1e-6):
    """Assert that all arrays of two trees differ by at most `bound` times the largest value of each."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=bound * max(np.abs(b).max(), 1)), a, b)


def trained(maps, is_real, weights, num_devices):
    """Outputs, new statistics, gradients to parameters and to maps."""

    def loss(params, maps, stats, is_real, weights):
        real = real_images(is_real[:, None] * jnp.full((1, 2), 4), AXIS)
        given = {"params": params, "batch_stats": stats}
        y, changed = BatchNorm(False, AXIS).apply(given, maps, real, mutable=["batch_stats"])
        return (y * weights * is_real[:, None, None, None]).sum(), (y, changed["batch_stats"])

    def on_device(params, *others):
        params = jax.lax.pcast(params, AXIS, to="varying")
        (_, (y, stats)), gradients = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, *others)
        return y, stats, jax.lax.psum(gradients[0], AXIS), gradients[1]

    mesh = sharding.make_mesh(replace(tiny.CONFIG.schedule, batch_size=len(maps)), jax.devices()[:num_devices])
    whole, rows = PartitionSpec(), PartitionSpec(AXIS)
    specs = {"in_specs": (whole, rows, whole, rows, rows), "out_specs": (rows, whole, whole, rows)}
    run = jax.jit(jax.shard_map(on_device, mesh=mesh, **specs))
    return jax.device_get(run(PARAMS, maps, STATS, is_real, weights))


# The end of an epoch: on four devices two hold blank images only.  Blank images between others.  A single one.
@pytest.mark.parametrize("rows", [[0, 1, 2], [0, 2, 3, 7], [5]])
@pytest.mark.parametrize("num_devices", [1, 2, 4, 8])
def test_blank_images_change_nothing_at_any_position(num_devices, rows):
    is_real = np.isin(np.arange(8), rows)
    y, stats, of_params, of_maps = trained(MAPS * is_real[:, None, None, None], is_real, WEIGHTS, num_devices)
    expected = trained(MAPS[rows], is_real[rows], WEIGHTS[rows], 1)
    assert_close((y[rows], stats, of_params, of_maps[rows]), expected)
    assert not y[~is_real].any()
    assert not of_maps[~is_real].any()


@pytest.mark.parametrize("num_devices", [1, 2])
def test_a_batch_of_blank_images_changes_no_statistics_and_is_finite(num_devices):
    y, stats, of_params, of_maps = trained(0 * MAPS, np.zeros(8, bool), WEIGHTS, num_devices)
    jax.tree.map(np.testing.assert_array_equal, stats, STATS)
    assert not any(array.any() for array in jax.tree.leaves((y, of_params, of_maps)))  # NaN would count as true


def test_without_blank_images_it_is_flaxs_batch_norm():
    flax, real = nn.BatchNorm(False, momentum=0.9, epsilon=1e-5), real_images(jnp.ones((8, 2), jnp.int32), None)
    fresh = BatchNorm(False).init(jax.random.key(0), jnp.asarray(MAPS), real)
    jax.tree.map(np.testing.assert_array_equal, fresh, flax.init(jax.random.key(0), MAPS))
    y, changed = flax.apply({"params": PARAMS, "batch_stats": STATS}, MAPS, mutable=["batch_stats"])
    assert_close(trained(MAPS, np.ones(8, bool), WEIGHTS, 2)[:2], (y, changed["batch_stats"]))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_with_running_statistics_it_is_flaxs_batch_norm_bit_for_bit(dtype):
    given, maps = {"params": PARAMS, "batch_stats": STATS}, jnp.asarray(MAPS, dtype)
    blank = real_images(jnp.zeros((8, 2), jnp.int32), None)
    y = jax.jit(BatchNorm(True).apply)(given, maps, blank)
    expected = jax.jit(nn.BatchNorm(True, momentum=0.9, epsilon=1e-5, dtype=dtype).apply)(given, maps)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, expected)


@pytest.fixture(scope="module")
def gradient_of():
    """(batch, devices, parts) -> gradient, new statistics and loss terms of the whole network, in float64."""
    variables = jax.tree.map(lambda x: np.asarray(x, np.float64), tiny.variables())

    def gradient_of(batch, num_devices, accumulate):
        schedule = replace(tiny.CONFIG.schedule, batch_size=len(batch.size), accumulate=accumulate)
        config, mesh = (
            replace(tiny.CONFIG, schedule=schedule),
            sharding.make_mesh(schedule, jax.devices()[:num_devices]),
        )

        def run(params, stats, batch):
            targets = make_targets(batch, tiny.grid(config.model), config.model.assignment)
            gradient_of = step.make_gradient(methods.for_model(config.model), accumulate, mesh)
            return gradient_of(params, stats, batch, targets, count(targets))

        with jax.enable_x64(True):
            return jax.device_get(jax.jit(run)(variables["params"], variables["batch_stats"], batch))

    return gradient_of


@pytest.fixture(scope="module")
def alone(gradient_of):
    return gradient_of(tiny.batch([PEOPLE]), 1, 1)


PEOPLE = [tiny.person(4, 4, 60, 60), tiny.person(30, 30, 50, 50)]


@pytest.mark.parametrize(("num_devices", "accumulate"), [(2, 1), (1, 2)])
def test_a_step_with_three_blank_images_is_that_of_its_one_image_alone(gradient_of, alone, num_devices, accumulate):
    """The other device, or the second part, holds blank images only."""
    batch = tiny.batch([PEOPLE, [], [], []])
    for index in (1, 2, 3):
        batch = tiny.blank(batch, index)
    assert_close(gradient_of(batch, num_devices, accumulate), alone)

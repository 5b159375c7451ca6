"""Any derivative of the whole training loss, on two devices: network, targets, filled slots, and the sum over both.

In float64, in which they agree to many digits.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax.sharding import PartitionSpec

from inspose_jax import losses, methods
from inspose_jax.losses import count, oks_of_slots
from inspose_jax.network import per_person
from inspose_jax.targets import make_targets
from inspose_jax.training import sharding, step

pytestmark = pytest.mark.slow


def locally_constant(cells, offsets, *rest):
    """OKS that small changes of the parameters leave as they are, since a target has no gradient."""
    return oks_of_slots(cells, jnp.round(offsets), *rest)


@pytest.fixture(scope="module", params=["MODEL", "VARIFOCAL"])
def along(request):
    """Eq. 5 as a function of the distance (f64[]) of all parameters in a random direction."""
    with pytest.MonkeyPatch.context() as patch, jax.enable_x64(True):
        patch.setattr(per_person, "SLOTS_AT_ONCE", 5)  # chunks that are full, partly filled, empty, beyond the last
        patch.setattr(losses, "oks_of_slots", locally_constant)
        method = methods.for_model(getattr(tiny, request.param))
        mesh = sharding.make_mesh(tiny.schedule(batch_size=2), jax.devices()[:2])
        batch = tiny.batch([[tiny.person(6, 6, 18, 18)], [tiny.person(4, 4, 60, 60), tiny.person(30, 30, 50, 50)]])
        # Random poses have OKS well above 0 where people are this large.
        batch = batch._replace(keypoints=batch.keypoints.astype(np.float64), area=200 * batch.area)
        batch = jax.tree.map(jnp.asarray, batch)
        targets = make_targets(batch, tiny.grid(), tiny.MODEL.assignment)
        variables = jax.tree.map(lambda x: x.astype(np.float64), jax.device_get(tiny.variables()))
        keys = jax.random.split(jax.random.key(0), len(jax.tree.leaves(variables["params"])))
        keys = jax.tree.unflatten(jax.tree.structure(variables["params"]), list(keys))
        direction = jax.tree.map(lambda x, key: 0.1 * jax.random.normal(key, x.shape), variables["params"], keys)
        whole, rows = PartitionSpec(), PartitionSpec(step.DATA_AXIS)

        @partial(jax.shard_map, mesh=mesh, in_specs=(whole, rows, rows), out_specs=whole)
        def loss(params, batch, targets):
            params = jax.lax.pcast(params, step.DATA_AXIS, to="varying")
            counts = jax.lax.psum(count(targets), step.DATA_AXIS)
            piece, _ = step.piece_loss(params, variables["batch_stats"], batch, targets, counts, method)
            return jax.lax.psum(piece, step.DATA_AXIS)

        def along(distance):
            params = jax.tree.map(lambda x, towards: x + distance * towards, variables["params"], direction)
            return loss(params, batch, targets)

        yield along


@pytest.fixture(scope="module")
def slope(along):
    value = jax.jit(jax.grad(along))(0.0)
    assert abs(value) > 0.1
    return value


def test_the_gradient_agrees_with_finite_differences(along, slope):
    value = jax.jit(along)
    step = 1e-7  # shorter than the way to the next kink of a ReLU
    difference = (value(step) - value(-step)) / (2 * step)
    np.testing.assert_allclose(slope, difference, rtol=1e-6)


@pytest.mark.parametrize("forward", ["jvp", "jacfwd"])
def test_forward_derivatives_agree_with_the_gradient(along, slope, forward):
    if forward == "jvp":
        found = jax.jit(lambda x: jax.jvp(along, (x,), (1.0,))[1])(0.0)
    else:
        found = jax.jit(jax.jacfwd(along))(0.0)
    np.testing.assert_allclose(found, slope, rtol=1e-9)


@pytest.mark.slow
def test_the_second_derivative_is_the_same_in_reverse_and_in_forward_mode(along):
    second = jax.jit(jax.grad(jax.grad(along)))(0.0)
    assert abs(second) > 0.1
    np.testing.assert_allclose(second, jax.jit(jax.jacfwd(jax.jacfwd(along)))(0.0), rtol=1e-9)

"""A GPU computes the steps of a CPU: JAX_PLATFORMS=cuda,cpu python -m pytest -m gpu"""

from dataclasses import replace

import jax
import numpy as np
import pytest
import tiny

from inspose_jax import methods
from inspose_jax.training import sharding, step

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", autouse=True)
def _gpu():
    if jax.default_backend() != "gpu":
        pytest.skip("no GPU; with one, set JAX_PLATFORMS=cuda,cpu")


@pytest.mark.parametrize("batch_norm", ["frozen", "trained"])
def test_a_step_on_a_gpu_moves_every_parameter_as_on_the_cpu(batch_norm):
    schedule = replace(tiny.CONFIG.schedule, batch_size=4, optimizer="sgd", warmup_steps=0, clip_norm=1e9)
    config = replace(tiny.CONFIG, model=tiny.model(batch_norm=batch_norm), schedule=schedule)
    people = [[tiny.person(6, 6, 18, 18)], [], [tiny.person(4, 4, 60, 60), tiny.person(30, 30, 50, 50)], []]
    batch, variables = tiny.blank(tiny.batch(people), 3), tiny.variables()

    def moved(device):
        mesh = sharding.make_mesh(schedule, [device])
        before = jax.device_get(step.state_of(variables, methods.for_model(config.model), schedule, 5))
        train_step = sharding.jit_train_step(methods.for_model(config.model), schedule, 5, mesh)
        after, measurements = train_step(
            jax.device_put(before, sharding.replicated(mesh)), sharding.put_batch(batch, mesh)
        )
        return jax.tree.map(np.subtract, jax.device_get(after.params), before.params), jax.device_get(measurements)

    with jax.default_matmul_precision("highest"):  # not TF32, which keeps ten bits
        moves, measurements = moved(jax.devices("gpu")[0])
    wanted, on_cpu = moved(jax.devices("cpu")[0])
    assert measurements["loss/total"] == pytest.approx(on_cpu["loss/total"], rel=1e-5)
    farthest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(wanted))
    assert farthest > 1e-4
    for one, other in zip(jax.tree.leaves(moves), jax.tree.leaves(wanted), strict=True):
        # Some gradients are zero but for rounding, such as of a bias before a norm.
        assert np.abs(one - other).max() <= 1e-3 * max(np.abs(other).max(), 1e-3 * farthest)

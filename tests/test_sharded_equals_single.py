"""One device and eight give the same loss and gradient, to the precision of float64."""

import os
import subprocess
import sys
from pathlib import Path

# A process of its own: float64 is a setting of the whole process.
SCRIPT = """
import jax
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)
import dataclasses
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
import tiny
from inspose_jax.training.step import loss_and_measurements

variables = jax.tree.map(lambda x: np.asarray(x, np.float64), tiny.variables())
people = [[tiny.person(6, 6, 18, 18)], [], [tiny.person(4, 4, 60, 60), tiny.person(30, 30, 50, 50)]]
batch = tiny.blank(tiny.batch([people[i % 3] for i in range(8)]), 7)
# The targets are computed in the joints' precision: the last bit of a float32 exp depends on how many share a vector.
batch = batch._replace(keypoints=batch.keypoints.astype(np.float64))

def value(params, batch_stats, batch):
    grad = jax.value_and_grad(loss_and_measurements, has_aux=True)
    (loss, (stats, _)), gradient = grad(params, batch_stats, batch, tiny.CONFIG)
    return loss, stats, gradient

answers = []
for number in (1, 8):
    mesh = Mesh(np.array(jax.devices()[:number]), ("data",), axis_types=(AxisType.Auto,))
    whole, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    step = jax.jit(value, in_shardings=(whole, whole, split), out_shardings=whole)
    answers.append(jax.tree.leaves(jax.device_get(step(variables["params"], variables["batch_stats"], batch))))
assert answers[0][0].dtype == np.float64
worst = max(np.abs(a - b).max() / max(np.abs(a).max(), 1e-3) for a, b in zip(*answers))
print("loss", float(answers[0][0]), "worst", worst)
assert worst < 1e-10
"""


def test_eight_devices_give_the_loss_and_gradient_of_one():
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]

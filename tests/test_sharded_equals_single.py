"""The step gives the same parameters on any number of devices, and sends no more between them than it must."""

import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import pytest
import tiny

from inspose_jax.training import sharding

BATCH_SIZE, OWN = 40, 5  # pictures in all and of each of the eight pretend devices; nothing else has these sizes

# Five steps of one global batch on several numbers of devices: people, an empty picture, a blank one that fills the
# batch, batch statistics and GroupNorm.  A process of its own: float64 is a setting of the whole process.
# The rate is low: at ten times this one, a ReLU exactly at its kink parts two float32 runs for good.
SCRIPT = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_enable_x64", sys.argv[1] == "float64")
jax.config.update("jax_disable_most_optimizations", True)
from dataclasses import replace
import numpy as np
import tiny
from inspose_jax.training import sharding, step

schedule = replace(tiny.CONFIG.schedule, batch_size=8, optimizer="sgd", learning_rate=1e-3, warmup_steps=0, ema=0.9)
config = replace(tiny.CONFIG, schedule=schedule)
variables = jax.tree.map(lambda x: np.asarray(x, sys.argv[1]), tiny.variables())
people = [[tiny.person(6, 6, 18, 18)], [], [tiny.person(4, 4, 60, 60), tiny.person(30, 30, 50, 50)]]
batch = tiny.blank(tiny.batch([people[i % 3] for i in range(8)]), 7)
# The targets are computed in the joints' precision: the last bit of a float32 exp depends on how many share a vector.
batch = batch._replace(keypoints=batch.keypoints.astype(sys.argv[1]))

answers = []
numbers = [int(number) for number in sys.argv[3:]]
for number in numbers:
    mesh = sharding.make_mesh(8, jax.devices()[:number])
    train_step = sharding.jit_train_step(config, 5, mesh)
    start = step.state_of(variables["params"], variables["batch_stats"], config, 5)
    state = jax.device_put(start, sharding.replicated(mesh))
    for _ in range(5):
        state, measurements = train_step(state, sharding.put_batch(batch, mesh))
    answers.append(jax.device_get((state, measurements["loss/total"])))

def differing(a, b):
    a, b = jax.tree.leaves(a), jax.tree.leaves(b)
    return max(np.abs(x - y).max() / max(np.abs(x).max(), 1e-3) for x, y in zip(a, b))

assert all(leaf.dtype == sys.argv[1] for leaf in jax.tree.leaves(answers[0][0].params))
assert differing(answers[0][0].params, variables["params"]) > 1e-2
for number, other in zip(numbers[1:], answers[1:]):
    print(number, "devices differ from one by", differing(answers[0], other))
    assert differing(answers[0], other) < float(sys.argv[2])
"""


@pytest.mark.parametrize(
    ("dtype", "bound", "devices"),
    [
        pytest.param("float64", "1e-10", "1 8"),
        pytest.param("float64", "1e-10", "1 2 4 8", marks=pytest.mark.slow),
        pytest.param("float32", "1e-4", "1 2 4 8", marks=pytest.mark.slow),
    ],
)
def test_five_steps_on_any_number_of_devices_give_the_parameters_of_one(dtype, bound, devices):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", SCRIPT, dtype, bound, *devices.split()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def sizes(text: str) -> list[tuple[str, tuple[int, ...]]]:
    """(type, sizes) of every array that a piece of a compiled program names."""
    found = re.findall(r"\b([a-z]+\d+|pred)\[([\d,]*)\]", text)
    return [(kind, tuple(int(side) for side in sides.split(",") if side)) for kind, sides in found]


def num_bytes(text: str) -> int:
    """Bytes of all arrays that a piece of a compiled program names."""
    return sum(int(re.sub(r"\D", "", kind)) // 8 * math.prod(sides) for kind, sides in sizes(text))


def results(program: str, operation: str) -> list[str]:
    """The arrays that each such operation of a compiled program gives, as text."""
    return re.findall(rf"= (\S.*?) {operation}(?:-start)?\(", program)


@pytest.fixture(scope="module")
def compiled():
    """The step on all eight devices: its program as text, and the state's shapes."""
    schedule = replace(tiny.CONFIG.schedule, batch_size=BATCH_SIZE, optimizer="sgd")
    config = replace(tiny.CONFIG, schedule=schedule)
    mesh = sharding.make_mesh(BATCH_SIZE)
    with jax.numpy_dtype_promotion("standard"):  # optax, see training/conftest.py
        state = sharding.abstract_state(config, 10, mesh)
        lowered = sharding.jit_train_step(config, 10, mesh).lower(state, tiny.batch([[]] * BATCH_SIZE))
    return lowered.compile().as_text(), state


def test_devices_send_each_other_every_gradient_once_and_statistics_and_counts_and_nothing_else(compiled):
    program, state = compiled
    others = ("all-gather", "all-to-all", "reduce-scatter", "collective-permute", "collective-broadcast")
    assert [name for name in others if results(program, name)] == []
    parameters = sum(4 * leaf.size for leaf in jax.tree.leaves(state.params))
    # Every norm averages two floats a channel on the way there and two on the way back; it keeps two.
    statistics = sum(2 * 4 * leaf.size for leaf in jax.tree.leaves(state.batch_stats))
    scalars = 4 * 16  # counts, terms and measurements
    sent = sum(num_bytes(result) for result in results(program, "all-reduce"))
    assert parameters < sent <= parameters + statistics + scalars
    assert sent <= 1.1 * parameters


def test_every_device_convolves_its_own_pictures_and_never_sees_the_whole_batch(compiled):
    program, _ = compiled
    assert not [array for array in sizes(program) if BATCH_SIZE in array[1]]
    arrays = dict(re.findall(r"%(\S+) = (\w+\[[\d,]*\])", program))
    convolutions = re.findall(r" convolution\(%([^,]+), %([^)]+)\)", program)
    assert len(convolutions) > 100
    for left, right in convolutions:  # the compiler may swap the sides
        assert OWN in sizes(arrays[left])[0][1] + sizes(arrays[right])[0][1]

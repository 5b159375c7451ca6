"""The step gives the same parameters on any number of devices and in any number of parts (`schedule.accumulate`), and
sends no more between devices than it must.
"""

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

from inspose_jax import config, methods
from inspose_jax.training import sharding, step

# Five steps of one global batch: people, empty images, a blank one that fills the batch; GroupNorm and, trained or
# frozen, batch norm.  A process of its own: float64 is a setting of the whole process.
# In float32 the rate is low, and what counts is the median difference from three starts: where rounding moves an
# activation over the kink of a ReLU, its whole gradient comes or goes, from one start and not from another.  A fault of
# the arithmetic shows from all of them.
SCRIPT = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_enable_x64", sys.argv[1] == "float64")
from dataclasses import replace
import numpy as np
import tiny
from inspose_jax import methods
from inspose_jax.network import per_person
from inspose_jax.training import sharding, step

dtype, bound, name, batch_norm, *ways = sys.argv[1:]
model = tiny.config.replace(getattr(tiny, name), batch_norm=batch_norm)
rate = 1e-3 if dtype == "float64" else 1e-5
schedule = replace(tiny.CONFIG.schedule, batch_size=8, optimizer="sgd", learning_rate=rate, warmup_steps=0, ema=0.9)
starts = [
    jax.tree.map(lambda x: np.asarray(x, dtype), tiny.variables(model, seed))
    for seed in range(1 if dtype == "float64" else 3)
]
people = [[tiny.person(6, 6, 18, 18)], [], [tiny.person(4, 4, 60, 60), tiny.person(30, 30, 50, 50)]]
batch = tiny.blank(tiny.batch([people[i % 3] for i in range(8)]), 7)
# The targets are computed in the joints' precision: the last bit of a float32 exp depends on how many share a vector.
batch = batch._replace(keypoints=batch.keypoints.astype(dtype))

answers = []
for way in ways:
    devices, accumulate = map(int, way.split("x"))
    per_person.SLOTS_AT_ONCE = 64 if way == ways[0] else 5  # all 16 at once, or in chunks that reach beyond the last
    divided = replace(schedule, accumulate=accumulate)
    mesh = sharding.make_mesh(divided, jax.devices()[:devices])
    method = methods.for_model(model)
    train_step = sharding.jit_train_step(method, divided, 5, mesh)
    answers.append([])
    for variables in starts:
        start = step.state_of(variables, method, divided, 5)
        state = jax.device_put(start, sharding.replicated(mesh))
        for _ in range(5):
            state, measurements = train_step(state, sharding.put_batch(batch, mesh))
        answers[-1].append(jax.device_get((state, measurements)))

def differing(a, b):
    a, b = jax.tree.leaves(a), jax.tree.leaves(b)
    return max(np.abs(x - y).max() / max(np.abs(x).max(), 1e-3) for x, y in zip(a, b))

for variables, (state, _) in zip(starts, answers[0]):
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(state.params))
    assert differing(state.params, variables["params"]) > 1e-2
for way, other in zip(ways[1:], answers[1:]):
    found = sorted(map(differing, answers[0], other))
    print(way, "differs from", ways[0], "by", *found)
    assert found[len(found) // 2] < float(bound)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "bound", "name", "batch_norm", "ways"),
    [
        pytest.param("float64", "1e-10", "MODEL", "frozen", "1x1 2x4", id="four parts on two devices"),
        pytest.param("float64", "1e-10", "MODEL", "trained", "1x1 2x1 4x1 8x1", id="devices"),
        pytest.param("float32", "1e-4", "MODEL", "trained", "1x1 2x1 4x1 8x1", id="float32"),
        pytest.param("float64", "1e-10", "MODEL", "frozen", "1x1 1x2 1x8 4x2", id="parts"),
        pytest.param("float64", "1e-10", "VARIFOCAL", "frozen", "1x1 2x4", id="varifocal, two devices, four parts"),
        pytest.param("float64", "1e-10", "TRAINED_RELEASED", "trained", "1x1 8x1", id="released, devices"),
        pytest.param(
            "float64", "1e-10", "TRAINED_RELEASED", "frozen", "1x1 2x4", id="released, two devices, four parts"
        ),
    ],
)
def test_five_steps_give_the_same_on_devices_x_parts(dtype, bound, name, batch_norm, ways):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", SCRIPT, dtype, bound, name, batch_norm, *ways.split()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


BATCH_SIZE, OWN = 40, 5  # images in all and of each of the eight devices; nothing else has these sizes
OTHER_COMMUNICATION = ("all-gather", "all-to-all", "reduce-scatter", "collective-permute", "collective-broadcast")
SCALARS = 4 * 16  # bytes of counts, terms and measurements


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


def compile_for_eight(model: config.Model, batch_size: int, accumulate: int) -> tuple[str, step.State]:
    """The step on all eight devices: its program as text, and the state's shapes."""
    schedule = replace(tiny.CONFIG.schedule, batch_size=batch_size, accumulate=accumulate, optimizer="sgd")
    changed = replace(tiny.CONFIG, model=model, schedule=schedule)
    mesh = sharding.make_mesh(schedule)
    with jax.numpy_dtype_promotion("standard"):  # optax, see training/conftest.py
        changed_method = methods.for_model(changed.model)
        state = sharding.abstract_state(changed_method, changed.schedule, 10, mesh)
        lowered = sharding.jit_train_step(changed_method, changed.schedule, 10, mesh).lower(
            state, tiny.batch([[]] * batch_size)
        )
    with tiny.as_users_compile():  # what devices send each other is a claim about the program that users run
        return lowered.compile().as_text(), state


@pytest.fixture(scope="module")
def compiled():
    return compile_for_eight(tiny.MODEL, BATCH_SIZE, accumulate=1)


def test_devices_exchange_every_gradient_once_statistics_and_counts_and_nothing_else(compiled):
    program, state = compiled
    assert [name for name in OTHER_COMMUNICATION if results(program, name)] == []
    parameters = sum(4 * leaf.size for leaf in jax.tree.leaves(state.params))
    # Every norm averages two floats a channel on the way there and two on the way back; it keeps two.
    statistics = sum(2 * 4 * leaf.size for leaf in jax.tree.leaves(state.batch_stats))
    sent = sum(num_bytes(result) for result in results(program, "all-reduce"))
    assert parameters < sent <= parameters + statistics + SCALARS
    assert sent <= 1.1 * parameters


def test_every_device_convolves_its_own_images_and_never_sees_the_whole_batch(compiled):
    program, _ = compiled
    assert not [array for array in sizes(program) if BATCH_SIZE in array[1]]
    arrays = dict(re.findall(r"%(\S+) = (\w+\[[\d,]*\])", program))
    convolutions = re.findall(r" convolution\(%([^,]+), %([^)]+)\)", program)
    assert len(convolutions) > 90  # 18 more, of 1x1, are products
    for left, right in convolutions:  # the compiler may swap the sides
        assert OWN in sizes(arrays[left])[0][1] + sizes(arrays[right])[0][1]


@pytest.mark.slow
def test_parts_are_summed_on_the_device_and_their_gradients_sent_once_after_the_last():
    program, state = compile_for_eight(tiny.model(batch_norm="frozen"), 16, accumulate=2)
    before_main, main = program.split("\nENTRY ")
    assert [name for name in OTHER_COMMUNICATION if results(program, name)] == []
    assert results(before_main, "convolution")  # the loop over parts is a computation of its own
    assert results(before_main, "all-reduce") == []
    sent = sum(num_bytes(result) for result in results(main, "all-reduce"))
    assert sent <= sum(4 * leaf.size for leaf in jax.tree.leaves(state.params)) + SCALARS

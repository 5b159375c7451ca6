"""All devices as one: batches split over a mesh axis `data`, the state the same on every device.

The state is replicated whole: 36 million parameters with their momentum are .3 GB, far below what any chip holds, and
then a step needs no communication but the sum of gradients, statistics and counts.
"""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from inspose_jax import config
from inspose_jax.errors import UserError
from inspose_jax.method import Method
from inspose_jax.structures import Batch
from inspose_jax.training import step
from inspose_jax.training.step import DATA_AXIS, State


def make_mesh(schedule: config.Schedule, devices: Sequence[Any] = ()) -> Mesh:
    """`devices`, or all devices of all hosts, in a row; ValueError if a global batch does not divide over them."""
    # By process: the rows that one process loads follow each other in the global batch.
    devices = devices or sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    parts = len(devices) * schedule.accumulate
    if schedule.batch_size % parts:
        each = f" with {schedule.accumulate} parts (schedule.accumulate) each" if schedule.accumulate > 1 else ""
        raise UserError(
            f"schedule.batch_size {schedule.batch_size} does not divide over {len(devices)} devices{each}; take a "
            f"multiple of {parts}, or show the program fewer devices"
        )
    # Auto: the compiler places what is between inputs and outputs (scatter and gather want that).
    return Mesh(np.asarray(devices), (DATA_AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """The leading axis divided over the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def host_rows(batch_size: int, host: int, num_hosts: int) -> slice:
    """The rows of the global batch that one of `num_hosts` processes loads; their number divides the batch."""
    rows = batch_size // num_hosts
    return slice(host * rows, (host + 1) * rows)


def put_batch(batch: Batch, mesh: Mesh) -> Batch:
    """This host's rows -> one global array a field, split over `data`."""
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(split(mesh), x), batch)


def new_state(method: Method, schedule: config.Schedule, num_steps: int, mesh: Mesh) -> State:
    """A random state, made where it lives."""
    create = jax.jit(lambda key: step.new_state(key, method, schedule, num_steps), out_shardings=replicated(mesh))
    return create(jax.random.key(schedule.seed))


def abstract_state(method: Method, schedule: config.Schedule, num_steps: int, mesh: Mesh) -> Any:
    """Shapes, types and places of a state, without making one: what a checkpoint is restored into."""
    shapes = jax.eval_shape(lambda key: step.new_state(key, method, schedule, num_steps), jax.random.key(0))
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(mesh)), shapes)


def jit_train_step(
    method: Method, schedule: config.Schedule, num_steps: int, mesh: Mesh, on_nan: Literal["stop", "skip"] = "stop"
) -> Any:
    """The compiled step: state in, state out in the same memory, batch split, measurements on every device."""
    return jax.jit(
        step.make_train_step(method, schedule, num_steps, mesh, on_nan),
        in_shardings=(replicated(mesh), split(mesh)),
        out_shardings=(replicated(mesh), replicated(mesh)),
        donate_argnums=0,
    )

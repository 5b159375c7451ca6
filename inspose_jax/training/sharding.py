"""All devices as one: batches are split over a mesh axis `data`, the state is replicated on every device.

The whole state is replicated: 36 million parameters with their momentum take 0.3 GB, far less than any chip holds, and
a step then only communicates to sum gradients, statistics and counts.
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
    """`devices`, or all devices of all hosts, in a row; raises UserError if a batch cannot be divided over them."""
    # Sorted by process: the rows that one process loads are contiguous in the global batch.
    devices = devices or sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    parts = len(devices) * schedule.accumulate
    if schedule.batch_size % parts:
        each = f" with {schedule.accumulate} parts (schedule.accumulate) each" if schedule.accumulate > 1 else ""
        raise UserError(
            f"schedule.batch_size {schedule.batch_size} cannot be divided over {len(devices)} devices{each}; use a "
            f"multiple of {parts}, or use fewer devices"
        )
    # Auto: the compiler shards what lies between inputs and outputs, as scatter and gather require.
    return Mesh(np.asarray(devices), (DATA_AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Replicated on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """The leading axis divided over the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def host_rows(batch_size: int, host: int, num_hosts: int) -> slice:
    """The rows of the global batch that process `host` of `num_hosts` loads; `num_hosts` divides the batch size."""
    rows = batch_size // num_hosts
    return slice(host * rows, (host + 1) * rows)


def put_batch(batch: Batch, mesh: Mesh) -> Batch:
    """This host's rows -> one global array per field, split over `data`."""
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(split(mesh), x), batch)


def new_state(method: Method, schedule: config.Schedule, num_steps: int, mesh: Mesh) -> State:
    """A random state, created on the devices of the mesh."""
    # On a CPU the random numbers of all layers take half a minute to compile well, a quarter of that as they are
    # written, and a tenth of a second to compute.
    is_cpu = mesh.devices.flat[0].platform == "cpu"
    create = jax.jit(
        lambda key: step.new_state(key, method, schedule, num_steps),
        out_shardings=replicated(mesh),
        compiler_options={"xla_backend_optimization_level": 0} if is_cpu else None,
    )
    return create(jax.random.key(schedule.seed))


def abstract_state(method: Method, schedule: config.Schedule, num_steps: int, mesh: Mesh) -> Any:
    """Shapes, types and shardings of a state, without creating one: what a checkpoint is restored into."""
    shapes = jax.eval_shape(lambda key: step.new_state(key, method, schedule, num_steps), jax.random.key(0))
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(mesh)), shapes)


def jit_train_step(
    method: Method, schedule: config.Schedule, num_steps: int, mesh: Mesh, on_nan: Literal["stop", "skip"] = "stop"
) -> Any:
    """The compiled step: it updates the state in place, takes a split batch, and puts measurements on every device."""
    return jax.jit(
        step.make_train_step(method, schedule, num_steps, mesh, on_nan),
        in_shardings=(replicated(mesh), split(mesh)),
        out_shardings=(replicated(mesh), replicated(mesh)),
        donate_argnums=0,
    )

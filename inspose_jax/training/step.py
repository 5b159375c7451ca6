"""One training step as a pure function: (state, batch) -> (state, measurements)."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from inspose_jax import config
from inspose_jax.errors import UserError
from inspose_jax.method import Method
from inspose_jax.structures import Batch
from inspose_jax.training import optimizer

DATA_AXIS = "data"  # the mesh axis that a batch is divided over


class State(NamedTuple):
    """Everything that a step changes."""

    step: Any  # i32[] batches seen, i.e. the position in the data; skipped steps count too
    params: Any
    batch_stats: Any  # running statistics of the backbone's norms
    optimizer: Any  # the optimizer's own state
    average: Any  # running average of {params, batch_stats}; () if there is none


def new_state(key: jax.Array, method: Method, schedule: config.Schedule, num_steps: int) -> State:
    """A new state from a random key; jit it with output shardings to create it on its devices."""
    return state_of(method.init(key), method, schedule, num_steps)


def state_of(variables: Any, method: Method, schedule: config.Schedule, num_steps: int) -> State:
    """The state of step 0 around given variables, {"params": .., "batch_stats": ..}."""
    params, batch_stats = variables["params"], variables["batch_stats"]
    rule = optimizer.make_optimizer(schedule, method, num_steps)
    average = {"params": params, "batch_stats": batch_stats} if schedule.ema > 0 else ()
    # A copy, because a donated state must not hold the same buffer twice.
    average = jax.tree.map(jnp.copy, average)
    return State(jnp.zeros((), jnp.int32), params, batch_stats, rule.init(params), average)


def piece_loss(
    params: Any, batch_stats: Any, batch: Batch, targets: Any, counts: Any, method: Method
) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
    """What some images add to the total loss of a global batch with `counts`; also batch statistics and the terms."""
    variables = {"params": params, "batch_stats": batch_stats}
    outputs, batch_stats = method.apply(variables, batch.image, batch.size, train=True, data_axis=DATA_AXIS)
    with jax.named_scope("losses"):
        terms = method.losses(outputs, targets, counts, batch)
    return total(terms, method.weights), (batch_stats, terms)


def total(terms: dict[str, jax.Array], weights: dict[str, float]) -> jax.Array:
    """The weighted sum of the terms: Eq. 5, where the paper's weights are all 1; UserError if a term has no weight."""
    if missing := terms.keys() - weights.keys():
        names = ", ".join(sorted(missing))
        raise UserError(f"Method.losses returns {names}, which Method.weights lacks; it has {', '.join(weights)}")
    return jnp.sum(jnp.stack([weights[name] * term for name, term in terms.items()]))


def make_gradient(method: Method, num_parts: int, mesh: Mesh) -> Callable[..., tuple[Any, Any, dict[str, jax.Array]]]:
    """(params, batch_stats, batch, targets, counts) -> gradient of the total loss, new batch statistics, loss terms.

    Every device works on its own rows, in `num_parts` parts one after another.  Devices communicate to average batch
    statistics, and once at the end.
    """

    def on_device(params: Any, batch_stats: Any, batch: Batch, targets: Any, counts: Any):
        # Every device gets its own copy; otherwise the gradients would be summed over the devices at each use of a
        # parameter, and some layers are used once per pyramid level.
        params = jax.lax.pcast(params, DATA_AXIS, to="varying")
        value = jax.value_and_grad(piece_loss, has_aux=True)

        def part(batch_stats: Any, batch: Batch, targets: Any) -> tuple[Any, Any, dict[str, jax.Array]]:
            (_, (batch_stats, terms)), gradient = value(params, batch_stats, batch, targets, counts, method)
            return optimizer.freeze(gradient, method.trains(gradient)), batch_stats, terms

        def add_part(so_far: tuple[Any, Any], rows: tuple[Batch, Any]) -> tuple[tuple[Any, Any], Any]:
            gradient, batch_stats, terms = part(so_far[1], *rows)
            return (jax.tree.map(jnp.add, so_far[0], gradient), batch_stats), terms

        # No loop on a CPU, not even with a single iteration: a training step is fifteen times slower inside one.
        is_cpu = mesh.devices.flat[0].platform == "cpu"
        if num_parts == 1:
            gradient, batch_stats, terms = part(batch_stats, batch, targets)
        else:
            parts = jax.tree.map(lambda x: x.reshape(num_parts, -1, *x.shape[1:]), (batch, targets))
            nothing = jax.tree.map(jnp.zeros_like, params)
            (gradient, batch_stats), terms = jax.lax.scan(add_part, (nothing, batch_stats), parts, unroll=is_cpu)
            terms = jax.tree.map(lambda x: x.sum(0), terms)
        gradient, terms = jax.lax.psum((gradient, terms), DATA_AXIS)
        return gradient, batch_stats, terms

    whole, rows = PartitionSpec(), PartitionSpec(DATA_AXIS)
    return jax.shard_map(on_device, mesh=mesh, in_specs=(whole, whole, rows, rows, whole), out_specs=whole)


def make_train_step(
    method: Method, schedule: config.Schedule, num_steps: int, mesh: Mesh, on_nan: Literal["stop", "skip"] = "stop"
) -> Callable[[State, Batch], tuple[State, dict[str, jax.Array]]]:
    """The step of a run of `num_steps` on the devices of `mesh`; measurements are scalars that stay on the device.

    With "skip", a step whose loss or gradient is not finite changes nothing but `State.step`, and the measurement
    `skipped` is 1.  With "stop", the caller has to check the measurements.
    """
    rule = optimizer.make_optimizer(schedule, method, num_steps)
    rate = optimizer.learning_rate(schedule, num_steps)
    gradient_of = make_gradient(method, schedule.accumulate, mesh)

    def train_step(state: State, batch: Batch) -> tuple[State, dict[str, jax.Array]]:
        # The scopes name the parts of a step in a trace.
        with jax.named_scope("targets"):
            targets = method.targets(batch)
        counts = method.count(targets)
        gradient, batch_stats, terms = gradient_of(state.params, state.batch_stats, batch, targets, counts)
        loss = total(terms, method.weights)
        with jax.named_scope("optimizer"):
            updates, optimizer_state = rule.update(gradient, state.optimizer, state.params)
            params = optax.apply_updates(state.params, updates)
        updates_done = optimizer.updates_done(state.optimizer)
        grad_norm = optax.tree.norm(gradient)
        measurements = {
            "loss/total": loss,
            **{f"loss/{name}": term for name, term in terms.items()},
            **method.measure(targets),
            "people_dropped": batch.people_dropped.sum(),
            "grad_norm": grad_norm,
            "lr": rate(updates_done),
        }
        with jax.named_scope("average"):
            average = move_average(state.average, params, batch_stats, updates_done, schedule.ema)
        after = State(state.step + 1, params, batch_stats, optimizer_state, average)
        if on_nan == "skip":
            is_finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
            before = state._replace(step=state.step + 1)
            after = jax.tree.map(lambda new, old: jnp.where(is_finite, new, old), after, before)
            measurements["skipped"] = (~is_finite).astype(jnp.int32)
        return after, measurements

    return train_step


def move_average(average: Any, params: Any, batch_stats: Any, updates_done: jax.Array, ema: float) -> Any:
    """The running average after an update; it forgets faster at first, so that the random initial values fade."""
    if ema == 0:
        return ()
    done = updates_done.astype(jnp.float32)
    decay = jnp.minimum(ema, (1 + done) / (10 + done))
    return jax.tree.map(
        lambda a, b: decay.astype(a.dtype) * a + (1 - decay).astype(a.dtype) * b,
        average,
        {"params": params, "batch_stats": batch_stats},
    )

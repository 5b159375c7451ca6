"""One training step as a pure function: (state, batch) -> (state, measurements)."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from inspose_jax import config
from inspose_jax.losses import Counts, count, losses, total
from inspose_jax.network import kp_net
from inspose_jax.network.inspose import InsPose
from inspose_jax.skeletons import SKELETONS
from inspose_jax.structures import Batch, Targets
from inspose_jax.targets import make_targets
from inspose_jax.training import optimizer

DATA_AXIS = "data"  # the mesh axis that a batch is divided over


class State(NamedTuple):
    """Everything that a step changes."""

    step: Any  # i32[] batches seen, which is the position in the data: skipped steps count too
    params: Any
    batch_stats: Any  # running statistics of the backbone's norms
    optimizer: Any  # the optimizer's own state
    average: Any  # running average of {params, batch_stats}; () without


def create_state(key: jax.Array, config: config.Config, num_steps: int) -> State:
    """A new state from a random key; jit it with shardings, so that it is born where it lives."""
    # Parameters do not depend on the size of the picture; the smallest that has every level is enough.
    image, size = jnp.zeros((1, 64, 64, 3), jnp.uint8), jnp.full((1, 2), 64, jnp.int32)
    variables = InsPose(config.model).init(key, image, size, train=True)
    return state_of(variables["params"], variables["batch_stats"], config, num_steps)


def state_of(params: Any, batch_stats: Any, config: config.Config, num_steps: int) -> State:
    """The state of step 0 around given parameters and statistics."""
    rule = optimizer.make_optimizer(config.schedule, config.model, num_steps)
    average = {"params": params, "batch_stats": batch_stats} if config.schedule.ema > 0 else ()
    # A copy: a donated state must not hold one buffer twice.
    average = jax.tree.map(jnp.copy, average)
    return State(jnp.zeros((), jnp.int32), params, batch_stats, rule.init(params), average)


def piece_loss(
    params: Any, batch_stats: Any, batch: Batch, targets: Targets, counts: Counts, config: config.Config
) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
    """What some pictures add to Eq. 5 of a global batch with `counts`; new batch statistics, and the terms."""
    model = config.model
    per_person = kp_net.make(model.kp_net, SKELETONS[model.skeleton].num_keypoints)
    outputs, changed = InsPose(model, DATA_AXIS).apply(
        {"params": params, "batch_stats": batch_stats}, batch.image, batch.size, train=True, mutable=["batch_stats"]
    )
    with jax.named_scope("losses"):
        terms = losses(outputs, targets, counts, batch, model, per_person)
    return total(terms, config.schedule), (changed["batch_stats"], terms)


def make_gradient(config: config.Config, mesh: Mesh) -> Callable[..., tuple[Any, Any, dict[str, jax.Array]]]:
    """(params, batch_stats, batch, targets, counts) -> gradient of Eq. 5, new batch statistics, terms of Eq. 5.

    Every device works on its own rows, `schedule.accumulate` parts of them one after another.  Devices talk where batch
    statistics are averaged, and once at the end.
    """

    def on_device(params: Any, batch_stats: Any, batch: Batch, targets: Targets, counts: Counts):
        # A copy of its own on every device: else the gradients are summed over the devices at each use of a parameter,
        # and the heads have one a pyramid level.
        params = jax.lax.pcast(params, DATA_AXIS, to="varying")
        value = jax.value_and_grad(piece_loss, has_aux=True)

        def part(batch_stats: Any, batch: Batch, targets: Targets) -> tuple[Any, Any, dict[str, jax.Array]]:
            (_, (batch_stats, terms)), gradient = value(params, batch_stats, batch, targets, counts, config)
            return optimizer.freeze(gradient, config.model), batch_stats, terms

        def add_part(so_far: tuple[Any, Any], rows: tuple[Batch, Targets]) -> tuple[tuple[Any, Any], Any]:
            gradient, batch_stats, terms = part(so_far[1], *rows)
            return (jax.tree.map(jnp.add, so_far[0], gradient), batch_stats), terms

        # On a CPU no loop, not even one of a single turn: convolutions inside of one are fifteen times slower there.
        num_parts, is_cpu = config.schedule.accumulate, mesh.devices.flat[0].platform == "cpu"
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
    config: config.Config, num_steps: int, mesh: Mesh, on_nan: Literal["stop", "skip"] = "stop"
) -> Callable[[State, Batch], tuple[State, dict[str, jax.Array]]]:
    """The step of a run of `num_steps` on the devices of `mesh`; measurements are scalars that stay on the device.

    With "skip", a step whose loss or gradient is not finite leaves everything as it was but `State.step`, and says so
    in the measurement `skipped`.  With "stop" the caller looks at the measurements.
    """
    rule = optimizer.make_optimizer(config.schedule, config.model, num_steps)
    rate = optimizer.learning_rate(config.schedule, num_steps)
    gradient_of = make_gradient(config, mesh)

    def train_step(state: State, batch: Batch) -> tuple[State, dict[str, jax.Array]]:
        # The scopes are what a trace calls the parts of a step.
        with jax.named_scope("targets"):
            targets = make_targets(batch, config.model)
        gradient, batch_stats, terms = gradient_of(state.params, state.batch_stats, batch, targets, count(targets))
        loss = total(terms, config.schedule)
        with jax.named_scope("optimizer"):
            updates, optimizer_state = rule.update(gradient, state.optimizer, state.params)
            params = optax.apply_updates(state.params, updates)
        updates_done = optimizer.updates_done(state.optimizer)
        grad_norm = optax.tree.norm(gradient)
        measurements = {
            "loss/total": loss,
            **{f"loss/{name}": term for name, term in terms.items()},
            "num_positives": targets.is_slot.sum(),
            "slots_dropped": targets.slots_dropped.sum(),
            "people_dropped": batch.people_dropped.sum(),
            "grad_norm": grad_norm,
            "lr": rate(updates_done),
        }
        with jax.named_scope("average"):
            average = move_average(state.average, params, batch_stats, updates_done, config.schedule.ema)
        after = State(state.step + 1, params, batch_stats, optimizer_state, average)
        if on_nan == "skip":
            is_finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
            before = state._replace(step=state.step + 1)
            after = jax.tree.map(lambda new, old: jnp.where(is_finite, new, old), after, before)
            measurements["skipped"] = (~is_finite).astype(jnp.int32)
        return after, measurements

    return train_step


def move_average(average: Any, params: Any, batch_stats: Any, updates_done: jax.Array, ema: float) -> Any:
    """The running average after an update; it forgets faster at first, so that the random start does not linger."""
    if ema == 0:
        return ()
    done = updates_done.astype(jnp.float32)
    decay = jnp.minimum(ema, (1 + done) / (10 + done))
    return jax.tree.map(
        lambda a, b: decay.astype(a.dtype) * a + (1 - decay).astype(a.dtype) * b,
        average,
        {"params": params, "batch_stats": batch_stats},
    )

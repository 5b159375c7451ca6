"""One training step as a pure function: (state, batch) -> (state, measurements)."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from inspose_jax import config
from inspose_jax.losses import losses, total
from inspose_jax.network import kp_net
from inspose_jax.network.inspose import InsPose
from inspose_jax.skeletons import SKELETONS
from inspose_jax.structures import Batch
from inspose_jax.targets import make_targets
from inspose_jax.training import optimizer


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


def loss_and_measurements(
    params: Any, batch_stats: Any, batch: Batch, config: config.Config
) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
    """Eq. 5 of a global batch; besides it the new batch statistics and what is worth logging."""
    model = config.model
    num_keypoints = SKELETONS[model.skeleton].num_keypoints
    functions = kp_net.plain(model.kp_net, num_keypoints, 2**model.map_level)
    variables = {"params": params, "batch_stats": batch_stats}
    outputs, changed = InsPose(model).apply(variables, batch.image, batch.size, train=True, mutable=["batch_stats"])
    targets = make_targets(batch, model)
    terms = losses(outputs, targets, batch, model, functions)
    loss = total(terms, config.schedule)
    measurements = {
        "loss/total": loss,
        **{f"loss/{name}": term for name, term in terms.items()},
        "num_positives": targets.is_slot.sum(),
        "slots_dropped": targets.slots_dropped.sum(),
        "people_dropped": batch.people_dropped.sum(),
    }
    return loss, (changed["batch_stats"], measurements)


def make_train_step(
    config: config.Config, num_steps: int, on_nan: Literal["stop", "skip"] = "stop"
) -> Callable[[State, Batch], tuple[State, dict[str, jax.Array]]]:
    """The step of a run of `num_steps`; measurements are scalars that stay on the device.

    With "skip", a step whose loss or gradient is not finite leaves everything as it was but `State.step`, and says so
    in the measurement `skipped`.  With "stop" the caller looks at the measurements.
    """
    rule = optimizer.make_optimizer(config.schedule, config.model, num_steps)
    rate = optimizer.learning_rate(config.schedule, num_steps)

    def train_step(state: State, batch: Batch) -> tuple[State, dict[str, jax.Array]]:
        value = jax.value_and_grad(loss_and_measurements, has_aux=True)
        (loss, (batch_stats, measurements)), gradient = value(state.params, state.batch_stats, batch, config)
        gradient = optimizer.freeze(gradient, config.model)
        updates, optimizer_state = rule.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        updates_done = optimizer.updates_done(state.optimizer)
        grad_norm = optax.tree.norm(gradient)
        measurements |= {"grad_norm": grad_norm, "lr": rate(updates_done)}
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

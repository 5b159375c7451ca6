"""How gradients move parameters: SGD with momentum (Sec. 4), or AdamW or Muon for small runs from random weights.

Parameters that a method freezes get no gradient, no weight decay and no update.
"""

from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from inspose_jax import config
from inspose_jax.method import Method

Rate = Any  # Callable[[i32[]], f32[]]: step -> learning rate

# Muon moves the matrices inside the network.  Adam, at this fraction of Muon's rate, moves the rest: stem, output
# layers, norms and biases.  At Muon's full rate theta never settles.
ADAM_FRACTION = 0.3


def learning_rate(schedule: config.Schedule, num_steps: int) -> Rate:
    """Rate at every step of a run of `num_steps`: linear warm-up, then drops by 10 or half a cosine."""
    warmup, start = min(schedule.warmup_steps, num_steps // 10), schedule.warmup_from

    def rate(step: Int[Array, ""]) -> Float[Array, ""]:
        progress = step.astype(jnp.float32)  # strict types forbid an integer step times a Python float
        factor = jnp.minimum(1.0, start + (1 - start) * progress / warmup) if warmup else jnp.ones(())
        if schedule.decay == "cosine":
            left = (progress - warmup) / max(num_steps - warmup, 1)
            factor = factor * 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(left, 0, 1)))
        else:
            for fraction in schedule.drop_at:
                factor = factor * jnp.where(progress >= round(fraction * num_steps), 0.1, 1.0)
        return schedule.learning_rate * factor

    return rate


def freeze(gradient: Any, trains: Any) -> Any:
    """The gradient with zeros for frozen parameters, so that their backward pass is never computed."""
    return jax.tree.map(lambda g, train: g if train else jnp.zeros_like(g), gradient, trains)


def make_optimizer(schedule: config.Schedule, method: Method, num_steps: int) -> optax.GradientTransformationExtraArgs:
    """Clip by global norm, then apply the schedule's rule to everything that trains; expects `freeze`-d gradients."""
    rate = learning_rate(schedule, num_steps)
    rules: dict[Hashable, optax.GradientTransformation] = {"frozen": optax.set_to_zero()}
    if schedule.optimizer == "sgd":
        rules["rest"] = optax.chain(
            optax.add_decayed_weights(schedule.weight_decay),
            optax.trace(schedule.momentum),
            optax.scale_by_learning_rate(rate),
        )
    elif schedule.optimizer == "adamw":
        rules["rest"] = adam(schedule, rate)
    else:
        rules["rest"] = adam(schedule, lambda step: ADAM_FRACTION * rate(step))
        rules["matrix"] = optax.chain(
            optax.contrib.scale_by_muon(ns_steps=4, beta=0.95, weight_dimension_numbers=as_matrices),
            optax.add_decayed_weights(schedule.weight_decay),
            optax.scale_by_learning_rate(rate),
        )

    def label(trains: bool, is_hidden: bool) -> str:
        if not trains:
            return "frozen"
        return "matrix" if schedule.optimizer == "muon" and is_hidden else "rest"

    def labels(params: Any) -> Any:
        return jax.tree.map(label, method.trains(params), method.is_hidden(params))

    return optax.chain(optax.clip_by_global_norm(schedule.clip_norm), optax.partition(rules, labels))


def updates_done(optimizer_state: Any) -> Int[Array, ""]:
    """Number of updates, which the rate depends on; fewer than the batches seen if steps were skipped."""
    return optax.tree.get_all_with_path(optimizer_state, "count")[0][1]  # every rule has a count, and all are equal


def adam(schedule: config.Schedule, rate: Rate) -> optax.GradientTransformation:
    """AdamW with a second moment that forgets a little faster than usual, since small runs are short."""
    return optax.chain(
        optax.scale_by_adam(schedule.momentum, 0.99),
        optax.add_decayed_weights(schedule.weight_decay),
        optax.scale_by_learning_rate(rate),
    )


def as_matrices(params: Any) -> Any:
    """Muon sees a convolution f[h,w,in,out] as the matrix [h w in, out]."""
    return jax.tree.map(lambda _: optax.contrib.MuonDimensionNumbers((0, 1, 2), (3,)), params)

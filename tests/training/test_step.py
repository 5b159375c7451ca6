"""The step: what it leaves unchanged if a loss or a gradient is not finite, and how a batch is divided into parts."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from inspose_jax.training import sharding, step

CONFIG = replace(tiny.CONFIG, schedule=replace(tiny.CONFIG.schedule, ema=0.9))
BATCH = tiny.batch([[tiny.person(6, 6, 18, 18)], [tiny.person(20, 20, 40, 60)]])
BAD_LOSS, BAD_GRADIENT = 666, 667  # numbers of people dropped, which identify a batch


def poisoned_losses(outputs, targets, counts, batch):
    """The real terms, except for two numbers of people dropped: one makes a term overflow, one only its gradient."""
    terms = tiny.METHOD.losses(outputs, targets, counts, batch)
    root_of = jnp.where((batch.people_dropped == BAD_GRADIENT).any(), 0 * terms["cls"], 1)  # at 0 its slope is infinite
    factor = jnp.where((batch.people_dropped == BAD_LOSS).any(), jnp.inf, 1)
    return {**terms, "keypoint": factor * terms["keypoint"], "cls": terms["cls"] + jnp.sqrt(root_of) * 0}


@pytest.fixture(scope="module")
def skipping():
    """A step that skips, and the state after one good batch."""
    method = replace(tiny.METHOD, losses=poisoned_losses)
    mesh = sharding.make_mesh(CONFIG.schedule, jax.devices()[:1])
    train_step = jax.jit(step.make_train_step(method, CONFIG.schedule, 10, mesh, on_nan="skip"))
    state = step.state_of(tiny.variables(), method, CONFIG.schedule, 10)
    state, measurements = train_step(jax.device_put(state, sharding.replicated(mesh)), BATCH)
    assert measurements["skipped"] == 0
    return train_step, state


@pytest.mark.parametrize("mark", [BAD_LOSS, BAD_GRADIENT])
def test_skipping_a_step_that_is_not_finite_leaves_no_trace_of_its_batch(skipping, mark):
    train_step, state = skipping
    after, measurements = train_step(state, BATCH._replace(people_dropped=np.array([0, mark], np.int32)))
    assert measurements["skipped"] == 1
    assert np.isfinite(measurements["loss/total"]) == (mark == BAD_GRADIENT)
    assert not np.isfinite(measurements["grad_norm"])
    assert after.step == state.step + 1 == 2
    jax.tree.map(np.testing.assert_array_equal, after._replace(step=0), state._replace(step=0))

    gone_on, measurements = train_step(after, BATCH)
    straight, expected = train_step(state, BATCH)
    assert measurements == expected  # the rate too
    assert measurements["skipped"] == 0
    jax.tree.map(np.testing.assert_array_equal, gone_on._replace(step=0), straight._replace(step=0))
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), gone_on.params, state.params)
    assert all(jax.tree.leaves(moved))


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "message"),
    [
        (6, 1, "schedule.batch_size 6 cannot be divided over 4 devices; use a multiple of 4"),
        (12, 2, r"12 cannot be divided over 4 devices with 2 parts \(schedule.accumulate\) each; use a multiple of 8"),
    ],
)
def test_a_batch_size_that_cannot_be_divided_into_parts_is_refused(batch_size, accumulate, message):
    schedule = replace(CONFIG.schedule, batch_size=batch_size, accumulate=accumulate)
    with pytest.raises(ValueError, match=message):
        sharding.make_mesh(schedule, jax.devices()[:4])


@pytest.mark.slow
def test_once_every_shape_was_seen_nothing_is_compiled_or_sent_to_the_host():
    compiled = []

    def listen(event: str, *_, **__) -> None:
        if "compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    mesh = sharding.make_mesh(CONFIG.schedule, jax.devices()[:2])
    train_step = sharding.jit_train_step(tiny.METHOD, CONFIG.schedule, 10, mesh)
    state = step.state_of(tiny.variables(), tiny.METHOD, CONFIG.schedule, 10)
    state = jax.device_put(state, sharding.replicated(mesh))
    batches = [tiny.batch([[tiny.person(6, 6, 18, 18)], []], size=size) for size in (64, 32)]
    for batch in batches:
        state, _ = train_step(state, sharding.put_batch(batch, mesh))
    assert any("backend_compile" in event for event in compiled)
    compiled.clear()
    for turn in range(4):
        batch = sharding.put_batch(batches[turn % 2], mesh)
        with jax.transfer_guard("disallow"):
            state, measurements = train_step(state, batch)
    assert compiled == []
    assert jax.device_get(measurements)["lr"] > 0
    with jax.transfer_guard("disallow"), pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        train_step(state, batches[0])  # to show that it would be noticed

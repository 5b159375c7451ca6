"""bfloat16 is the type of convolutions and of the maps between them only."""

from dataclasses import replace
from functools import partial

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from inspose_jax import config, methods
from inspose_jax.network.instance_heads import theta_at
from inspose_jax.training import sharding

HALF = tiny.model(compute_dtype="bfloat16")
BATCH = tiny.batch([[tiny.person(6, 6, 18, 18)], [tiny.person(20, 20, 40, 60)]])


def step_of(model: config.Model):
    """The step of the tiny recipe with a model, on one device; and the shapes of its state."""
    changed = replace(tiny.CONFIG, model=model, schedule=replace(tiny.CONFIG.schedule, optimizer="sgd"))
    mesh = sharding.make_mesh(changed.schedule, jax.devices()[:1])
    step = methods.for_model(changed.model), changed.schedule, 10, mesh
    return sharding.jit_train_step(*step), sharding.abstract_state(*step)


def equations(jaxpr):
    """Every operation of a program, including those in loops and calls."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from equations(inner)


@pytest.fixture(scope="module")
def program():
    train_step, state = step_of(HALF)
    return list(equations(train_step.trace(state, BATCH).jaxpr.jaxpr))


def test_every_convolution_and_its_gradients_take_and_give_bfloat16(program):
    """1x1 convolutions are products; the KP-Nets' own products, outside the network, are not included."""
    layers = [
        one
        for one in program
        if one.primitive.name == "conv_general_dilated"
        or (one.primitive.name == "dot_general" and "InsPose" in str(one.source_info.name_stack))
    ]
    assert len(layers) > 100
    types = {variable.aval.dtype for one in layers for variable in (*one.invars, *one.outvars)}
    assert types == {jnp.dtype(jnp.bfloat16)}


def test_no_map_inside_the_network_is_float32_except_in_norms_and_outputs(program):
    """The compiled program on a CPU would not show it, since the compiler itself uses float32 there."""
    parts, seen, elsewhere = tiny.variables()["params"].keys(), set(), set()
    for one in program:
        scopes = str(one.source_info.name_stack)  # of a gradient: transpose(jvp(InsPose))/backbone/stem/norm
        modules = tuple(scopes.partition("InsPose")[2].strip("()/").split("/"))
        for variable in one.outvars:
            shape = variable.aval.shape
            is_map = len(shape) == 4 and shape[0] == len(BATCH.image) and modules[0] in parts
            if is_map and variable.aval.dtype == jnp.float32:
                seen.add(modules)
                leaves = {"logits", "theta", "features", "offsets"} & set(modules) or modules == ("instance_heads",)
                if not leaves and "norm" not in modules[-1]:
                    elsewhere.add((*modules, one.primitive.name))
    assert ("backbone", "stage4", "block1", "norm2") in seen
    assert elsewhere == set()


@pytest.fixture(scope="module")
def outputs():
    """The outputs of both networks for the same images and parameters, with theta of every location."""
    answers, locations = [], jnp.tile(jnp.arange(8 * 8 + 4 * 4, dtype=jnp.int32), (len(BATCH.image), 1))
    for model in (tiny.MODEL, HALF):
        apply = jax.jit(partial(tiny.network(model).apply, train=True, mutable=["batch_stats"]))
        found = apply(tiny.variables(), BATCH.image, BATCH.size)[0]
        answers.append(found._replace(controller=theta_at(found.controller, locations)))
    return answers


def test_outputs_are_float32_and_close_to_those_of_float32(outputs):
    for name, whole, half in zip(outputs[0]._fields, *outputs, strict=True):
        if whole is None:  # the model has no box head
            continue
        assert half.dtype == jnp.float32
        difference = np.linalg.norm(half - whole) / np.linalg.norm(whole - whole.mean())
        assert 0 < difference < 0.05, (name, difference)


@pytest.mark.slow
def test_a_step_has_float32_parameters_and_statistics_and_terms_close_to_those_of_float32():
    answers = []
    for model in (tiny.MODEL, HALF):
        train_step, abstract = step_of(model)
        variables = tiny.variables()
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), abstract)
        state = zeros._replace(params=variables["params"], batch_stats=variables["batch_stats"])
        answers.append(jax.device_get(train_step(state, BATCH)))
    (_, whole), (state, half) = answers
    assert {leaf.dtype.name for leaf in jax.tree.leaves((state.params, state.batch_stats))} == {"float32"}
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    for name in ("loss/cls", "loss/keypoint", "loss/offset", "loss/heatmap", "loss/total", "grad_norm"):
        assert half[name].dtype == np.float32
        np.testing.assert_allclose(half[name], whole[name], rtol=0.03, err_msg=name)
        assert half[name] != whole[name]

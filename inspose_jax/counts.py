"""How large a model is and how much it computes: parameters and multiply-adds, from shapes alone, without memory."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core

from inspose_jax.method import Method

TEST_SIZE = (800, 1216)  # (height, width) in pixels at which test-time costs are stated


class Counts(NamedTuple):
    """The size of a model and its work for one image."""

    parameters: int  # of the whole model, with branches that only training uses; without statistics of norms
    multiply_adds: int  # of convolutions and matrix products


def count(method: Method, image_size: tuple[int, int] = TEST_SIZE, train: bool = False) -> Counts:
    """Count a method's parameters, and the multiply-adds of its network for one image of (height, width) pixels.

    With `train` the branches that only training uses are counted too.  What a method computes per person in decoding
    or in its losses is not: the paper's theta and KP-Net, 5 million for each at the test size.
    """
    image = jax.ShapeDtypeStruct((1, *image_size, 3), jnp.uint8)
    size = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    variables = jax.eval_shape(method.init, jax.random.key(0))
    traced = jax.make_jaxpr(lambda *inputs: method.apply(*inputs, train=train))(variables, image, size)
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
    return Counts(parameters, multiply_adds(traced.jaxpr))


def multiply_adds(jaxpr: core.Jaxpr) -> int:
    """The multiply-adds of the convolutions and matrix products of a traced function.

    Of a `cond` the larger branch counts, of a `while` one turn.
    """
    total = 0
    for equation in jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        if name == "conv_general_dilated":
            kernel, output = shape_of(equation.invars[1]), shape_of(equation.outvars[0])
            # Each output reads the kernel of its channel; a grouped kernel holds the channels of one group only.
            total += math.prod(output) * math.prod(kernel) // kernel[parameters["dimension_numbers"].rhs_spec[0]]
        elif name == "dot_general":
            (contracted, _), _ = parameters["dimension_numbers"]
            factor = shape_of(equation.invars[0])
            total += math.prod(shape_of(equation.outvars[0])) * math.prod(factor[i] for i in contracted)
        elif name == "cond":
            total += max(multiply_adds(branch.jaxpr) for branch in parameters["branches"])
        else:
            total += parameters.get("length", 1) * sum(map(multiply_adds, inner(parameters)))
    return total


def shape_of(array: Any) -> tuple[int, ...]:
    """The shape of an equation's input or output."""
    return array.aval.shape


def inner(parameters: dict[str, Any]) -> Iterator[core.Jaxpr]:
    """The functions that an equation calls."""
    for value in parameters.values():
        if isinstance(value, core.ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, core.Jaxpr):
            yield value

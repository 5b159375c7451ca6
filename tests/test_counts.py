"""Parameters and multiply-adds are those of hand-made layers, and every recipe's header states its own."""

import re
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from inspose_jax import counts, methods, recipes
from inspose_jax.sweep import hours

RECIPES = sorted(path.stem for path in (Path(__file__).parents[1] / "configs").glob("*.py"))
STATED = re.compile(r"([\d.]+) M parameters; ([\d.]+) G multiply-adds for an image of (\d+) x (\d+)")


def count(function, *shapes):
    return counts.multiply_adds(jax.make_jaxpr(function)(*(jnp.zeros(shape) for shape in shapes)).jaxpr)


def convolved(x, kernel, groups=1):
    names = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=names, feature_group_count=groups)


def test_convolutions_and_products_are_counted():
    image = (1, 6, 10, 4)
    assert count(convolved, image, (3, 3, 4, 5)) == 3 * 5 * 5 * (3 * 3 * 4)  # 3 x 5 cells, 5 channels
    assert count(lambda x, k: convolved(x, k, groups=2), image, (3, 3, 2, 6)) == 3 * 5 * 6 * (3 * 3 * 2)
    assert count(jnp.matmul, (7, 2, 3), (7, 3, 5)) == 7 * 2 * 3 * 5
    assert count(lambda x: x + 1, image) == 0


def test_what_an_equation_calls_is_counted():
    def product(x):
        return x @ x  # 4 x 4: 64 multiply-adds

    assert count(jax.jit(product), (4, 4)) == 64
    assert count(jax.checkpoint(product), (4, 4)) == 64
    assert count(lambda x: jax.lax.scan(lambda x, _: (product(x), None), x, length=5), (4, 4)) == 5 * 64
    branches = [product, lambda x: product(product(x))]
    assert count(lambda x: jax.lax.cond(x[0, 0] > 0, *branches, x), (4, 4)) == 2 * 64
    assert count(lambda x: jax.lax.while_loop(lambda x: x[0, 0] > 0, product, x), (4, 4)) == 64


def test_hours_are_those_of_the_speed_that_was_measured():
    """168 images/s of the paper's R50, by experiments/benchmarks/train_step."""
    config = recipes.read("r50_coco_36e").config
    assert hours.hours(config) == pytest.approx(36 * 57_000 / 168 / 3600, rel=0.02)


@cache  # recipes of 36 and of 100 epochs train the same model
def counted(model, size):
    return counts.count(methods.for_model(model), size)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_states_its_size_and_work(name):
    stated = STATED.search(recipes.find(name).read_text())
    assert stated or name == "keypoints"  # whose size depends on the joints of the data
    if stated:
        parameters, multiply_adds, *size = map(float, stated.groups())
        with jax.numpy_dtype_promotion("standard"):  # as users have it; bfloat16 needs it
            found = counted(recipes.read(name).config.model, tuple(map(int, size)))
        assert found.parameters == pytest.approx(parameters * 1e6, abs=5001)
        assert found.multiply_adds == pytest.approx(multiply_adds * 1e9, abs=5.001e7)


def test_the_heatmap_branch_counts_in_training_alone():
    """At stride 8 its 3x3 convolutions have 48 channels in and out, twice, and then one for each of 17 joints."""
    model = recipes.read("drawn_people_p3").config.model
    whole, test = counts.count(methods.for_model(model), (64, 96), train=True), counted(model, (64, 96))
    assert whole.parameters == test.parameters
    assert whole.multiply_adds - test.multiply_adds == 8 * 12 * 9 * 48 * (48 + 48 + 17)

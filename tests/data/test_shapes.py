"""Shapes found from sizes: as good as any, and as an exhaustive search finds them."""

import json
import time
from itertools import combinations, combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspose_jax.config import Augmentation, Config, Data
from inspose_jax.data import pipeline, shapes
from inspose_jax.data.shapes import Sizes
from inspose_jax.data.transforms import resized_sizes, shrunk_sizes
from inspose_jax.skeletons import COCO

SIDES = (32, 64, 96, 128)


def exhaustive(sizes: list[tuple[int, int]], weights: list[int], number: int) -> int:
    """The fewest pixels that `number` shapes take, of all with sides among `SIDES`."""
    best = 10**12
    every = [(height, width) for height in SIDES for width in SIDES]
    for chosen in combinations(every, number):
        pixels = 0
        for (height, width), weight in zip(sizes, weights, strict=True):
            holding = [a * b for a, b in chosen if height <= a and width <= b]
            pixels += weight * min(holding) if holding else 10**12
        best = min(best, pixels)
    return best


def pixels(sizes: Sizes, found: tuple[tuple[int, int], ...]) -> float:
    """The pixels that some shapes take."""
    return (sizes.sizes.prod(-1) * sizes.weights).sum() / (1 - shapes.padding(sizes, found))


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 128), st.integers(1, 128)), min_size=1, max_size=12),
    number=st.integers(1, 3),
    data=st.data(),
)
def test_no_other_shapes_take_fewer_pixels(sizes, number, data):
    weights = data.draw(st.lists(st.integers(1, 9), min_size=len(sizes), max_size=len(sizes)))
    given_sizes = Sizes(np.array(sizes, np.int32), np.array(weights, float))
    found = shapes.find(given_sizes, number)
    assert len(found) <= number
    assert all(side % 32 == 0 for shape in found for side in shape)
    assert pixels(given_sizes, found) == pytest.approx(exhaustive(sizes, weights, number))


def test_padding_is_the_share_of_all_pixels_that_no_image_fills():
    sizes = Sizes(np.array([[32, 32], [16, 64]], np.int32), np.array([3.0, 1.0]))
    # three times 1024 of 1024 pixels, once 1024 of 2048
    assert shapes.padding(sizes, ((32, 32), (32, 64))) == pytest.approx(1 - 4096 / 5120)
    with pytest.raises(ValueError, match=r"16 x 64 pixels .* fits none"):
        shapes.padding(sizes, ((32, 32),))


def test_a_size_of_no_weight_is_held_at_no_cost():
    sizes = np.array([[32, 32], [128, 64]], np.int32)
    assert shapes.find(Sizes(sizes, np.array([5.0, 0.0])), 2) == ((32, 32), (128, 64))
    assert shapes.find(Sizes(sizes, np.array([5.0, 0.0])), 1) == ((128, 64),)


def test_training_sizes_are_all_that_may_be_drawn_and_what_is_tested_fits_too():
    data = Data(short_side=(32, 48), short_side_step=8, long_side=80, test_short_side=64)
    found = shapes.trained(np.array([[50, 100], [50, 100], [80, 80]], np.int32), data)
    drawn = {(tuple(size), weight) for size, weight in zip(found.sizes.tolist(), found.weights.tolist(), strict=True)}
    wide = {((32, 64), 2.0), ((40, 80), 2.0)}  # at 48 the longer side would be 96, so it is 80 again
    square = {((32, 32), 1.0), ((40, 40), 1.0), ((48, 48), 1.0)}
    assert drawn == wide | square | {((40, 80), 0.0), ((64, 64), 0.0), ((48, 48), 0.0)}
    assert found.weights.sum() == 9


def test_training_sizes_are_smaller_where_a_jitter_shrinks_images():
    jitter = Augmentation(large_scale_jitter=(0.5, 1.5))
    data = Data(short_side=(64, 64), long_side=64, test_short_side=64, augmentation=jitter)
    found = shapes.trained(np.array([[64, 64]], np.int32), data)
    drawn = found.sizes[found.weights > 0]
    assert 0.5 * 64 <= drawn.min() <= 0.55 * 64
    assert drawn.max() == 64
    # Half of the factors are above 1, and those below 1 are .75 on average.
    assert drawn.mean() == pytest.approx(64 * (1 + 0.75) / 2, abs=0.5)


def test_shapes_for_a_jitter_are_as_good_as_for_all_that_it_may_draw():
    """The sample of drawn sizes is thinned out; with every shorter side and more factors there is no better choice."""
    sizes = np.random.default_rng(0).integers(200, 1000, (60, 2)).astype(np.int32)
    jitter = Augmentation(large_scale_jitter=(0.3, 1.5))
    data = Data(short_side=(300, 400), long_side=667, test_short_side=300, augmentation=jitter)
    drawn = [
        shrunk_sizes(resized_sizes(sizes, short_side, 667), factor)
        for short_side in range(300, 401)
        for factor in np.linspace(0.3, 1.5, 51).tolist()
    ]
    every = Sizes(np.concatenate(drawn), np.ones(len(sizes) * len(drawn)))
    found, best = shapes.find(shapes.trained(sizes, data)), shapes.find(every)
    assert shapes.padding(every, found) <= shapes.padding(every, best) + 0.01
    assert abs(shapes.padding(every, found) - shapes.padding(shapes.trained(sizes, data), found)) <= 0.01


def test_twenty_thousand_odd_sizes_with_a_jitter_take_seconds():
    sizes = np.random.default_rng(0).integers(200, 3000, (20_000, 2)).astype(np.int32)
    begin = time.process_time()
    shapes.find(shapes.trained(sizes, Data(augmentation=Augmentation(large_scale_jitter=(0.1, 2.0)))))
    assert time.process_time() - begin <= 5


@pytest.mark.parametrize(("split", "best"), [("val", 0.1542), ("train", 0.1552)])
def test_on_real_images_five_shapes_are_as_good_as_can_be(coco_real, split, best):
    """`best` is the optimum of the same choice as an integer program, which a solver proved."""
    content = json.loads((coco_real / f"annotations/person_keypoints_{split}.json").read_text())
    sizes = np.array([(image["height"], image["width"]) for image in content["images"]], np.int32)
    trained, tested = shapes.trained(sizes, Data()), shapes.tested(sizes, Data())
    assert shapes.padding(tested, shapes.find(tested)) <= 0.06
    assert shapes.padding(trained, shapes.find(trained)) <= best


@pytest.mark.parametrize("split", ["val", "train"])
def test_with_open_shapes_real_images_are_tested_in_five_with_little_padding(coco_real, split):
    content = json.loads((coco_real / f"annotations/person_keypoints_{split}.json").read_text())
    source = pipeline.Images([np.zeros((1, 1, 3), np.uint8)] * len(content["images"]), COCO)
    source.sizes = np.array([(image["height"], image["width"]) for image in content["images"]], np.int32)
    plan = pipeline.make_plan(source, Config(data=Data(shapes=())), train=False, batch_size=1)
    steps = [plan[step] for step in range(len(source))]
    assert len({step.shape for step in steps}) <= 5
    assert all(step.resized.min() >= 800 or step.resized.max() == 1333 for step in steps), "none is made smaller to fit"
    assert 1 - sum(step.resized.prod() for step in steps) / sum(np.prod(step.shape) for step in steps) <= 0.06


def test_two_shapes_hold_images_of_every_aspect():
    sides = np.array([(height, width) for height, width in combinations_with_replacement(range(1, 300, 7), 2)])
    every = np.concatenate([sides, sides[:, ::-1]]).astype(np.int32)
    data = Data(shapes=shapes.FOR_ANY_IMAGE)
    assert 0 < shapes.padding(shapes.trained(every, data), data.shapes) < 1
    assert 0 < shapes.padding(shapes.tested(every, data), data.shapes) < 1


def test_very_large_images_have_sides_of_coarser_multiples():
    rng = np.random.default_rng(0)
    sizes = Sizes(rng.integers(1, 9000, (500, 2)).astype(np.int32), np.ones(500))
    (shape,) = shapes.find(sizes, 1)
    assert shape == (9184, 9184)  # in units of 7 x 32, so that at most 42 are tried

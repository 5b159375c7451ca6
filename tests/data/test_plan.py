"""The order of images: none lost, none twice, and independent of the order of access."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from inspose_jax.config import Augmentation, Data
from inspose_jax.data.plan import Plan, make_epoch, number_of_shapes

DATA = replace(Data(), short_side=(32, 48), long_side=64, test_short_side=40, shapes=((64, 64), (48, 64), (64, 48)))


def sizes(number: int) -> np.ndarray:
    return np.random.default_rng(0).integers(40, 90, (number, 2)).astype(np.int32)


@pytest.mark.parametrize(("number", "batch"), [(1, 4), (7, 3), (40, 8)])
@pytest.mark.parametrize("train", [True, False])
def test_every_eligible_image_comes_exactly_once_per_epoch(number, batch, train):
    eligible = np.arange(number) % 5 != 3
    for epoch in range(2):
        steps = make_epoch(epoch, sizes(number), eligible, DATA, batch, 0, train)
        seen = np.concatenate([step.index for step in steps])
        assert sorted(seen[seen >= 0].tolist()) == np.flatnonzero(eligible).tolist()
        of_shape = {shape: sum((s.index >= 0).sum() for s in steps if s.shape == shape) for shape in DATA.shapes}
        for step in steps:
            assert len(step.index) == (batch if train or of_shape[step.shape] > batch / 2 else 1)
        for step in steps:
            assert (step.resized <= step.shape).all()
            assert (step.resized[step.index < 0] == 0).all()


def test_a_shape_that_is_missing_is_named_before_the_first_step():
    # At 32 pixels the 40 x 60 image is 32 x 48, at 48 it is 43 x 64: only some epochs would draw what does not fit.
    data = replace(DATA, shapes=((32, 64), (64, 64)))
    Plan(np.array([[40, 60]], np.int32), np.ones(1, bool), data, 1, 0, True)
    one, upright = replace(data, shapes=((32, 64),)), np.array([[40, 60], [90, 50], [20, 90]], np.int32)
    with pytest.raises(ValueError, match=r"43 x 64 pixels .* fits none of data.shapes \(\(32, 64\),\); add 64 x 64 to"):
        Plan(upright[:1], np.ones(1, bool), one, 1, 0, True)
    with pytest.raises(ValueError, match=r"add 64 x 64 and 64 x 64 to them, or lower data.short_side or"):
        Plan(upright, np.ones(3, bool), one, 1, 0, True)
    Plan(upright, np.array([False, False, True]), one, 1, 0, True)
    Plan(upright, np.ones(3, bool), one, 1, 0, False)  # at test time an image is made to fit


def test_epochs_and_seeds_differ_and_repeat():
    def order(epoch, seed):
        steps = make_epoch(epoch, sizes(30), np.ones(30, bool), DATA, 4, seed, True)
        return [(*step.index, *step.flip, *step.resized.ravel()) for step in steps]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(1, 0)
    assert order(0, 0) != order(0, 1)


def test_evaluation_keeps_the_order_and_mirrors_nothing():
    steps = make_epoch(0, np.full((6, 2), 50, np.int32), np.ones(6, bool), DATA, 4, 0, False)
    assert [step.index.tolist() for step in steps] == [[0, 1, 2, 3], [4, 5, -1, -1]]
    assert not any(step.flip.any() for step in steps)
    assert (steps[0].resized == 40).all()


def test_few_images_of_a_shape_do_not_cost_a_whole_batch():
    for number, expected in ((2, [[0], [1]]), (3, [[0, 1, 2, -1]])):
        steps = make_epoch(0, np.full((number, 2), 50, np.int32), np.ones(number, bool), DATA, 4, 0, False)
        assert [step.index.tolist() for step in steps] == expected
    steps = make_epoch(0, np.full((3, 2), 50, np.int32), np.ones(3, bool), DATA, 8, 0, False, fewest=2)
    assert [step.index.tolist() for step in steps] == [[0, 1], [2, -1]], "two devices have an image each"


def test_shapes_are_counted_as_they_are_padded():
    own = replace(DATA, test_padding="own", test_short_side=32, long_side=96)
    sizes = [(100, 100), (90, 90), (100, 150), (100, 190), (150, 100), (100, 250)]  # 32 x 32, 64 or 96, and 64 x 32
    assert number_of_shapes(sizes, own) == 4
    assert number_of_shapes(sizes, replace(own, test_padding="shapes", shapes=((64, 96), (96, 64)))) == 1
    assert number_of_shapes([], own) == 0


def test_a_step_does_not_depend_on_the_order_of_access():
    def plan():
        return Plan(sizes(21), np.ones(21, bool), DATA, 4, 0, True)

    forward = plan()
    steps = [forward[i].index.tolist() for i in range(30)]
    backward = plan()
    assert [backward[i].index.tolist() for i in reversed(range(30))] == steps[::-1]
    shared = plan()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda i: shared[i].index.tolist(), range(30))) == steps


def test_an_empty_dataset_is_refused():
    with pytest.raises(ValueError, match="no image to use"):
        Plan(sizes(3), np.zeros(3, bool), DATA, 4, 0, True)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_training_shuffles_scales_and_mirrors(seed):
    data = replace(DATA, short_side=(32, 34))
    steps = make_epoch(0, np.full((400, 2), 50, np.int32), np.ones(400, bool), data, 4, seed, True)
    assert not any((np.diff(step.index) == 1).all() for step in steps)  # shuffled within steps
    assert np.corrcoef([step.index[0] for step in steps], np.arange(100))[0, 1] < 0.5  # and over them
    flips = np.stack([step.flip for step in steps])
    assert 0.4 < flips.mean() < 0.6  # four standard deviations of a half among 400
    assert len(np.unique(flips, axis=0)) > 8  # of the 16 ways to mirror four images
    assert set(np.concatenate([step.resized for step in steps]).ravel().tolist()) == {32, 33, 34}
    never = make_epoch(0, np.full((9, 2), 50, np.int32), np.ones(9, bool), replace(data, flip=0.0), 4, seed, True)
    assert not any(step.flip.any() for step in never)


def test_shorter_sides_are_drawn_at_the_given_distance():
    data = replace(DATA, short_side=(32, 48), short_side_step=8)
    steps = make_epoch(0, np.full((60, 2), 50, np.int32), np.ones(60, bool), data, 4, 0, True)
    assert set(np.concatenate([step.resized for step in steps]).ravel().tolist()) == {32, 40, 48}
    uneven = replace(data, short_side_step=10, shapes=((44, 44),))  # 32 and 42: the largest that is drawn fits
    plan = Plan(np.full((60, 2), 50, np.int32), np.ones(60, bool), uneven, 4, 0, True)
    assert set(np.concatenate([step.resized for step in plan.steps_of(0)]).ravel().tolist()) == {32, 42}


def test_a_large_scale_jitter_shrinks_the_frame_or_enlarges_the_image_within_it():
    data = replace(DATA, short_side=(40, 40), augmentation=Augmentation(large_scale_jitter=(0.5, 2.0)))
    steps = make_epoch(0, np.full((400, 2), 80, np.int32), np.ones(400, bool), data, 4, 0, True)
    sides, zoom = (np.concatenate([getattr(step, name) for step in steps]) for name in ("resized", "zoom"))
    assert (sides.min(), sides.max()) == (20, 40)
    assert 1.95 < zoom.max() <= 2
    assert zoom.min() == 1
    assert ((sides[:, 0] == 40) | (zoom == 1)).all()  # what is cropped keeps its frame
    assert (zoom > 1).mean() == pytest.approx(2 / 3, abs=0.07)  # of .5 to 2, two thirds are above 1
    plain = make_epoch(0, np.full((400, 2), 80, np.int32), np.ones(400, bool), DATA, 4, 0, True)
    assert all((step.zoom == 1).all() for step in plain)
    tested = make_epoch(0, np.full((9, 2), 80, np.int32), np.ones(9, bool), data, 4, 0, False)
    assert all((step.zoom == 1).all() and step.seed is None for step in tested)


def test_shapes_need_to_hold_only_what_a_jitter_leaves():
    size = np.array([[80, 80]], np.int32)
    data = replace(DATA, short_side=(64, 64), shapes=((32, 32),), test_short_side=32)
    with pytest.raises(ValueError, match=r"64 x 64 pixels .* fits none"):
        Plan(size, np.ones(1, bool), data, 1, 0, True)
    Plan(size, np.ones(1, bool), replace(data, augmentation=Augmentation(large_scale_jitter=(0.3, 0.5))), 1, 0, True)


def test_training_mixes_the_shapes():
    steps = make_epoch(0, sizes(80), np.ones(80, bool), DATA, 4, 0, True)
    places = [DATA.shapes.index(step.shape) for step in steps]
    assert len(set(places)) > 1
    assert places != sorted(places)

"""The plan executed: the same batches with any number of threads, from any start, on any number of hosts."""

from dataclasses import replace

import numpy as np
import pytest
import tiny

from inspose_jax.data import pipeline
from inspose_jax.data.drawn_people import DrawnPeople

SOURCE = pipeline.InMemory(DrawnPeople(tiny.CONFIG.data.scene, "train", 0, 7))


def run(start=0, stop=9, threads=2, rows=slice(None)):
    config = replace(tiny.CONFIG, data=replace(tiny.CONFIG.data, num_threads=threads))
    plan = pipeline.make_plan(SOURCE, config, train=True, batch_size=4)
    return list(pipeline.batches(SOURCE, plan, config, start, stop, rows))


@pytest.fixture(scope="module")
def straight():
    return run()


def equal(first, second):
    return all((a == b).all() for a, b in zip(first, second, strict=True))


def test_threads_do_not_change_the_batches(straight):
    assert all(equal(a, b) for a, b in zip(straight, run(threads=5), strict=True))


def test_starting_later_gives_what_would_have_come(straight):
    assert all(equal(a, b) for a, b in zip(straight[5:], run(start=5), strict=True))


def test_the_rows_of_two_hosts_are_the_global_batch(straight):
    for whole, first, second in zip(straight, run(rows=slice(0, 2)), run(rows=slice(2, 4)), strict=True):
        assert all((np.concatenate([a, b]) == c).all() for a, b, c in zip(first, second, whole, strict=True))


def test_flipped_pictures_are_mirrored(straight):
    plan = pipeline.make_plan(SOURCE, tiny.CONFIG, train=True, batch_size=4)
    for batch, step in zip(straight, (plan[i] for i in range(9)), strict=True):
        for image, index, mirrored in zip(batch.image, step.index, step.flip, strict=True):
            if index >= 0:
                original = SOURCE[int(index)].image
                np.testing.assert_array_equal(image, original[:, ::-1] if mirrored else original)


def test_training_leaves_out_pictures_without_labels_if_the_config_says_so():
    source = pipeline.InMemory(SOURCE)
    source.is_labelled = np.arange(7) < 2
    assert pipeline.make_plan(source, tiny.CONFIG, train=True, batch_size=1).steps_per_epoch == 2
    assert pipeline.make_plan(source, tiny.CONFIG, train=False, batch_size=1).steps_per_epoch == 7
    every = replace(tiny.CONFIG, data=replace(tiny.CONFIG.data, only_labelled=False))
    assert pipeline.make_plan(source, every, train=True, batch_size=1).steps_per_epoch == 7


def test_scale_is_the_resized_size_over_the_original_one():
    config = replace(tiny.CONFIG, data=replace(tiny.CONFIG.data, short_side=(32, 48)))
    plan = pipeline.make_plan(SOURCE, config, train=True, batch_size=7)
    (batch,) = pipeline.batches(SOURCE, plan, config, 0, 1)
    assert batch.size.max() <= 48
    np.testing.assert_allclose(batch.scale, batch.size[:, ::-1] / 64)

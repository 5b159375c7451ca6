"""At which steps a run saves, evaluates and traces."""

import pytest

from inspose_jax.errors import UserError
from inspose_jax.training.timetable import Timetable, traced_steps

DUE = Timetable(
    start=0,
    stop=120,
    num_steps=200,
    save_every=40,
    eval_every=60,
    has_evaluation=True,
    has_trial=True,
    traced=range(0),
)


def steps_at(question, steps=range(201)):
    return [step for step in steps if question(step)]


def test_a_run_saves_at_intervals_early_and_at_its_end():
    assert list(DUE.steps) == list(range(1, 121))
    assert steps_at(DUE.saves, DUE.steps) == [40, 50, 80, 120]
    assert steps_at(DUE._replace(stop=97).saves, range(1, 98)) == [40, 50, 80, 97]
    assert steps_at(DUE._replace(start=10, stop=30).fetches, range(11, 31)) == [21, 30]
    assert steps_at(DUE._replace(stop=97).fetches, range(1, 98)) == [*range(11, 92, 10), 97]


def test_a_run_evaluates_at_intervals_and_at_its_end_but_not_where_it_is_stopped():
    assert steps_at(DUE.evaluates) == [60, 120, 180, 200]
    assert steps_at(DUE._replace(stop=97).evaluates, range(98)) == [60]
    assert steps_at(DUE._replace(eval_every=0).evaluates) == [200]
    assert steps_at(DUE._replace(has_evaluation=False).evaluates) == []


def test_an_evaluation_is_tried_out_at_the_first_save_or_at_the_first_step_unless_one_was_made():
    assert steps_at(DUE.tries_out) == [50]
    assert steps_at(DUE._replace(start=70).tries_out) == [71]
    assert steps_at(DUE._replace(eval_every=30).tries_out) == []
    assert steps_at(DUE._replace(has_trial=False).tries_out) == []


def test_only_steps_of_the_run_are_traced():
    assert traced_steps(range(5, 9), start=0, stop=120) == range(5, 9)
    assert traced_steps(range(5, 9), start=6, stop=7) == range(7, 8)
    assert not traced_steps(range(0), start=0, stop=120)
    with pytest.raises(UserError, match="none of the steps 5 to 8 can be traced: this run covers the steps 11 to 20"):
        traced_steps(range(5, 9), start=10, stop=20)
    with pytest.raises(UserError, match="this run is complete, at step 20"):
        traced_steps(range(5, 9), start=20, stop=20)

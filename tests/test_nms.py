"""Non-maximum suppression: the greedy result, no effect of padding, and idempotence."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from inspose_jax import nms

BOXES = jnp.array([[0.0, 0, 10, 10], [0.0, 0, 10, 8], [0.0, 0, 10, 6.5], [50.0, 50, 60, 60]])


def test_better_boxes_suppress_overlapping_ones():
    # IoU: 0-1 .8, 0-2 .65, 1-2 .8125
    assert nms.keep(BOXES, jnp.ones(4, bool), 0.6).tolist() == [True, False, False, True]


def test_a_suppressed_box_suppresses_nobody():
    assert nms.keep(BOXES, jnp.ones(4, bool), 0.7).tolist() == [True, False, True, True]


def test_a_box_that_is_no_candidate_neither_survives_nor_suppresses():
    assert nms.keep(BOXES, jnp.array([False, True, True, False]), 0.6).tolist() == [False, True, False, False]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_survivors_survive_again(seed):
    corner = np.random.default_rng(seed).uniform(0, 20, (12, 2))
    boxes = jnp.asarray(np.concatenate([corner, corner + 10], 1), jnp.float32)
    kept = nms.keep(boxes, jnp.ones(12, bool), 0.3)
    np.testing.assert_array_equal(nms.keep(boxes, kept, 0.3), kept)

"""Locations, cells and boxes, against numbers computed by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from inspose_jax import geometry


def test_locations_are_in_the_middle_of_their_stride():
    places = geometry.make_grid((64, 96), (3, 4), map_level=3, relative_scale=64.0)
    assert len(places.points) == 8 * 12 + 4 * 6
    np.testing.assert_array_equal(places.points[[0, 1, 12]], [[4, 4], [12, 4], [4, 12]])  # x s + floor(s / 2)
    np.testing.assert_array_equal(places.points[[96, 97]], [[8, 8], [24, 8]])
    np.testing.assert_array_equal(places.strides[[0, 96]], [8, 16])
    np.testing.assert_array_equal(places.scales[[0, 96]], [64, 128])  # doubles with every level
    assert places.level_sizes == ((8, 12), (4, 6))
    assert (places.map_size, places.map_stride) == ((8, 12), 8)


@pytest.mark.parametrize(
    ("size", "map_level", "ratio", "cells", "stride"),
    [
        ((64, 96), 3, 0.5, (4, 6), 16),
        ((64, 96), 3, 2.0, (16, 24), 4),
        ((64, 96), 3, 4.0, (32, 48), 2),
        ((64, 96), 2, 4.0, (64, 96), 1),
        ((40, 24), 3, 0.5, (3, 2), 16),
    ],
)
def test_the_ratio_of_the_maps_changes_their_stride_and_no_location(size, map_level, ratio, cells, stride):
    usual = geometry.make_grid(size, (3, 4), map_level, 64.0)
    grid = geometry.make_grid(size, (3, 4), map_level, 64.0, ratio)
    assert (grid.map_size, grid.map_stride) == (cells, stride)
    np.testing.assert_array_equal(grid.points, usual.points)
    np.testing.assert_array_equal(grid.scales, usual.scales)


def test_coarse_levels_round_up():
    assert geometry.level_size((800, 1344), 6) == (13, 21)
    assert geometry.level_size((800, 1344), 7) == (7, 11)


def test_cell_centres_are_in_the_middle_of_their_cells():
    np.testing.assert_array_equal(geometry.cell_centres((2, 3), 8)[1, 2], [20, 12])


def test_pseudo_boxes_enclose_only_the_counted_joints():
    points = jnp.array([[[3.0, 9.0], [7.0, 4.0], [90.0, 90.0]], [[1.0, 1.0]] * 3])
    counts = jnp.array([[True, True, False], [False] * 3])
    np.testing.assert_array_equal(geometry.pseudo_boxes(points, counts), [[3, 4, 7, 9], [0, 0, 0, 0]])


def test_iou_by_hand_and_zero_where_the_union_is_empty():
    boxes = jnp.array([[0.0, 0, 4, 4], [2.0, 2, 6, 6], [5.0, 5, 5, 5]])
    # 2x2 shared of 16 + 16 - 4
    np.testing.assert_allclose(geometry.box_iou(boxes, boxes), [[1, 1 / 7, 0], [1 / 7, 1, 0], [0, 0, 0]], rtol=1e-6)


def test_generalised_iou_by_hand():
    first, second = (
        jnp.array([0.0, 0, 4, 4]),
        jnp.array([[2.0, 2, 6, 6], [0.0, 0, 4, 4], [6.0, 0, 8, 4], [1.0, 1, 1, 1]]),
    )
    # 4 of 28 shared, a hull of 36; equal; apart, 24 of a hull of 32 covered; a point inside
    expected = [4 / 28 - 8 / 36, 1, -8 / 32, 0]
    np.testing.assert_allclose(geometry.generalised_iou(jnp.broadcast_to(first, (4, 4)), second), expected, atol=1e-6)


def test_padding_is_not_inside():
    points = jnp.array([[0.0, 0.0], [9.9, 4.9], [10.0, 1.0], [1.0, 5.0], [-0.1, 1.0]])
    assert geometry.inside(points, jnp.array([5, 10], jnp.int32)).tolist() == [True, True, False, False, False]


def test_a_cell_is_real_if_any_part_of_it_is():
    cells = geometry.real_cells((2, 4), 8, jnp.array([8, 17], jnp.int32))
    assert cells.tolist() == [[True, True, True, False], [False] * 4]


def test_oks_is_coco_s():
    """Random poses, some joints unlabelled, against the loop of COCO's definition; in pairs and one by one."""
    rng = np.random.default_rng(0)
    true, area = rng.uniform(0, 60, (5, 3, 2)), rng.uniform(50, 5000, 5)
    predicted = true[:4] + rng.normal(0, 4, (4, 3, 2))
    counts, sigmas = rng.random((5, 3)) < 0.7, (0.026, 0.079, 0.3)
    counts[4] = False  # of whom nothing can be right

    def similarity(pose, person):
        values = []
        for joint in np.flatnonzero(counts[person]):
            (dx, dy), k = predicted[pose, joint] - true[person, joint], 2 * sigmas[joint]
            values.append(np.exp(-(dx**2 + dy**2) / (2 * area[person] * k**2)))
        return np.mean(values) if values else 0.0

    expected = [[similarity(pose, person) for person in range(5)] for pose in range(4)]
    assert 0.1 < np.median(np.diag(expected)) < 0.9
    squares, areas = (jnp.asarray(x, jnp.float32) for x in (((predicted[:, None] - true) ** 2).sum(-1), area[None]))
    found = geometry.oks(squares, jnp.asarray(counts[None]), areas, sigmas)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_oks_without_any_area_is_a_number():
    found = geometry.oks(jnp.array([[0.0], [1.0]]), jnp.ones((2, 1), bool), jnp.zeros(2), (0.1,))
    np.testing.assert_array_equal(found, [1, 0])

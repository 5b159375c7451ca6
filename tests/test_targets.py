"""Assignment of locations, cells, disks and heatmaps, against small cases computed by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from inspose_jax import targets


def targets_for(people, model=tiny.MODEL, **changes):
    """Targets of one 64-pixel image."""
    batch = tiny.batch([people], model)._replace(**changes)
    return jax.tree.map(lambda x: x[0], targets.make_targets(batch, tiny.grid(model), model.assignment))


def positive_points(found):
    return {tuple(p) for p in tiny.grid().points[np.flatnonzero(found.is_positive)].tolist()}


def test_the_centre_region_is_a_square_of_one_and_a_half_strides():
    found = targets_for([tiny.person(10, 14, 30, 50)])  # centre (20, 32), on level 0: its sides are less than 64 away
    # |x - 20| < 12 and |y - 32| < 12 among x, y = 4, 12, 20, 28, ..
    assert positive_points(found) == {(x, y) for x in (12, 20, 28) for y in (28, 36)}
    assert int(found.is_slot.sum()) == int(found.is_positive.sum()) == 6


def test_the_centre_region_has_the_radius_of_the_config():
    for radius, columns, rows in ((1.0, (20,), (28, 36)), (2.0, (12, 20, 28), (20, 28, 36, 44))):
        found = targets_for([tiny.person(10, 14, 30, 50)], tiny.model(centre_radius=radius))
        # |x - 20| < 8 and |y - 32| < 8, then 16
        assert positive_points(found) == {(x, y) for x in columns for y in rows}


def test_annotated_boxes_assign_locations_where_the_config_says_so():
    person, annotated = tiny.person(10, 14, 30, 50), np.zeros((1, 4, 4), np.float32)
    annotated[0, 0] = 30, 14, 50, 50  # to the right of the joints, centre (40, 32)
    found = targets_for([person], tiny.model(assigned_boxes="annotated"), annotated_boxes=annotated)
    # |x - 40| < 12 and |y - 32| < 12
    assert positive_points(found) == {(x, y) for x in (36, 44) for y in (28, 36)}
    np.testing.assert_array_equal(found.boxes[0], annotated[0, 0])
    usual = targets_for([person], annotated_boxes=annotated)
    assert positive_points(usual) == {(x, y) for x in (12, 20, 28) for y in (28, 36)}
    np.testing.assert_array_equal(usual.boxes[0], annotated[0, 0])


def test_the_level_follows_the_farthest_side():
    model = tiny.model(level_limits=(20.0,))
    found = targets_for([tiny.person(10, 14, 30, 50)], model)  # centre 18 from top and bottom
    # Level 0 within 20 of every side: y between 30 and 34 has none of 28, 36; level 1: beyond 20, |y - 32| < 24.
    assert positive_points(found) == {(8.0, y) for y in (24.0, 40.0)} | {(24.0, y) for y in (24.0, 40.0)} | {
        (40.0, y) for y in (24.0, 40.0)
    }


def test_the_smaller_of_two_boxes_wins_and_of_equal_ones_the_first():
    large, small = tiny.person(4, 4, 60, 60), tiny.person(24, 24, 40, 40)
    found = targets_for([large, small])
    assert set(np.asarray(found.slot_person)[np.asarray(found.is_slot)]) == {1}
    found = targets_for([small, small + np.float32([0, 0, 0])])
    assert set(np.asarray(found.slot_person)[np.asarray(found.is_slot)]) == {0}


def test_a_person_with_one_joint_still_has_locations():
    one = np.zeros((17, 3), np.float32)
    one[0] = 33, 33, 2
    found = targets_for([one])
    assert int(found.is_slot.sum()) == 9  # |x - 33| < 12: 28, 36, 44 in both directions
    assert found.is_slot[:9].all()  # the first ones: no other is computed (per_person.py)
    assert found.is_joint.sum() == 1


def test_people_take_turns_for_slots_so_that_nobody_is_left_out():
    model = tiny.model(num_slots=4)
    found = targets_for([tiny.person(6, 6, 18, 18), tiny.person(38, 38, 50, 50)], model)
    assert np.asarray(found.slot_person).tolist() == [0, 1, 0, 1]
    points = tiny.grid().points[np.asarray(found.slot_location)]
    np.testing.assert_array_equal(points[:2], [[12, 12], [44, 44]])  # each centre itself comes first
    dropped = int(found.slots_dropped)
    assert dropped == 2 * 9 - 4
    assert int(found.is_positive.sum()) == 4
    assert int(found.is_ignored.sum()) == dropped  # neither people nor background


def test_locations_in_ignore_regions_are_not_negatives_but_stay_positives():
    region = np.array([[[0, 0, 32, 32], [0, 0, 0, 0]]], np.float32)
    found = targets_for([tiny.person(6, 6, 18, 18)], ignore_boxes=region)
    fine, coarse = 4 * 4, 2 * 2  # locations strictly inside
    assert int(found.is_ignored.sum()) == fine + coarse - 9
    assert not (found.is_ignored & found.is_positive).any()


def test_locations_and_cells_in_the_padding_are_ignored():
    size = np.array([[64, 30]], np.int32)
    found = targets_for([tiny.person(6, 6, 50, 18)], size=size)
    x = tiny.grid().points[:, 0]
    assert (np.asarray(found.is_ignored) == (x >= 30)).all()
    # column 3 spans 24..32, a piece of it is real; joints beyond are dropped
    assert np.asarray(found.is_cell).sum() == 8 * 4
    joints = tiny.person(6, 6, 50, 18)[:, 0]
    assert (np.asarray(found.is_joint[0]) == (joints < 32)).all()
    assert not np.asarray(found.in_disk)[:, 4:].any()


def test_a_joint_belongs_to_the_cell_that_contains_it():
    points = jnp.array([[[7.9, 0.0], [8.0, 15.9], [-0.1, 3.0], [40.0, 3.0]]])
    cells, is_joint = targets.keypoint_cells(points, jnp.ones((1, 4), bool), jnp.ones((3, 5), bool), 8)
    assert cells[0, :2].tolist() == [0, 1 * 5 + 1]  # floor, row-major
    assert is_joint.tolist() == [[True, True, False, False]]


def test_disks_point_from_the_cell_to_the_nearest_joint():
    points = jnp.array([[[2.6, 1.5]], [[4.5, 1.5]]])  # cells, two people, one joint
    cells = jnp.array([[1 * 6 + 2], [1 * 6 + 4]], jnp.int32)
    offsets, in_disk, _ = targets.dense_targets(
        points, cells, jnp.ones((2, 1), bool), jnp.zeros(2), jnp.ones((3, 6), bool), 1.2
    )
    # centres (c + .5) within 1.2: row 1 has columns 2 (.1) and 1, 3 (.9 to the first) for person 0, 3, 4, 5 for 1
    assert in_disk[1, :, 0].tolist() == [False, True, True, True, True, True]
    np.testing.assert_allclose(offsets[1, :, 0], [0, 1.6, 0.6, -0.4, 0.5, -0.5], atol=1e-6)  # joint - column
    np.testing.assert_allclose(offsets[1, 2, 1], 0.5)  # joint - row
    np.testing.assert_allclose(offsets[0, 2], [0.6, 1.5], atol=1e-6)


@pytest.mark.parametrize(("radius", "number"), [(1.0, 5), (1.5, 9), (2.0, 13)])
def test_disks_have_the_radius_of_the_config(radius, number):
    one = np.zeros((17, 3), np.float32)
    one[3] = 28, 36, 2  # in the middle of a cell
    in_disk = np.asarray(targets_for([one], tiny.model(disk_radius=radius)).in_disk)
    assert (in_disk[..., 3].sum(), in_disk.sum()) == (number, number)


def test_gaussians_have_their_peak_in_the_cell_and_the_window_and_sigma_of_the_radius():
    points = jnp.array([[[2.6, 1.5]]])
    _, _, heat = targets.dense_targets(
        points, jnp.array([[1 * 6 + 2]], jnp.int32), jnp.ones((1, 1), bool), jnp.ones(1), jnp.ones((3, 6), bool), 2.0
    )
    # r = 1, sigma = .5: exp(-1 / (2 * .25)) = .13534
    np.testing.assert_allclose(heat[1, :, 0], [0, 0.13534, 1, 0.13534, 0, 0], atol=1e-5)
    assert float(heat[1, 2, 0]) == 1.0


@pytest.mark.parametrize("side", [10.0, 3.0, 40.0, 0.0])
def test_gaussian_radius_by_hand(side):
    # the third root is the smallest: (-b + sqrt(b² + 16 o (1 - o) side²)) / 2 with o = .7, b = 2 o 2 side = 2.8 side:
    # side (-2.8 + sqrt(7.84 + 3.36)) / 2 = .2733 side for a square: 2.73, .82, 10.9
    assert float(targets.gaussian_radius(jnp.array([[0, 0, side, side]]), 0.7)[0]) == np.floor(0.27332 * side)


def test_permuting_people_permutes_owners():
    people = [tiny.person(6, 6, 18, 18), tiny.person(38, 8, 50, 30), tiny.person(10, 36, 40, 60)]
    model = tiny.model(num_slots=64)
    first, second = targets_for(people, model), targets_for(people[::-1], model)
    assert (first.is_positive == second.is_positive).all()
    np.testing.assert_array_equal(first.heatmaps, second.heatmaps)


def test_a_blank_image_is_ignored_everywhere():
    found = jax.tree.map(
        lambda x: x[0], targets.make_targets(tiny.blank(tiny.batch([[]]), 0), tiny.grid(), tiny.MODEL.assignment)
    )
    assert found.is_ignored.all()
    assert not found.is_slot.any()
    assert not found.in_disk.any()

"""Laws of the released model's targets and losses, on outputs made up without a network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from inspose_jax import geometry, methods
from inspose_jax.released import targets
from inspose_jax.released.network import LEVELS, MAP_LEVEL, Outputs, star_points
from inspose_jax.structures import Batch

METHOD = methods.for_model(tiny.TRAINED_RELEASED)
GRID = geometry.make_grid((64, 64), LEVELS, MAP_LEVEL, 64.0)
SIDE = 16  # cells of stride 4


def made_up(number: int) -> Outputs:
    """Random outputs for some images of 64 x 64 pixels."""
    rng = np.random.default_rng(1)

    def random(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(0, 1, (number, *shape)), jnp.float32)

    locations, parameters = len(GRID.points), 313
    return Outputs(
        random(locations),
        random(locations, 17, 2),
        tiny.controller(random(locations, parameters), GRID),
        jnp.abs(random(8, 8, 8)),
        random(SIDE, SIDE, 17),
        random(SIDE, SIDE, 17),
        random(SIDE, SIDE, 34),
    )


def first(outputs: Outputs, number: int) -> Outputs:
    """The outputs of the first images."""
    maps = outputs._replace(controller=outputs.controller.features)
    maps = jax.tree.map(lambda x: x[:number], maps)
    return maps._replace(controller=outputs.controller._replace(features=maps.controller))


@jax.jit
def terms(outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
    made = METHOD.targets(batch)
    return METHOD.losses(outputs, made, METHOD.count(made), batch)


def test_a_blank_image_that_fills_a_batch_adds_nothing():
    people = [[tiny.person(6, 6, 30, 40), tiny.person(4, 20, 60, 60)], []]
    batch = tiny.batch([*people, [tiny.person(10, 10, 40, 40)]], tiny.TRAINED_RELEASED)
    blank = tiny.blank(batch, 2)
    outputs = made_up(3)
    without = terms(first(outputs, 2), tiny.batch(people, tiny.TRAINED_RELEASED))
    filled = terms(outputs, blank)
    assert filled.keys() == without.keys()
    for name, expected in without.items():
        assert float(filled[name]) == pytest.approx(float(expected), rel=1e-5)
        assert float(expected) > 0
    assert float(terms(outputs, batch)["cls"]) != pytest.approx(float(without["cls"]), rel=1e-3)


def test_the_gradient_of_people_and_of_nobody_is_finite():
    outputs = made_up(2)
    for people in ([[], []], [[tiny.person(6, 6, 30, 40)], []]):
        batch = tiny.blank(tiny.batch(people, tiny.TRAINED_RELEASED), 1)
        gradient = jax.grad(lambda outputs, batch=batch: sum(terms(outputs, batch).values()))(outputs)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
        assert np.abs(gradient.logits[0]).max() > 0
        assert np.abs(gradient.logits[1]).max() == 0


def test_a_star_reads_at_its_joints_and_hands_on_a_tenth_of_the_gradient():
    joints = jnp.asarray(np.random.default_rng(0).normal(0, 1, (1, 2, 3, 5, 2)), jnp.float32)
    star = (0, 1, 1, 3, 3, 3, 4, 4, 4)
    points = star_points(joints, star)
    np.testing.assert_allclose(points[0, 1, 2, 6], joints[0, 1, 2, 4] + jnp.array([2.0, 1.0]), rtol=1e-6)
    gradient = jax.grad(lambda joints: star_points(joints, star).sum())(joints)
    np.testing.assert_allclose(gradient[0, 1, 2, :, 0], [0.1, 0.2, 0.0, 0.3, 0.3], rtol=1e-6)


def test_of_equally_near_joints_the_first_listed_gives_the_offset():
    points = jnp.array([[[4.5, 5.0]], [[5.5, 5.0]]])  # cell 5 lies half a cell from both
    for order in ([0, 1], [1, 0]):
        _, offset, in_window = targets.windows(points[np.array(order)], jnp.ones((2, 1), bool), jnp.ones(2), (8, 8))
        assert in_window[5, 5, 0]
        assert offset[5, 5].tolist() == [[-0.5, 0.0], [0.5, 0.0]][order[0]]


def test_no_window_is_wider_than_seven_cells():
    grid = geometry.make_grid((192, 192), LEVELS, MAP_LEVEL, 64.0)
    keypoints = jnp.zeros((1, 17, 3)).at[0, 0].set(jnp.array([128.0, 100.0, 2.0]))
    box, area, is_person = jnp.array([[2.0, 2.0, 190.0, 190.0]]), jnp.ones(1), jnp.ones(1, bool)
    given = keypoints, box, area, is_person, jnp.array([192, 192])
    made = jax.jit(lambda *given: targets.image_targets(*given, grid, tiny.TRAINED_RELEASED.assignment, True))(*given)
    rows, columns = np.nonzero(np.asarray(made.in_window[..., 0]))
    assert set(rows.tolist()) == set(range(22, 29))
    assert set(columns.tolist()) == set(range(29, 36))
    assert made.heatmaps[25, 35, 0] == pytest.approx(np.exp(-9 / (2 * (7 / 6) ** 2)), rel=1e-6)


def test_a_joint_on_the_lower_border_of_the_padded_image_adds_nothing_to_the_maps_term():
    """There the released code fails; a joint without a cell is as good as unlabelled."""
    person = tiny.person(6, 6, 40, 64)  # the last joint is at y = 64
    unlabelled = person.copy()
    unlabelled[-1, 2] = 0
    outputs = made_up(1)
    found, expected = (terms(outputs, tiny.batch([[given]], tiny.RELEASED)) for given in (person, unlabelled))
    assert float(found["keypoint"]) == pytest.approx(float(expected["keypoint"]), rel=1e-6)
    assert float(found["coarse"]) != pytest.approx(float(expected["coarse"]), rel=1e-3)

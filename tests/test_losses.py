"""Every term of Eq. 5 against values computed by hand; padding adds nothing, and empty images stay finite."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from inspose_jax import config, geometry, losses, methods
from inspose_jax.errors import UserError
from inspose_jax.network import kp_net
from inspose_jax.targets import make_targets
from inspose_jax.training import step

MODEL = tiny.MODEL
KP_NET = kp_net.make(MODEL.kp_net, 17)


@pytest.fixture(scope="module")
def variables():
    return tiny.variables(MODEL)


@jax.jit
def targets_of(batch):
    return make_targets(batch, tiny.grid(), MODEL.assignment)


@jax.jit
def outputs_of(variables, batch):
    return tiny.network(MODEL).apply(variables, batch.image, batch.size, train=False)


@jax.jit
def terms_of(outputs, targets, batch):
    return losses.losses(outputs, targets, losses.count(targets), batch, tiny.grid(), KP_NET)


@jax.jit
def terms_and_gradient(variables, batch):
    def total(params):
        everything = {"params": params, "batch_stats": variables["batch_stats"]}
        frozen = tiny.network(tiny.model(batch_norm="frozen"))  # so that images do not affect each other
        outputs = frozen.apply(everything, batch.image, batch.size, train=True)
        targets = make_targets(batch, tiny.grid(), MODEL.assignment)
        terms = losses.losses(outputs, targets, losses.count(targets), batch, tiny.grid(), KP_NET)
        return step.total(terms, tiny.METHOD.weights), terms

    return jax.grad(total, has_aux=True)(variables["params"])


def test_focal_loss_by_hand():
    logits = jnp.array([[0.0, 2.0, -1.0, 5.0]])
    positive, ignored = jnp.array([[True, False, False, False]]), jnp.array([[False, False, False, True]])
    # positive: .25 * .5² * ln 2; negatives: .75 * p² * -ln(1 - p) with p = .880797, .268941
    expected = 0.25 * 0.25 * np.log(2) + 0.75 * 0.880797**2 * 2.126928 + 0.75 * 0.268941**2 * 0.313262
    value = losses.classification_loss(logits, positive, ignored, jnp.int32(2))
    np.testing.assert_allclose(value, expected / 2, rtol=1e-5)


def test_offset_loss_is_the_mean_over_supervised_values():
    predicted = jnp.zeros((1, 1, 2, 4))
    true = jnp.array([[[[1.0, -2.0, 9.0, 9.0], [9.0, 9.0, 0.5, 0.0]]]])
    in_disk = jnp.array([[[[True, False], [False, True]]]])
    value = losses.offset_loss(predicted, true, in_disk, jnp.int32(4))
    np.testing.assert_allclose(value, (1 + 2 + 0.5 + 0) / 4)


def test_heatmap_loss_by_hand():
    logits, true = jnp.zeros((1, 1, 3, 1)), jnp.array([[[[1.0], [0.5], [0.0]]]])
    is_cell = jnp.array([[[True, True, False]]])  # the last is in the padding
    # ln 2 * .5² * (1 + (1 - .5)⁴) / one peak
    value = losses.heatmap_loss(logits, true, is_cell, jnp.int32(1))
    np.testing.assert_allclose(value, np.log(2) / 4 * (1 + 0.0625), rtol=1e-6)


def test_box_loss_by_hand():
    """Two positives of one person: a perfect box, and one that misses it."""
    batch, grid = tiny.batch([[tiny.person(10, 10, 30, 30)]]), tiny.grid()
    targets = targets_of(batch)
    assert targets.is_slot.sum() > 1
    points = jnp.asarray(grid.points)
    x0, y0, x1, y1 = targets.boxes[0, 0]
    sides = jnp.stack([points[:, 0] - x0, points[:, 1] - y0, x1 - points[:, 0], y1 - points[:, 1]], -1)[None]
    number = targets.is_slot.sum()
    assert float(losses.box_loss(sides, targets, number, grid)) == pytest.approx(0, abs=1e-6)
    wrong = sides.at[0, targets.slot_location[0, 0]].set(jnp.array([-100.0, 0, 110, 10]))  # a square of 10 to the right
    missed = geometry.generalised_iou(
        geometry.boxes_of_sides(points[targets.slot_location[0, 0]], jnp.array([-100.0, 0, 110, 10])),
        targets.boxes[0, 0],
    )
    assert missed < 0
    assert float(losses.box_loss(wrong, targets, number, grid)) == pytest.approx(
        float(1 - missed) / int(number), rel=1e-5
    )


def test_keypoint_loss_of_zero_thetas_is_the_log_of_the_number_of_cells(variables):
    batch = tiny.batch([[tiny.person(6, 6, 18, 18)], []])
    outputs = outputs_of(variables, batch)
    outputs = outputs._replace(controller=jax.tree.map(jnp.zeros_like, outputs.controller))
    terms = terms_of(outputs, targets_of(batch), batch)
    np.testing.assert_allclose(terms["keypoint"], np.log(64), rtol=1e-6)  # 8 x 8 cells, all alike


def test_the_keypoint_loss_reads_the_theta_of_its_own_location(variables):
    batch = tiny.batch([[tiny.person(6, 6, 18, 18)], [tiny.person(38, 38, 50, 50)]])
    found = targets_of(batch)
    outputs = outputs_of(variables, batch)

    def loss(theta):
        changed = outputs._replace(controller=tiny.controller(theta, tiny.grid()))
        return terms_of(changed, found, batch)["keypoint"]

    theta = jax.random.normal(jax.random.key(0), (*outputs.logits.shape, KP_NET.num_parameters))
    touched = np.abs(jax.grad(loss)(theta)).max(-1) > 0
    np.testing.assert_array_equal(touched, found.is_positive)


def test_relative_coordinates_are_divided_by_the_scale_of_the_config(variables):
    batch = tiny.batch([[tiny.person(6, 6, 18, 18)]])
    outputs, targets = outputs_of(variables, batch), targets_of(batch)
    parameters = config.KPNet(relative_scale=32.0)
    method = methods.for_model(tiny.model(kp_net=parameters))
    found = jax.jit(method.losses)(outputs, targets, losses.count(targets), batch)["keypoint"]
    grid = geometry.make_grid((64, 64), (3, 4), 3, relative_scale=32.0)
    at_32 = jax.jit(lambda *given: losses.losses(*given, grid, KP_NET)["keypoint"])
    expected = at_32(outputs, targets, losses.count(targets), batch)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert abs(float(found - terms_of(outputs, targets, batch)["keypoint"])) > 1e-3  # at a scale of 64


@pytest.mark.parametrize(("branch", "term"), [("heatmap", "heatmap"), ("disk_offset", "offset")])
def test_a_branch_that_is_switched_off_has_no_parameters_and_no_term(branch, term, variables):
    model = tiny.model(**{branch: False})
    method = methods.for_model(model)
    without = {name: value for name, value in variables["params"].items() if name != branch}
    assert jax.tree.map(jnp.shape, jax.eval_shape(method.init, jax.random.key(0))["params"]) == jax.tree.map(
        jnp.shape, without
    )
    batch = tiny.batch([[tiny.person(6, 6, 18, 18)]])

    def terms_of_method(method, params, batch):
        outputs, _ = method.apply({**variables, "params": params}, batch.image, batch.size, train=True)
        targets = method.targets(batch)
        return method.losses(outputs, targets, method.count(targets), batch)

    terms = jax.jit(partial(terms_of_method, method))(without, batch)
    usual = jax.jit(partial(terms_of_method, tiny.METHOD))(variables["params"], batch)
    assert terms.keys() == usual.keys() - {term}
    for name, value in terms.items():
        np.testing.assert_allclose(value, usual[name], rtol=1e-5)


def test_the_keypoint_loss_needs_memory_for_the_maps_of_one_image_only():
    side = 128  # at which an image's maps are larger than the parameters of its KP-Nets
    grid = tiny.grid(size=(side, side))

    def memory_bytes(number):  # bytes of intermediate values of the loss and its gradient
        batch = jax.tree.map(jnp.asarray, tiny.batch([[]] * number, size=side))
        shapes = jax.eval_shape(
            lambda: tiny.network(MODEL).init_with_output(jax.random.key(0), batch.image, batch.size, True)
        )

        def loss(controller, outputs, targets):
            outputs = outputs._replace(controller=controller)
            likelihoods = losses.of_slots(KP_NET.log_likelihoods, outputs, targets, batch.size, grid)
            return losses.keypoint_loss(likelihoods, targets, jnp.int32(1))

        targets = jax.eval_shape(lambda: make_targets(batch, grid, MODEL.assignment))
        with tiny.as_users_compile():
            compiled = jax.jit(jax.grad(loss)).lower(shapes[0].controller, shapes[0], targets).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    maps = 4 * MODEL.assignment.num_slots * 17 * (side // 8) ** 2  # of one image
    assert memory_bytes(1) > maps
    assert memory_bytes(9) - memory_bytes(1) < 8 * maps  # of every further image less than its maps


@pytest.mark.parametrize(
    "people",
    [
        pytest.param([[], []], id="nobody"),
        pytest.param([[np.zeros((17, 3), np.float32)], []], id="no labelled joint"),
        pytest.param([[tiny.person(63, 63, 63, 63)], []], id="one point at the border"),
        pytest.param([[tiny.person(0, 0, 64, 64)] * 4, [tiny.person(20, 20, 40, 40)] * 4], id="a crowd in one place"),
    ],
)
def test_loss_and_gradient_are_finite(variables, people):
    gradient, terms = terms_and_gradient(variables, tiny.batch(people))
    assert set(terms) == {"cls", "keypoint", "offset", "heatmap"}
    assert all(np.isfinite(value) for value in terms.values())
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_blank_images_add_no_loss(variables):
    people = [[tiny.person(6, 6, 18, 18)], [tiny.person(20, 20, 40, 60)]]
    _, alone = terms_and_gradient(variables, jax.tree.map(lambda x: x[:1], tiny.batch(people)))
    gradient, filled = terms_and_gradient(variables, tiny.blank(tiny.batch(people), 1))
    for name in alone:
        np.testing.assert_allclose(filled[name], alone[name], rtol=1e-5)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_every_term_is_divided_by_its_count(variables):
    people = [tiny.person(6, 6, 18, 18)]
    _, once = terms_and_gradient(variables, jax.tree.map(lambda x: x[:1], tiny.batch([people, people])))
    twice = jax.tree.map(lambda x: np.concatenate([x[:1], x[:1]]), tiny.batch([people, people]))
    _, both = terms_and_gradient(variables, twice)
    for name in once:  # the same image twice: sums and counts double
        np.testing.assert_allclose(both[name], once[name], rtol=1e-5)


def test_weights_multiply_their_own_term():
    terms = {
        "cls": jnp.float32(1),
        "keypoint": jnp.float32(10),
        "offset": jnp.float32(100),
        "heatmap": jnp.float32(1e3),
    }
    weights = methods.for_model(
        tiny.model(weights=config.Weights(cls=2.0, keypoint=3.0, offset=4.0, heatmap=5.0))
    ).weights
    assert float(step.total(terms, weights)) == 5432
    assert float(step.total({"cls": terms["cls"]}, weights)) == 2
    with pytest.raises(UserError, match=r"Method.losses returns keypoint, which Method.weights lacks; it has cls"):
        step.total(terms, {name: weight for name, weight in weights.items() if name != "keypoint"})

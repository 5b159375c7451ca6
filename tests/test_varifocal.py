"""The varifocal classification loss and its targets, the OKS of the positives' poses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from inspose_jax import losses, methods
from inspose_jax.network import kp_net
from inspose_jax.network.instance_heads import theta_at
from inspose_jax.skeletons import COCO
from inspose_jax.structures import Batch
from inspose_jax.targets import make_targets

KP_NET = kp_net.make(tiny.MODEL.kp_net, 17)
THREE = COCO.subset("nose", "left_wrist", "right_ankle")


def people(joints: int = 17) -> Batch:
    """Three images: two people one of whom has unlabelled joints, nobody, and a small image with one person.

    Areas are far too large, so that random poses have OKS between 0 and 1.
    """
    batch = tiny.batch([[tiny.person(6, 6, 18, 18), tiny.person(4, 20, 60, 60)], [], [tiny.person(10, 10, 40, 40)]])
    batch.keypoints[0, 1, ::2, 2] = 0
    batch.size[2] = 48, 56
    batch.ignore_boxes[1, 0] = 8, 8, 40, 30
    rng = np.random.default_rng(3)
    batch = batch._replace(
        keypoints=batch.keypoints[:, :, :joints], area=rng.uniform(2e4, 3e5, batch.area.shape).astype(np.float32)
    )
    return jax.tree.map(jnp.asarray, batch)


def parts(model, batch):
    """Targets of the batch, and outputs of a network of random weights."""
    targets = jax.jit(methods.for_model(model).targets)(batch)
    outputs = jax.jit(tiny.network(model).apply)(tiny.variables(model), batch.image, batch.size)
    # Those of random weights all have the same probability.
    return targets, outputs._replace(logits=3 * jax.random.normal(jax.random.key(1), outputs.logits.shape))


def by_loop(model, outputs, targets, batch):
    """The term of the loss as in the article, with COCO's OKS: a loop over locations, joints, and cells of maps."""
    grid, joints = tiny.grid(model), model.skeleton.num_keypoints
    net = kp_net.make(model.kp_net, joints)
    theta = theta_at(outputs.controller, targets.slot_location)
    points, scales = (jnp.asarray(x)[targets.slot_location] for x in (grid.points, grid.scales))
    maps_of_all = jax.lax.map(
        lambda image: net.maps(*image, grid.map_stride), (theta, outputs.features, points, scales, batch.size)
    )
    outputs, targets, batch, maps_of_all = jax.device_get((outputs, targets, batch, maps_of_all))
    offsets, total, oks_of_all = outputs.disk_offsets, 0.0, []
    for b, maps in enumerate(maps_of_all):
        slots = {int(targets.slot_location[b, m]): m for m in range(maps.shape[0]) if targets.is_slot[b, m]}
        for location, logit in enumerate(outputs.logits[b].astype(np.float64)):
            p = 1 / (1 + np.exp(-logit))
            if targets.is_ignored[b, location]:
                continue
            if location not in slots:
                total += -0.75 * p**2 * np.log(1 - p)
                continue
            slot = slots[location]
            person, similarities = int(targets.slot_person[b, slot]), []
            for k in range(joints):
                true_x, true_y, visibility = batch.keypoints[b, person, k]
                if visibility == 0:
                    continue
                row, column = np.unravel_index(maps[slot, k].argmax(), maps.shape[2:])
                dx, dy = (0.5, 0.5) if offsets is None else offsets[b, row, column, 2 * k : 2 * k + 2]
                x, y = (column + dx) * grid.map_stride, (row + dy) * grid.map_stride
                variance = (2 * model.skeleton.oks_sigmas[k]) ** 2
                distance = (x - true_x) ** 2 + (y - true_y) ** 2
                similarities.append(np.exp(-distance / (2 * variance * batch.area[b, person])))
            q = np.mean(similarities)
            oks_of_all.append(q)
            total += -q * (q * np.log(p) + (1 - q) * np.log(1 - p))
    return total / max(int(targets.is_slot.sum()), 1), oks_of_all


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="the paper's branches"),
        pytest.param({"skeleton": THREE, "map_ratio": 2.0}, id="three joints, maps twice as large"),
        pytest.param({"disk_offset": False, "map_ratio": 0.5}, id="no offsets, maps half as large"),
    ],
)
def test_the_term_is_that_of_a_plain_loop(fields):
    model = tiny.model(classification_loss="varifocal", **fields)
    method, batch = methods.for_model(model), people(model.skeleton.num_keypoints)
    targets, outputs = parts(model, batch)
    expected, oks = by_loop(model, outputs, targets, batch)
    assert len(oks) > 10
    assert 0.1 < np.min(oks) < np.max(oks) < 0.95
    terms = jax.jit(method.losses)(outputs, targets, method.count(targets), batch)
    np.testing.assert_allclose(terms["cls"], expected, rtol=1e-5)
    focal = methods.for_model(tiny.model(**fields))
    others = jax.jit(focal.losses)(outputs, targets, focal.count(targets), batch)
    assert abs(float(others["cls"]) - expected) > 0.01
    assert terms.keys() == others.keys()
    for name in terms.keys() - {"cls"}:  # all other terms are as with the focal loss
        np.testing.assert_allclose(terms[name], others[name], rtol=1e-6)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_a_perfect_pose_has_target_1_and_one_that_is_off_what_coco_gives_it(ratio):
    model = tiny.model(map_ratio=ratio)
    grid = tiny.grid(model)
    batch = tiny.batch([[tiny.person(6, 6, 50, 42)], [tiny.person(20, 9, 30, 60)]])
    targets = jax.jit(lambda batch: make_targets(batch, grid, model.assignment))(batch)
    cells = jnp.take_along_axis(targets.cells, targets.slot_person[..., None], axis=1)

    def found(offsets):
        oks = losses.oks_of_slots(cells, offsets, targets, batch, grid, COCO.oks_sigmas)
        return np.where(targets.is_slot, oks, np.nan)

    perfect = found(targets.disk_offsets)
    assert np.isfinite(perfect).sum() > 4
    np.testing.assert_allclose(perfect[np.isfinite(perfect)], 1, rtol=1e-5)
    off = found(targets.disk_offsets.at[..., ::2].add(3 / grid.map_stride))  # 3 pixels to the right
    for image, area in enumerate((44 * 36 / 2, 10 * 51 / 2)):
        expected = np.mean([np.exp(-9 / (2 * area * (2 * sigma) ** 2)) for sigma in COCO.oks_sigmas])
        np.testing.assert_allclose(off[image][np.isfinite(off[image])], expected, rtol=1e-4)


def test_by_hand():
    """Three locations: a person of OKS .6 at 0, background, and one that is ignored."""
    logits = jnp.array([[2.0, -1.0, 5.0]])
    targets = jax.eval_shape(tiny.METHOD.targets, tiny.batch([[]]))._replace(
        is_positive=jnp.array([[True, False, False]]),
        is_ignored=jnp.array([[False, False, True]]),
        slot_location=jnp.zeros((1, 2), jnp.int32),
        is_slot=jnp.array([[True, False]]),  # the empty slot also says location 0
    )
    # .6 (.6 * .126928 + .4 * 2.126928) + .75 * .268941^2 * .313262
    value = losses.varifocal_loss(logits, jnp.array([[0.6, 0.9]]), targets, jnp.int32(2))
    np.testing.assert_allclose(value, (0.556157 + 0.016993) / 2, rtol=1e-5)


def test_a_pose_that_is_all_wrong_counts_nothing_and_is_no_background():
    """OKS underflows to 0 far away; the released model's rule, a target above 0, would make it background."""
    value = losses.varifocal(jnp.array([3.0]), jnp.array([0.0]), jnp.array([True]))
    assert float(value[0]) == 0


def test_confident_answers_keep_their_digits():
    """At logits where 1 - p is below the spacing of f32, and log p with it."""
    value = losses.varifocal(jnp.array([25.0, -25.0]), jnp.array([1.0, 0.0]), jnp.array([True, False]))
    np.testing.assert_allclose(value, [np.exp(-25), 0.75 * np.exp(-75)], rtol=1e-4)


def test_no_gradient_flows_through_the_target():
    model, batch = tiny.VARIFOCAL, people()
    method = methods.for_model(model)
    targets, outputs = parts(model, batch)

    def cls(outputs):
        return method.losses(outputs, targets, method.count(targets), batch)["cls"]

    gradient = jax.jit(jax.grad(cls))(outputs)
    assert np.abs(gradient.logits).max() > 1e-3
    for rest in (gradient.controller, gradient.features, gradient.disk_offsets):
        assert all(not np.any(leaf) for leaf in jax.tree.leaves(rest))


def test_the_terms_of_the_images_add_up():
    """Each divided by the number of positives of the whole batch, as on devices that have an image each."""
    model, batch = tiny.VARIFOCAL, people()
    method = methods.for_model(model)
    targets, outputs = parts(model, batch)
    counts = method.count(targets)
    losses_of = jax.jit(method.losses)

    def row(tree, i):
        return jax.tree.map(lambda x: x[i : i + 1], tree)

    def image(i):
        controller = outputs.controller._replace(features=row(outputs.controller.features, i))
        one = row(outputs._replace(controller=None), i)._replace(controller=controller)
        return losses_of(one, row(targets, i), counts, row(batch, i))["cls"]

    whole = losses_of(outputs, targets, counts, batch)["cls"]
    np.testing.assert_allclose(sum(image(i) for i in range(3)), whole, rtol=1e-5)


@pytest.mark.parametrize("number", [0, 3])
def test_blank_images_and_nobody_give_a_finite_loss(number):
    """No slot is filled at all; or three people who have no area and lie on top of each other."""
    batch = tiny.blank(tiny.batch([[tiny.person(20, 20, 40, 40)] * number, []]), 1)
    batch = jax.tree.map(jnp.asarray, batch._replace(area=np.zeros_like(batch.area)))
    method = methods.for_model(tiny.VARIFOCAL)
    targets, outputs = parts(tiny.VARIFOCAL, batch)
    value, gradient = jax.jit(
        jax.value_and_grad(lambda outputs: method.losses(outputs, targets, method.count(targets), batch)["cls"])
    )(outputs)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert not np.any(gradient.logits[1]), "a blank image adds nothing"

"""Labels, windows and the parts of the losses against those of the released code (`targets.npz`, `ops.npz`)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspose_jax import geometry
from inspose_jax.released import config, losses, targets
from inspose_jax.released.network import LEVELS, MAP_LEVEL
from inspose_jax.skeletons import COCO
from inspose_jax.targets import gaussian_radius

CASES = (
    "small", "equal_area", "nested", "border", "tiny", "closed_ranges", "strict_centre", "none", "full_size",
    "odd_levels",
)  # fmt: skip
MOST = 16  # people


def padded(x, number: int = MOST):
    return np.concatenate([x, np.zeros((number - len(x), *x.shape[1:]), x.dtype)])


@pytest.mark.parametrize("case", CASES)
def test_every_location_has_the_same_owner(golden, case):
    reference = golden("targets")
    given = {name.removeprefix(f"assign/{case}/"): reference[name] for name in reference if f"assign/{case}/" in name}
    grid = geometry.make_grid(tuple(given["input_hw"].tolist()), LEVELS, MAP_LEVEL, 64.0)
    np.testing.assert_array_equal(grid.level_sizes, given["sizes"])
    boxes = jnp.asarray(padded(given["boxes"]))
    is_person = jnp.arange(MOST) < len(given["boxes"])
    owner = np.asarray(targets.owners(boxes, is_person, grid, 1.5))
    labels, index = (
        np.concatenate([given[f"{what}/P{level}"].ravel() for level in LEVELS]) for what in ("labels", "gt_inds")
    )
    np.testing.assert_array_equal(owner, np.where(labels == 0, index, -1))
    filled = targets.fill_slots(jnp.asarray(owner), boxes, grid, 1.5, 512)[2]
    assert filled.sum() == (labels == 0).sum()


@pytest.mark.parametrize("case", ["small", "equal_area", "border", "tiny", "nested", "far_border"])
def test_heatmaps_and_offsets_are_drawn_alike(golden, case):
    reference = golden("targets")
    given = {name.removeprefix(f"maps/{case}/"): reference[name] for name in reference if f"maps/{case}/" in name}
    size = tuple((given["input_hw"] // 4).tolist())
    for image in range(len(given["heatmap"])):
        keypoints, boxes = (jnp.asarray(padded(given[f"{name}{image}"])) for name in ("keypoints", "boxes"))
        radius = jnp.minimum(gaussian_radius(boxes / 4, 0.9), 3)
        heatmap, offset, mask = jax.jit(targets.windows, static_argnums=3)(
            keypoints[..., :2] / 4, keypoints[..., 2] > 0, radius, size
        )
        np.testing.assert_allclose(np.moveaxis(heatmap, -1, 0), given["heatmap"][image], atol=2e-7)
        np.testing.assert_array_equal(heatmap == 1, np.moveaxis(given["heatmap"][image], 0, -1) == 1)
        true = np.moveaxis(given["offset_mask"][image], 0, -1) > 0
        np.testing.assert_array_equal(np.repeat(mask, 2, -1), true)
        np.testing.assert_allclose(np.where(true, offset, 0), np.moveaxis(given["offset"][image], 0, -1), atol=1e-6)


def test_the_half_width_of_windows(golden):
    ops = golden("ops")
    height, width = ops["radius/hw"].T
    boxes = jnp.asarray(np.stack([0 * width, 0 * width, width, height], -1))
    np.testing.assert_array_equal(jnp.minimum(gaussian_radius(boxes, 0.9), 3), ops["radius/r_90"])


def test_windows_one_by_one(golden):
    ops = golden("ops")
    *places, radius = ops["draw/x_y_r"].T
    points = jnp.asarray(np.stack(places, -1))[:, None]
    size = tuple(ops["draw/size_hw"].tolist())
    seen = jnp.ones((len(radius), 1), bool)
    heatmap, offset, mask = targets.windows(points, seen, jnp.asarray(radius), size)
    np.testing.assert_allclose(heatmap[..., 0], ops["draw/heatmap_all"], atol=2e-7)
    true = np.moveaxis(ops["draw/offset_mask_all"], 0, -1) > 0
    np.testing.assert_array_equal(np.repeat(mask, 2, -1), true)
    np.testing.assert_allclose(np.where(true, offset, 0), np.moveaxis(ops["draw/offset_all"], 0, -1), atol=1e-6)


def test_varifocal_and_centre_focal_and_their_gradients(golden):
    ops = golden("ops")
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        one = {name: jnp.asarray(ops[f"varifocal/{name}"], jnp.float64) for name in ("logits", "target")}
        scale = float(ops["varifocal/avg_factor"]) + losses.EPSILON
        value, gradient = jax.value_and_grad(
            lambda z: losses.varifocal(z, one["target"], one["target"] > 0).sum() / scale
        )(one["logits"])
        np.testing.assert_allclose(value, ops["varifocal/loss"], rtol=1e-9)
        np.testing.assert_allclose(gradient, ops["varifocal/grad"], rtol=1e-9, atol=1e-12)
        for case in ("peaks", "nopeak"):
            logits, true = (
                jnp.asarray(ops[f"centerfocal/{case}/{name}"], jnp.float64) for name in ("logits", "target")
            )
            number = jnp.maximum((true == 1).sum(), 1)

            def loss(logits, true=true, number=number):
                return losses.centre_focal(logits, true).sum() / number

            value, gradient = jax.value_and_grad(loss)(logits)
            np.testing.assert_allclose(value, ops[f"centerfocal/{case}/loss"], rtol=1e-9)
            expected = ops[f"centerfocal/{case}/grad"]
            np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_similarity_with_its_slip_and_without(golden):
    ops = golden("ops")
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        found, true = (jnp.asarray(ops[f"oks/{name}"], jnp.float64) for name in ("pred_cells", "gt_cells"))
        given = (found, true[..., :2], true[..., 2] > 0, jnp.asarray(ops["oks/areas"], jnp.float64), COCO.oks_sigmas)
        np.testing.assert_allclose(losses.similarity(*given, 1), ops["oks/value"], rtol=1e-9)
        # Without the slip an error of one cell is one of 8 pixels.
        far = jnp.zeros((1, 17, 2)), jnp.ones((1, 17, 2)) * jnp.array([1.0, 0.0]), jnp.ones((1, 17), bool)
        (value,) = losses.similarity(*far, jnp.array([1e4]), COCO.oks_sigmas, 8)
        sigmas = np.array(COCO.oks_sigmas)
        assert value == pytest.approx(np.exp(-64 / (2 * 1e4 * (2 * sigmas) ** 2)).mean(), rel=1e-6)


def test_joints_on_the_far_border_with_the_slips_and_without():
    grid = geometry.make_grid((32, 64), LEVELS, MAP_LEVEL, 64.0)
    keypoints = (
        jnp.zeros((1, 17, 3))
        .at[0, :4]
        .set(jnp.array([[64.0, 9.0, 2], [20.0, 32.0, 2], [64.0, 31.0, 1], [3.0, 2.0, 1]]))
    )
    boxes, area, is_person = jnp.array([[3.0, 2.0, 64.0, 32.0]]), jnp.ones(1), jnp.ones(1, bool)

    def made(strict_parity: bool) -> targets.Targets:
        return targets.image_targets(
            keypoints, boxes, area, is_person, jnp.array([32, 64]), grid, config.Assignment(), strict_parity
        )

    strict, correct = made(True), made(False)
    # Row 1 and column 8 of 8 columns are cell 16, the first of row 2; the others would lie beyond the last row.
    assert strict.is_joint[0, :5].tolist() == [True, False, False, True, False]
    assert strict.cells[0, :4].tolist() == [16, 0, 0, 0]
    assert correct.is_joint[0, :5].tolist() == [False, False, False, True, False]
    # Tags: one cell up and left, of 8 x 16 cells; the last joint's is read in the last row and column.
    assert strict.tag_cells[0, :4].tolist() == [1 * 16 + 15, 7 * 16 + 4, 6 * 16 + 15, 7 * 16 + 15]
    assert strict.is_tag[0, :5].tolist() == [True, True, True, True, False]
    assert correct.tag_cells[0, 3] == 0
    assert correct.is_tag[0, :5].tolist() == [False, False, False, True, False]


def test_without_a_peak_the_heatmap_term_is_of_the_size_of_others_unless_the_slip_is_kept():
    logits, true = jnp.zeros((2, 4, 4, 3)), jnp.zeros((2, 4, 4, 3))
    none = jnp.int32(0)
    counts = losses.Counts(jnp.int32(2), none, none, none, none, none)
    each = 2 * 16 * 3 * np.log(2) / 4
    assert losses.heatmap_loss(logits, true, jnp.ones(2, bool), counts, True) == pytest.approx(each)
    assert losses.heatmap_loss(logits, true, jnp.ones(2, bool), counts, False) == pytest.approx(each / 6)

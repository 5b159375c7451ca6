"""The losses, their gradients and the statistics after a step against the released code's and the oracle's, in float64.

(`losses.npz`, `grads.npz`, `forward_train.npz`)
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from test_released_forward import LEVELS, network_of

from inspose_jax import config, geometry
from inspose_jax.network import inspose, kp_net
from inspose_jax.released import losses, targets
from inspose_jax.released.network import LEVELS as NUMBERS
from inspose_jax.released.network import MAP_LEVEL, Outputs
from inspose_jax.skeletons import COCO
from inspose_jax.torch_bridge.names import to_flax
from inspose_jax.torch_bridge.released_names import released_name

THEIRS = {
    "cls": "loss_cls",
    "keypoint": "loss_keypoint",
    "coarse": "loss_keypoint_reg",
    "heatmap": "loss_heatmap",
    "offset": "loss_heatmap_offset",
    "pull": "loss_ae_pull",
    "push": "loss_ae_push",
}
CASES = ("normal", "edge", "invisible", "empty_one", "empty_all", "nopeak")
MOST = 5


@pytest.fixture(scope="module", autouse=True)
def _float64():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


def people_of(reference, case: str):
    """Keypoints, boxes, areas of the people of a case, padded to MOST, and who is there."""
    number = len(reference[f"{case}/img_shape"])
    kinds = {"keypoints": (17, 3), "boxes": (4,), "areas": ()}
    arrays = {name: np.zeros((number, MOST, *shape)) for name, shape in kinds.items()}
    is_person = np.zeros((number, MOST), bool)
    for image in range(number):
        for name, array in arrays.items():
            given = reference[f"{case}/gt{image}/{name}"]
            array[image, : len(given)] = given
        is_person[image, : len(given)] = True
    return *map(jnp.asarray, arrays.values()), jnp.asarray(is_person)


def terms_of(model, grid, outputs, people):
    """The seven terms, and the targets."""
    height, width = (side * grid.map_stride for side in grid.map_size)
    size = jnp.array([height, width], jnp.int32)  # the padded size: joints stand where the release's loss got them
    one = jax.vmap(lambda *image: targets.image_targets(*image, size, grid, model.assignment, model.strict_parity))(
        *people
    )
    counts = losses.count(one)
    keypoint_map = partial(kp_net.keypoint_map, sizes=kp_net.layer_sizes(model.kp_net, 17))
    return losses.losses(outputs, one, counts, grid, keypoint_map, COCO.oks_sigmas, model.strict_parity), one


def grid_of(image) -> geometry.Grid:
    return geometry.make_grid(image.shape[2:], NUMBERS, MAP_LEVEL, 64.0)


@pytest.fixture(scope="module")
def wide(small):
    """The small model with its variables in float64."""
    return small[0], jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), small[1])


@pytest.fixture(scope="module")
def measured(wide):
    """(variables, N,C,H,W images, people) -> the total loss, its terms and the new statistics; compiled once."""
    model, _ = wide

    def run(params, batch_stats, image, people):
        size = jnp.tile(jnp.array(image.shape[2:], jnp.int32), (len(image), 1))
        variables = {"params": params, "batch_stats": batch_stats}
        outputs, changed = network_of(model).apply(
            variables, image.transpose(0, 2, 3, 1), size, train=True, mutable=["batch_stats"]
        )
        terms, _ = terms_of(model, grid_of(image), outputs, people)
        return sum(terms.values()), (terms, changed["batch_stats"])

    return jax.jit(jax.value_and_grad(run, has_aux=True))


def close(terms, reference, prefix: str) -> None:
    for ours, theirs in THEIRS.items():
        expected = reference[f"{prefix}/{theirs}"]
        np.testing.assert_allclose(terms[ours], expected, rtol=1e-6, atol=1e-12, err_msg=theirs)


@pytest.mark.slow  # compiles the gradient of the whole network
@pytest.mark.parametrize("case", [*CASES, "large"])
def test_losses_from_the_image(golden, wide, measured, case):
    reference = golden("losses")
    image = reference["large/img"] if case == "large" else golden("forward_train")["img"]
    variables = wide[1]
    people = people_of(reference, case)
    (total, (terms, _)), _ = measured(
        variables["params"], variables["batch_stats"], jnp.asarray(image, jnp.float64), people
    )
    close(terms, reference, case)
    assert float(total) == pytest.approx(float(reference[f"{case}/total"]), rel=1e-6)


@pytest.mark.slow
def test_gradients_and_statistics_after_a_step(golden, wide, measured):
    reference = golden("grads")
    model, variables = wide
    image, people = golden("forward_train")["img"], people_of(golden("losses"), "normal")
    (_, (_, batch_stats)), gradient = measured(
        variables["params"], variables["batch_stats"], jnp.asarray(image, jnp.float64), people
    )
    trains = inspose.trains(gradient, model.network)
    frozen, squares = set(), 0.0
    norms = dict(zip(reference["names"].tolist(), reference["norms"].tolist(), strict=True))
    leaves = zip(jax.tree_util.tree_flatten_with_path(gradient)[0], jax.tree.leaves(trains), strict=True)
    for (path, found), is_trained in leaves:
        name = released_name(tuple(entry.key for entry in path), model.network.keypoint_depth)
        if not is_trained:
            frozen.add(name)
            continue
        expected = reference[f"grad/{name}"]
        error = np.linalg.norm(found - to_flax(expected))
        # P7 of these images is one cell, where GroupNorm makes the gradient of its bias 0, but for rounding.
        assert error <= 1e-6 * norms[name] + 1e-16 * reference["global_norm"], name
        assert np.linalg.norm(found) == pytest.approx(norms.pop(name), rel=1e-6)
        squares += float(np.square(found).sum())
    assert not norms
    assert frozen == set(reference["frozen"].tolist())
    assert np.sqrt(squares) == pytest.approx(float(reference["global_norm"]), rel=1e-6)
    seen = set()
    for path, found in jax.tree_util.tree_flatten_with_path(batch_stats)[0]:
        name = released_name(tuple(entry.key for entry in path), model.network.keypoint_depth)
        if f"bn_after/{name}" in reference:
            expected = reference[f"bn_after/{name}"]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max(), err_msg=name)
            seen.add(name)
        else:
            assert ".layer" not in name or ".layer1." in name
    assert len(seen) == sum(name.startswith("bn_after/") for name in reference)


@pytest.fixture(scope="module")
def stored(source, golden, small):
    """Outputs of the heads, with theta at every location already, and what they and people give: the terms and targets.

    That is one function for each value of `strict_parity`.
    """
    given = golden("heads" if source == "oracle" else "forward_train")

    def level(name):
        parts = [given[f"{name}/{level}"].astype(np.float64).transpose(0, 2, 3, 1) for level in LEVELS]
        return jnp.asarray(np.concatenate([x.reshape(len(x), -1, x.shape[-1]) for x in parts], 1))

    def dense(name):
        return jnp.asarray(given[name].astype(np.float64).transpose(0, 2, 3, 1))

    grid = grid_of(golden("forward_train")["img"])
    coarse = level("coarse")
    outputs = Outputs(
        level("logits")[..., 0],
        coarse.reshape(*coarse.shape[:2], 17, 2),
        tiny.controller(level("theta"), grid),
        dense("F_kp"),
        dense("hm"),
        dense("tag"),
        dense("hm_offset"),
    )

    compiled = {}
    for strict in (True, False):
        model = config.replace(small[0], strict_parity=strict)
        compiled[strict] = jax.jit(lambda outputs, people, model=model: terms_of(model, grid, outputs, people))
    return outputs, compiled


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("source", "strict"),
    [("oracle", True), ("oracle", False), ("authors", True)],  # the released code has its slips
    indirect=["source"],
    scope="session",
)
def test_losses_from_the_stored_outputs(golden, stored, case, strict):
    reference = golden("losses")
    outputs, compiled = stored
    terms, made = compiled[strict](outputs, people_of(reference, case))
    close(terms, reference, f"{case}/stored" if strict else f"{case}/stored/correct")
    labels = np.concatenate([reference[f"{case}/rec/labels/{level}"] for level in LEVELS], 1)
    np.testing.assert_array_equal(made.is_positive, labels == 0)
    np.testing.assert_allclose(made.heatmaps, reference[f"{case}/rec/hm_target"].transpose(0, 2, 3, 1), atol=2e-7)

"""The small model's stages against those of the released code and of the oracle (`forward_*.npz`)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspose_jax.network.instance_heads import theta_at
from inspose_jax.network.kp_net import num_parameters
from inspose_jax.released import config
from inspose_jax.released.network import Network, star_points

NUM_STAGES = {"oracle": {"a": 63, "b": 16}, "authors": {"a": 64, "b": 24}}  # that are stored
NUM_FLOAT64 = {"oracle": 10, "authors": 11}
TRAINING_STAGES = {"oracle": 21, "authors": 4 + 5 + 5 * 8 + 4}  # C, P, what every level has, and what P3 alone has
LEVELS = ("P3", "P4", "P5", "P6", "P7")
NAMES = {  # ours -> theirs, of what every level has
    "coarse_tower": "kpt_tower",
    "classification_tower": "cls_tower",
    "controller_tower": "ctrl_tower",
    "classification_star": "cls_star",
    "controller_star": "ctr_star",
    "classification_star.conv": "cls_star_conv",
    "controller_star.conv": "ctr_star_conv",
}


def network_of(model: config.Model) -> Network:
    joints = model.skeleton.num_keypoints
    parameters = num_parameters(model.kp_net, joints)
    return Network(model.network, config.star_joints(model), joints, parameters, model.kp_net.feature_channels)


def stages(model, variables, image, train: bool = False) -> dict[str, np.ndarray]:
    """Everything that the network computes on the way, N,C,H,W, by the names of the reference."""
    network = network_of(model)
    number, _, height, width = image.shape
    size = jnp.tile(jnp.array([[height, width]], jnp.int32), (number, 1))
    num_cells = sum(-(-height // 2**level) * -(-width // 2**level) for level in range(3, 8))

    def run(variables, image):
        changes = ["batch_stats", "intermediates"]
        outputs, seen = network.apply(variables, image, size, train, capture_intermediates=True, mutable=changes)
        every = jnp.tile(jnp.arange(num_cells, dtype=jnp.int32), (number, 1))
        return outputs, seen["intermediates"], theta_at(outputs.controller, every)

    outputs, seen, theta = jax.jit(run)(variables, jnp.asarray(image.transpose(0, 2, 3, 1)))
    found = {f"C{level}": x for level, x in seen["backbone"]["__call__"][0].items()}
    found |= {f"P{level}": x for level, x in seen["fpn"]["__call__"][0].items()}
    start = 0
    for i, level in enumerate(LEVELS):
        for ours, theirs in NAMES.items():
            place = seen["instance_heads"]
            for name in ours.split("."):
                place = place[name]
            found[f"{theirs}/{level}"] = place["__call__"][i]
        height, width = found[f"cls_tower/{level}"].shape[1:3]
        rows = slice(start, start + height * width)
        for name, x in (("logits", outputs.logits), ("coarse", outputs.coarse), ("theta", theta)):
            found[f"{name}/{level}"] = x[:, rows].reshape(number, height, width, -1)
        coarse = outputs.coarse[:, rows].reshape(number, height, width, -1, 2)
        found[f"dcn_offset/{level}"] = offsets_of(star_points(coarse, config.star_joints(model)))
        start += height * width
    found |= {"F_kp": outputs.features, "hm": outputs.heatmaps, "tag": outputs.tags, "hm_offset": outputs.offsets}
    return {name: np.asarray(x).transpose(0, 3, 1, 2) for name, x in found.items()}


def offsets_of(points):
    """f[B,h,w,9,2] points x, y -> f[B,h,w,18] offsets (dy, dx) of the taps from a regular grid."""
    height, width = points.shape[1:3]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    step = np.arange(-1, 2, dtype=np.float32)
    regular = np.stack([x[..., None] + np.tile(step, 3), y[..., None] + np.repeat(step, 3)], -1)
    return (points - regular.astype(points.dtype))[..., ::-1].reshape(len(points), height, width, 18)


@pytest.mark.parametrize(
    "source", ["oracle", pytest.param("authors", marks=pytest.mark.slow)], indirect=True, scope="session"
)
@pytest.mark.parametrize("image", ["a", "b"])
def test_every_stage_is_that_of_the_released_code(source, golden, small, image):
    reference = golden("forward_eval")
    noise = dict(zip(reference["noise_names"].tolist(), reference["noise_values"].tolist(), strict=True))
    found = stages(*small, reference[f"{image}/img"])
    names = [name.split("/", 1)[1] for name in reference if name.startswith(f"{image}/")]
    names = [name for name in names if name != "img" and not name.startswith("f64/")]
    assert len(names) == NUM_STAGES[source][image]
    for name in names:
        expected = reference[f"{image}/{name}"]
        bound = max(1e-4 * np.abs(expected).max(), 3 * noise.get(f"{image}/{name}", 0))
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=bound, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("image", ["a", "b"])
def test_the_stages_in_float64(source, golden, small, image):
    reference = golden("forward_eval")
    names = [name for name in reference if name.startswith(f"{image}/f64/")]
    assert len(names) == NUM_FLOAT64[source]
    model, variables = small
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        variables = jax.tree.map(lambda x: x.astype(np.float64), variables)
        found = stages(model, variables, reference[f"{image}/img"].astype(np.float64))
    for name in names:
        expected = reference[name]
        mine = found[name.removeprefix(f"{image}/f64/")]
        np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-9 * np.abs(expected).max(), err_msg=name)


@pytest.mark.slow
def test_every_stage_in_training_mode(source, golden, small):
    reference = golden("forward_train")
    noise = {}  # our fixtures have no bound beyond 1e-4
    if source == "authors":
        noise = dict(zip(reference["noise_names"].tolist(), reference["noise_values"].tolist(), strict=True))
    found = stages(*small, reference["img"], train=True)
    names = [name for name in reference if name != "img" and not name.startswith("noise_")]
    assert len(names) == TRAINING_STAGES[source]
    for name in names:
        expected = reference[name]
        bound = max(1e-4 * np.abs(expected).max(), 3 * noise.get(name, 0))
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=bound, err_msg=name)


@pytest.mark.slow
def test_the_stages_in_training_mode_in_float64(source, golden, small):
    """They are stored rounded to float32, 6e-8 of the largest magnitude at most."""
    reference = golden("forward_train")
    model, variables = small
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        variables = jax.tree.map(lambda x: x.astype(np.float64), variables)
        found = stages(model, variables, reference["img"].astype(np.float64), train=True)
    for name in found.keys() & set(reference):
        expected = reference[name]
        assert found[name].dtype == np.float64
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=6.1e-8 * np.abs(expected).max(), err_msg=name)

"""HRNet: the numbers of PyTorch's, the published sizes, and what it promises to the rest as ResNet does."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inspose_jax import config
from inspose_jax.network import inspose
from inspose_jax.network.hrnet import HRNet
from inspose_jax.torch_bridge import names

NARROW = (4, 8, 16, 32)
IMAGE, SIZE = jnp.zeros((2, 64, 96, 3)), jnp.full((2, 2), 64, jnp.int32)


@pytest.fixture(scope="module")
def narrow():
    """Shapes of the variables of a narrow HRNet."""
    network = HRNet(NARROW, True, 0, None)
    return jax.eval_shape(lambda: network.init(jax.random.key(0), IMAGE, SIZE))


@pytest.mark.slow
def test_it_gives_the_numbers_of_the_reference(golden, narrow):
    stored, tensors, begin = golden("hrnet_w4_seed0"), {}, 0
    for name, rank, padded in zip(*(stored[f"weights/{part}"] for part in ("names", "ndim", "shapes")), strict=True):
        shape = tuple(int(n) for n in padded[:rank])
        tensors[str(name)] = stored["weights/flat"][begin : begin + math.prod(shape)].reshape(shape)
        begin += math.prod(shape)

    def take(path, _):
        name = names.backbone_name(tuple(entry.key for entry in path[1:]))
        return names.to_flax(tensors.pop(name)).astype(np.float64)

    variables = jax.tree_util.tree_map_with_path(take, narrow)
    assert not tensors, "each of them has exactly one place"
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        image, size = jnp.asarray(stored["input"].transpose(0, 2, 3, 1), float), jnp.array([[64, 96]], jnp.int32)
        found = jax.device_get(HRNet(NARROW, False, 0, None).apply(variables, image, size))
    for level, ours in found.items():
        theirs = stored[f"out/stride{2**level}"].transpose(0, 2, 3, 1)
        noise = float(
            stored[f"noise/stride{2**level}"]
        )  # of the reference, which is float32; about 5e-6 of the maximum
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1.01 * noise)


@pytest.mark.parametrize(
    ("name", "widths", "parameters", "statistics"),
    [
        ("hrnet_w32", (32, 64, 128, 256), 29_305_536, 57_344),
        ("hrnet_w48", (48, 96, 192, 384), 65_325_120, 84_096),
    ],
)
def test_strides_channels_and_sizes_are_those_of_the_published_networks(name, widths, parameters, statistics):
    backbone = inspose.make_backbone(config.Network(backbone=name), train_norm=False, data_axis=None)
    maps, variables = jax.eval_shape(lambda: backbone.init_with_output(jax.random.key(0), IMAGE, SIZE))
    counts = [sum(x.size for x in jax.tree.leaves(variables[kind])) for kind in ("params", "batch_stats")]
    assert counts == [parameters, statistics]
    assert {level: x.shape for level, x in maps.items()} == {
        level: (2, 64 // 2**level, 96 // 2**level, width) for level, width in zip((2, 3, 4, 5), widths, strict=True)
    }


def stages_where(tree, value):
    """(stage, whether it is a norm) of each parameter for which a tree of bool has this value."""
    flat = jax.tree_util.tree_flatten_with_path(tree["backbone"])[0]
    paths = [[entry.key for entry in path] for path, here in flat if here == value]
    return {(path[0], "norm" in path[-2]) for path in paths}


STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")


def test_frozen_stages_and_norms_are_those_that_the_config_names(narrow):
    for mode, num_frozen in (("trained", 0), ("trained", 1), ("frozen", 2)):
        network = config.Network("hrnet_w32", NARROW, mode, num_frozen)
        still = {(stage, is_norm) for stage in STAGES[: num_frozen + 1] for is_norm in (False, True) if num_frozen}
        still |= {(stage, True) for stage in STAGES if mode == "frozen"}
        assert stages_where(inspose.trains({"backbone": narrow["params"]}, network), False) == still


def test_the_kernels_outside_of_the_stem_are_hidden_ones(narrow):
    hidden = inspose.is_hidden({"backbone": narrow["params"]})
    assert stages_where(hidden, True) == {(stage, False) for stage in STAGES[1:]}


def test_a_blank_image_moves_no_statistics_and_frozen_stages_keep_theirs(narrow):
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        fan_in = np.prod(leaf.shape[:-1], initial=1)
        is_kernel = path[-1].key == "kernel"
        return jnp.asarray(
            rng.normal(0, np.sqrt(2 / fan_in), leaf.shape) if is_kernel else np.ones(leaf.shape), leaf.dtype
        )

    variables = jax.tree_util.tree_map_with_path(fill, narrow)
    network = HRNet(NARROW, True, 1, None)
    # Large enough for 3 x 3 cells at stride 32: the variance of a single one would be nothing but rounding.
    image = jnp.asarray(rng.normal(size=(1, 96, 96, 3)), jnp.float32)

    def statistics(second, side):
        images, sizes = jnp.concatenate([image, second]), jnp.array([[96, 96], [side, side]], jnp.int32)
        return network.apply(variables, images, sizes, mutable=["batch_stats"])[1]

    # A counted blank would halve the means.
    blank, twice = statistics(0 * image, 0), statistics(image, 96)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), blank, twice)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), blank["batch_stats"], variables["batch_stats"])
    assert {stage: all(jax.tree.leaves(moved[stage])) for stage in STAGES} == dict.fromkeys(STAGES[2:], True) | {
        "stem": False,
        "stage1": False,
    }
    assert not any(jax.tree.leaves((moved["stem"], moved["stage1"])))

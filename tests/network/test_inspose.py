"""The whole network: shapes, parameter counts, and what the programs for training and testing contain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from inspose_jax import config
from inspose_jax.network.inspose import normalise
from inspose_jax.network.upsample import at_ratio, bilinear_x2

IMAGE = np.zeros((2, 64, 96, 3), np.uint8)
SIZE = np.array([[64, 96], [50, 70]], np.int32)


def abstract(model: config.Model, train: bool):
    """Shapes of the variables and the outputs, without computing anything."""
    network = tiny.network(model)
    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), IMAGE, SIZE, train=True))
    outputs = jax.eval_shape(
        lambda v: network.apply(v, IMAGE, SIZE, train=train, mutable=["batch_stats"])[0], variables
    )
    return variables, outputs


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("backbone", "parameters"), [("resnet18", 11_176_512), ("resnet50", 23_508_032), ("resnet101", 42_500_160)]
)
def test_backbones_have_torchvisions_parameters(backbone, parameters):
    variables, _ = abstract(config.Model(network=config.Network(backbone=backbone)), train=False)
    assert count(variables["params"]["backbone"]) == parameters


def test_the_papers_heads_have_the_number_of_parameters_counted_by_hand():
    params = abstract(config.Model(), train=True)[0]["params"]
    conv = 9 * 256 * 256 + 2 * 256  # 3x3 without bias, and its norm
    assert count(params["instance_heads"]) == 8 * conv + (9 * 256 + 1) + (9 * 256 * 313 + 313)
    hidden = 9 * 256 * 128 + 3 * 9 * 128 * 128 + 4 * 2 * 128
    assert count(params["keypoint_features"]) == hidden + 9 * 128 * 8 + 8
    assert count(params["disk_offset"]) == 2 * conv + 9 * 256 * 34 + 34
    assert count(params["heatmap"]) == 2 * conv + 9 * 256 * 17 + 17
    # laterals of C3, C4, C5; outputs P3..P7, all with bias
    assert count(params["fpn"]) == (512 + 1024 + 2048) * 256 + 3 * 256 + 5 * (9 * 256 * 256 + 256)


@pytest.mark.parametrize("ratio", [0.5, 2.0, 4.0])
def test_the_ratio_changes_all_maps_and_no_parameter(ratio):
    model = tiny.model(map_ratio=ratio)
    variables, outputs = abstract(model, train=True)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, abstract(tiny.MODEL, train=True)[0])
    maps = tiny.grid(model, (64, 96)).map_size
    assert maps == (8 * ratio, 12 * ratio)
    for x in (outputs.features, outputs.disk_offsets, outputs.heatmaps):
        assert x.shape[1:3] == maps
    assert outputs.logits.shape == (2, 8 * 12 + 4 * 6)


def test_a_box_head_adds_one_layer_and_the_sides_of_a_box_for_each_location():
    variables, outputs = abstract(tiny.model(box_head=True), train=False)
    usual = abstract(tiny.MODEL, train=False)[0]
    assert count(variables) - count(usual) == 9 * 8 * 4 + 4
    assert outputs.sides.shape == (2, 8 * 12 + 4 * 6, 4)
    network = tiny.network(tiny.model(box_head=True))
    blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), variables)
    sides = network.apply(blank, IMAGE, SIZE).sides
    np.testing.assert_array_equal(np.unique(sides[0, :96]), [8])  # a stride, before anything is learnt
    np.testing.assert_array_equal(np.unique(sides[0, 96:]), [16])


def test_maps_at_other_ratios_by_hand():
    x = jnp.asarray([[1.0, 2.0, 6.0], [3.0, 4.0, 8.0], [5.0, 7.0, 9.0]])[None, :, :, None]
    np.testing.assert_allclose(at_ratio(x, 0.5)[0, :, :, 0], [[2.5, 7.0], [6.0, 9.0]])
    # New column c lies at (c + .5) / 4 - .5 among the old ones.
    np.testing.assert_allclose(
        at_ratio(x, 4.0)[0, 0, :, 0], np.interp((np.arange(12) + 0.5) / 4 - 0.5, range(3), x[0, 0, :, 0]), rtol=1e-6
    )
    np.testing.assert_allclose(at_ratio(x, 2.0), bilinear_x2(x), rtol=1e-6)
    assert at_ratio(x, 1.0) is x


def test_shapes_of_the_papers_outputs():
    _, outputs = abstract(config.Model(), train=True)
    locations = 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2 + 1 * 1  # P6 and P7 round up
    assert outputs.logits.shape == (2, locations)
    assert [x.shape for x in outputs.controller.features] == [
        (2, height, width, 256) for height, width in ((8, 12), (4, 6), (2, 3), (1, 2), (1, 1))
    ]
    assert (outputs.controller.kernel.shape, outputs.controller.bias.shape) == ((3, 3, 256, 313), (313,))
    assert outputs.features.shape == (2, 8, 12, 8)
    assert outputs.disk_offsets.shape == (2, 8, 12, 34)
    assert outputs.heatmaps.shape == (2, 8, 12, 17)


def test_maps_of_level_2_have_stride_4():
    _, outputs = abstract(tiny.model(map_level=2), train=True)
    assert outputs.features.shape[1:3] == outputs.heatmaps.shape[1:3] == (16, 24)
    assert outputs.logits.shape == (2, 8 * 12 + 4 * 6)


def test_the_test_time_program_has_no_heatmap_branch():
    network, variables = tiny.network(tiny.MODEL), tiny.variables()
    outputs = jax.jit(network.apply)(variables, IMAGE, SIZE)
    assert outputs.heatmaps is None
    without = {name: value for name, value in variables["params"].items() if name != "heatmap"}
    again = jax.jit(network.apply)({**variables, "params": without}, IMAGE, SIZE)
    np.testing.assert_array_equal(outputs.logits, again.logits)


def test_every_location_starts_as_a_person_with_probability_one_percent():
    network = tiny.network(tiny.MODEL)
    outputs = jax.jit(lambda key: network.init_with_output(key, IMAGE, SIZE)[0])(jax.random.key(0))
    np.testing.assert_allclose(jax.nn.sigmoid(outputs.logits), 0.01, atol=0.003)


def test_normalising_gives_mean_and_deviation_of_imagenet_and_zero_padding():
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[0, :, :, 0] = 182  # (182 - 123.675) / 58.395 = .99880
    image[0, 20:] = 255
    normalised = normalise(jnp.asarray(image), jnp.array([[20, 32]], jnp.int32))
    np.testing.assert_allclose(normalised[0, 0, 0], [0.99880, -116.28 / 57.12, -103.53 / 57.375], atol=1e-4)
    assert (normalised[0, 20:] == 0).all()


@pytest.mark.parametrize("size", [(32, 48), (31, 1), (0, 0), (7, 47)])
def test_normalised_padding_is_zero_and_the_image_is_not(size):
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)
    found = jax.jit(normalise)(jnp.asarray(image), jnp.array([size], jnp.int32))
    whole = jax.jit(normalise)(jnp.asarray(image), jnp.array([[32, 48]], jnp.int32))
    expected = np.zeros_like(whole)
    expected[:, : size[0], : size[1]] = whole[:, : size[0], : size[1]]
    np.testing.assert_array_equal(found, expected)
    assert (np.asarray(whole) != 0).all()  # no byte is ImageNet's mean


def test_a_program_holds_no_constant_of_the_images_size():
    # A map of pixel centres would be 8.6 MB, and twice as many hexadecimal digits of the program's text.
    image, size = jax.ShapeDtypeStruct((1, 800, 1344, 3), jnp.uint8), jax.ShapeDtypeStruct((1, 2), jnp.int32)
    program = jax.jit(tiny.network(tiny.MODEL).apply).lower(tiny.variables(), image, size).as_text()
    assert len(program) < 800 * 1344


def test_frozen_batch_norm_changes_no_statistics_and_trained_does():
    image = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    size = np.full((2, 2), 32, np.int32)
    for mode, stages, moves in (("frozen", 0, False), ("trained", 4, False), ("trained", 0, True)):
        network, variables = tiny.network(tiny.model(batch_norm=mode, frozen_stages=stages)), tiny.variables()
        apply = jax.jit(lambda v, network=network: network.apply(v, image, size, train=True, mutable=["batch_stats"]))
        _, changed = apply(variables)
        same = jax.tree.map(lambda a, b: bool((a == b).all()), variables["batch_stats"], changed["batch_stats"])
        assert all(jax.tree.leaves(same)) != moves

"""From the bytes of an image to people, as the released code finds them (`pipeline.npz`, `detections.npz`)."""

import io
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tied_candidates
import tiny
from PIL import Image

from inspose_jax import config, geometry, recipes
from inspose_jax.data import pipeline
from inspose_jax.data.transforms import resized_size
from inspose_jax.network.inspose import normalise
from inspose_jax.predictor import Predictor, to_original_pixels
from inspose_jax.released.decode import survivors
from inspose_jax.released.network import LEVELS, MAP_LEVEL

CONFIG = recipes.read("released_r50_coco_3x").config
IMAGES = ("a", "b")


@pytest.fixture(scope="module")
def sides(golden) -> tuple[int, int]:
    """The short and the long side to which the small images are resized; the authors' numbers do not hold them."""
    pipeline = golden("pipeline")
    return tuple(pipeline["sides"].tolist()) if "sides" in pipeline else (100, 160)


def small_config(model, sides: tuple[int, int]) -> config.Config:
    """The recipe at the size of the small images."""
    short_side, long_side = sides
    return replace(CONFIG, model=model, data=replace(CONFIG.data, test_short_side=short_side, long_side=long_side))


@pytest.fixture(scope="module")
def images(golden) -> dict[str, np.ndarray]:
    """The small images, RGB, by name."""
    pipeline = golden("pipeline")
    return {name: np.asarray(Image.open(io.BytesIO(pipeline[f"{name}/png"].tobytes()))) for name in IMAGES}


@pytest.fixture(scope="module")
def predictor(small, sides) -> Predictor:
    return Predictor(small_config(small[0], sides), small[1])


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_reaches_the_network_as_in_the_released_code(golden, predictor, images, name):
    reference = golden("pipeline")
    source = pipeline.Images([images[name]], predictor.skeleton)
    batch = pipeline.load_batch(source, predictor.plan(source)[0], predictor.config)
    np.testing.assert_array_equal(batch.size[0], reference[f"{name}/test/img_shape"][:2])
    np.testing.assert_array_equal(batch.image.shape[1:3], reference[f"{name}/test/pad_shape"][:2])
    np.testing.assert_array_equal(batch.scale[0], reference[f"{name}/test/scale_factor"][:2])
    height, width = batch.size[0]
    resized = reference[f"{name}/test/resized_bgr"][..., ::-1]
    np.testing.assert_array_equal(batch.image[0, :height, :width], resized)  # also OpenCV's fixed point
    seen = normalise(jnp.asarray(batch.image), jnp.asarray(batch.size))
    expected = np.moveaxis(reference[f"{name}/test/input"], -3, -1).reshape(seen.shape)
    np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-6)


def test_sizes_are_rounded_as_in_the_released_code(golden):
    for height, width, long_side, short_side, new_height, new_width in golden("pipeline")["sizes"].tolist():
        assert resized_size(height, width, short_side, long_side) == (new_height, new_width)


@pytest.mark.parametrize("run", ["top1000", "top25"])
@pytest.mark.parametrize("name", IMAGES)
def test_the_same_people_are_found(golden, small, sides, images, name, run):
    reference = golden("detections")
    given = {key: reference[f"{name}/{run}/{key}"] for key in ("locations", "scores", "boxes", "joints", "rec/hm_gap")}
    model = config.replace(small[0], num_per_level=int(run.removeprefix("top")))
    predictor = Predictor(small_config(model, sides), small[1])
    source = pipeline.Images([images[name]], predictor.skeleton)
    ((_, found),) = predictor.find(source)
    height, width = predictor.plan(source)[0].shape
    grid = geometry.make_grid((height, width), LEVELS, MAP_LEVEL, model.kp_net.relative_scale)
    level = grid.level[found.location]
    cells = (grid.points[found.location] // grid.strides[found.location][:, None]).astype(int)
    np.testing.assert_array_equal(np.stack([level, cells[:, 1], cells[:, 0]], -1), given["locations"])
    np.testing.assert_allclose(found.scores, given["scores"], rtol=0, atol=1e-4)
    far = np.abs(found.keypoints - given["joints"]).max(-1) > 0.01
    assert not (far & (given["rec/hm_gap"] > 1e-4)).any()
    assert far.mean() < 0.01  # joints whose two best cells the reference's own float32 hardly tells apart


def test_boxes_are_those_of_the_coarse_joints(golden, small, predictor, images):
    reference = golden("detections")
    source = pipeline.Images([images["a"]], predictor.skeleton)
    batch = pipeline.load_batch(source, predictor.plan(source)[0], predictor.config)
    outputs, _ = predictor.compiled_forward(predictor.variables, batch.image, batch.size)
    grid = geometry.make_grid(batch.image.shape[1:3], LEVELS, MAP_LEVEL, 64.0)
    found = jax.jit(lambda *image: survivors(*image, grid, small[0].decoding))(
        outputs.logits[0], outputs.coarse[0], jnp.asarray(batch.size[0])
    )
    boxes = found.boxes[: int(found.number)] / np.tile(batch.scale[0], 2)
    np.testing.assert_allclose(boxes, reference["a/top1000/boxes"], rtol=0, atol=0.01)
    np.testing.assert_allclose(found.scores[: int(found.number)], reference["a/top1000/scores"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("most", tied_candidates.PICKED)
def test_of_equal_candidates_the_first_in_line_wins(most):
    logits, coarse = tied_candidates.heads(17)
    grid = geometry.make_grid(tied_candidates.SIZE, LEVELS, MAP_LEVEL, 64.0)
    decoding = config.replace(tiny.RELEASED, num_per_level=most).decoding
    size = jnp.array(tied_candidates.SIZE, jnp.int32)
    found = survivors(jnp.asarray(logits), jnp.asarray(coarse), size, grid, decoding)
    assert found.number == 4
    np.testing.assert_array_equal(found.location[:4], tied_candidates.PICKED[most])
    np.testing.assert_allclose(found.scores[:4], tied_candidates.SCORES, rtol=1e-6)


def test_a_batch_finds_in_each_image_what_is_found_in_it_alone(small, sides, images):
    """Padded to the same size, since GroupNorm sees the padding.

    The last level has one cell here: its groups divide by the spread of few values, which raises the rounding of a sum
    whose order depends on the processor to a few 1e-5.
    """
    given, side = small_config(small[0], sides), sides[1]
    predictor = Predictor(
        replace(given, data=replace(given.data, test_padding="shapes", shapes=((side, side),))), small[1]
    )
    source = pipeline.Images([images[name] for name in IMAGES], predictor.skeleton)
    plan = pipeline.make_plan(source, predictor.config, train=False, batch_size=2)
    both = pipeline.load_batch(source, plan[0], predictor.config)
    assert both.image.shape == (2, side, side, 3)
    outputs, poses = predictor.compiled_forward(predictor.variables, both.image, both.size)
    together = to_original_pixels(jax.device_get(poses), both)
    for i in range(2):
        one = type(both)(*(field[i : i + 1] for field in both))
        alone, poses = predictor.compiled_forward(predictor.variables, one.image, one.size)
        for mine, theirs in zip(
            jax.tree.leaves(alone._replace(controller=alone.controller.features)),
            jax.tree.leaves(outputs._replace(controller=outputs.controller.features)),
            strict=True,
        ):
            np.testing.assert_allclose(mine[0], theirs[i], rtol=0, atol=1e-4 * float(np.abs(theirs[i]).max()))
        (found,) = to_original_pixels(jax.device_get(poses), one)
        np.testing.assert_array_equal(found.location, together[i].location)
        np.testing.assert_allclose(found.scores, together[i].scores, rtol=0, atol=1e-5)
        np.testing.assert_allclose(found.keypoints, together[i].keypoints, rtol=0, atol=0.01)

"""Test-time passes: mirrored images and other scales give the same people, wherever they were found."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rival_poses
import tiny

from inspose_jax import averaged_maps, config, config_check, methods, passes
from inspose_jax.config import Passes
from inspose_jax.data import pipeline, transforms
from inspose_jax.errors import UserError
from inspose_jax.evaluation import evaluator
from inspose_jax.predictor import BATCH, Predictor
from inspose_jax.skeletons import COCO
from inspose_jax.structures import KeypointMaps, Poses, unlabelled

MODEL = tiny.model(score_threshold=0.0, nms_threshold=0.9)  # with random weights, people are everywhere
DATA = replace(tiny.CONFIG.data, long_side=96, shapes=((64, 64), (96, 96), (96, 160)))
FLIP = Passes(test_flip=True, test_merge="oks", test_merge_threshold=0.9)
SIDES = (48, 64)
SIZES = [(64, 90), (50, 50)]


def predictor(test_passes: Passes, model=MODEL, devices=(), **fields) -> Predictor:
    given = replace(tiny.CONFIG, model=model, data=replace(DATA, passes=test_passes, **fields))
    return Predictor(given, tiny.variables(model), devices)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def people_of(model: Predictor, images: list[np.ndarray]) -> list[Poses]:
    found = dict(model.find(pipeline.Images(images, model.skeleton)))
    return [found[i] for i in range(len(images))]


def assert_same(found: Poses, expected: Poses) -> None:
    """Both have the same people; of nearly equal scores either may be the first."""
    assert len(found.scores) == len(expected.scores) > 0
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4)
    distances = np.abs(found.keypoints[:, None] - expected.keypoints).max((2, 3))
    partner = distances.argmin(1)
    assert distances.min(1).max() < 2e-3
    assert distances.min(0).max() < 2e-3
    for name in ("keypoint_scores", "scores", "class_scores", "boxes"):
        one, other = getattr(found, name), getattr(expected, name)
        if other is not None:
            np.testing.assert_allclose(one, other[partner], rtol=1e-4, atol=2e-3)


# --- mirrored images ------------------------------------------------------------------------------------------------


def test_an_image_is_mirrored_within_its_size_as_in_training():
    image = np.zeros((3, 24, 32, 3), np.uint8)
    sizes = np.array([(24, 32), (20, 17), (1, 1)], np.int32)
    for padded, (height, width) in zip(image, sizes, strict=True):
        padded[:height, :width] = noise(height, width)
    found = jax.jit(passes.mirrored)(jnp.asarray(image), jnp.asarray(sizes))
    for padded, one, (height, width) in zip(image, np.asarray(found), sizes, strict=True):
        expected = transforms.flip(unlabelled(padded[:height, :width], 0, 17), COCO).image
        np.testing.assert_array_equal(one[:height, :width], expected)
        assert one.sum(dtype=int) == expected.sum(dtype=int), "something is left in the padding"


def test_people_of_a_mirrored_image_are_mapped_back_as_training_maps_them_there():
    keypoints = np.concatenate([noise(2, 17)[..., :2], np.full((2, 17, 1), 2)], -1).astype(np.float32)
    boxes = np.concatenate([keypoints[..., :2].min(1), keypoints[..., :2].max(1)], 1)
    blank = np.zeros((300, 257, 3), np.uint8)
    there = transforms.flip(unlabelled(blank, 0, 17)._replace(keypoints=keypoints, boxes_xyxy=boxes), COCO)
    peaks = np.arange(34, dtype=np.float32).reshape(1, 2, 17)
    ones = np.ones((1, 2), np.float32)
    found = Poses(there.keypoints[None, :, :, :2], peaks, ones, ones, ones > 0, ones, there.boxes_xyxy[None])
    back = passes.mirrored_back(jax.tree.map(jnp.asarray, found), jnp.array([[300, 257]]), COCO)
    np.testing.assert_array_equal(back.keypoints[0], keypoints[..., :2])
    np.testing.assert_array_equal(back.boxes[0], boxes)
    np.testing.assert_array_equal(back.keypoint_scores[0], peaks[0][:, list(COCO.flip_order)])


@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        pytest.param(config.replace(MODEL, box_head=True), marks=pytest.mark.slow),
        pytest.param(tiny.RELEASED, marks=pytest.mark.slow),
    ],
)
def test_an_image_and_its_mirror_image_have_mirrored_people(model):
    """A network with random weights knows no symmetry, so only looking at both gives it."""
    images = [noise(*size, seed) for seed, size in enumerate(SIZES)]
    twice = predictor(FLIP, model)
    here = people_of(twice, images)
    there = people_of(twice, [np.ascontiguousarray(image[:, ::-1]) for image in images])
    for image, one, other in zip(images, here, there, strict=True):
        width = image.shape[1]
        order = list(COCO.flip_order)
        back = other.keypoints[:, order] * np.float32([-1, 1]) + np.float32([width, 0])
        boxes = None if other.boxes is None else np.abs(other.boxes[:, [2, 1, 0, 3]] - np.float32([width, 0, width, 0]))
        assert_same(one, other._replace(keypoints=back, keypoint_scores=other.keypoint_scores[:, order], boxes=boxes))
    (once,) = people_of(predictor(Passes(), model), images[:1])
    assert here[0].scores[0] >= once.scores[0]
    assert not np.array_equal(here[0].scores, once.scores), "the mirrored image adds nobody"


def test_an_image_and_its_mirror_image_have_the_same_averaged_maps():
    twice = predictor(replace(FLIP, test_merge="maps", test_merge_threshold=0.3))
    image = noise(64, 96)  # whose cells lie on those of the mirror image
    (here,), (there,) = people_of(twice, [image]), people_of(twice, [np.ascontiguousarray(image[:, ::-1])])
    (unaveraged,) = people_of(predictor(replace(FLIP, test_merge_threshold=0.3)), [image])
    order = list(COCO.flip_order)
    back = there.keypoints[:, order] * np.float32([-1, 1]) + np.float32([96, 0])
    assert_same(here, there._replace(keypoints=back, keypoint_scores=there.keypoint_scores[:, order]))
    assert len(here.scores) == len(unaveraged.scores)
    assert (here.scores < unaveraged.scores.max()).all(), "scores are means"


@pytest.mark.parametrize("width", [96, 91])
@pytest.mark.parametrize("found_in", [(True, True), (True, False), (False, True)])
def test_maps_with_their_peaks_at_the_same_joints_are_read_as_either_alone(width, found_in):
    height, stride, spread = 64, 8, 10.0
    rng = np.random.default_rng(0)
    joints = rng.uniform([8, 8], [width - 8, height - 8], (17, 2)).astype(np.float32)
    mirrored = joints[list(COCO.flip_order)] * np.float32([-1, 1]) + np.float32([width, 0])
    y, x = np.mgrid[: height // stride, : 96 // stride] * stride + stride / 2

    def maps_of(joints):
        squares = (x - joints[:, 0, None, None]) ** 2 + (y - joints[:, 1, None, None]) ** 2
        maps = np.exp(-squares / (2 * spread**2))
        return jnp.asarray(maps[None] / maps.sum((1, 2))[:, None, None], jnp.float32)

    def places_of(joints):  # every cell puts a joint where it is, a pixel to the right of it and below
        return jnp.asarray(np.broadcast_to(joints + 1, (*x.shape, 17, 2)))

    size, wrong = jnp.array([height, width], jnp.int32), jnp.full((1, 17, *x.shape), 0.5)
    keypoints, peaks = averaged_maps.read_both(
        maps_of(joints) if found_in[0] else wrong,
        places_of(joints),
        maps_of(mirrored) if found_in[1] else wrong,
        places_of(mirrored),
        jnp.array([found_in]),
        size,
        (height, 96),
        COCO.flip_order,
    )
    shift = np.float32([1, 1]) * found_in[0] + np.float32([-1, 1]) * found_in[1]
    np.testing.assert_allclose(keypoints[0], joints + shift / sum(found_in), atol=1e-4)
    np.testing.assert_allclose(peaks[0], maps_of(joints)[0].max((1, 2)), rtol=0.02 if width == 96 else 0.2)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(FLIP, marks=pytest.mark.slow),
        replace(FLIP, test_merge="maps", test_merge_threshold=0.3),
        pytest.param(replace(FLIP, test_scales=SIDES), marks=pytest.mark.slow),
    ],
    ids=["merged", "averaged maps", "scales"],
)
def test_mirrored_images_on_several_devices_give_the_same_people(given):
    images = [noise(64, 64, seed) for seed in range(BATCH)]
    one, several = (people_of(predictor(given, devices=devices), images) for devices in ((), jax.local_devices()[:4]))
    for found, expected in zip(several, one, strict=True):
        assert_same(found, expected)


def test_a_pose_counts_as_found_for_one_person_only():
    """Of two poses that overlap much, each found in one pass, neither is taken for the other in the other pass."""
    rng = np.random.default_rng(0)
    small = rng.uniform(20, 60, (17, 2)).astype(np.float32)
    large = (1.3 * (small - small.mean(0)) + small.mean(0)).astype(np.float32)
    poses = np.stack([large, small])  # the large one in the image, the small one in its mirror image
    scores = np.float32([0.8, 0.9])
    found = Poses(poses, np.ones((2, 17)), scores, scores, np.ones(2, bool), np.array([3, 7]))
    found = jax.tree.map(jnp.asarray, found)
    given = Passes(test_flip=True)
    people = passes.merged(found, 2, COCO.oks_sigmas, given)
    assert people.is_person.all()
    pairs = averaged_maps.partners(found, people, COCO.oks_sigmas, given)
    assert pairs.is_found.tolist() == [[False, True], [True, False]]


def test_a_pose_that_no_pass_counts_as_found_stays_where_it_is():
    """Of two equal poses, which a threshold of 1 keeps, only the first is its own nearest pose."""
    pose = noise(1, 17)[..., :2].astype(np.float32)
    scores = np.float32([0.9, 0.8, 0.0, 0.0])
    found = Poses(np.repeat(pose, 4, 0), np.ones((4, 17)), scores, scores, scores > 0, np.arange(4))
    found = jax.tree.map(jnp.asarray, found)
    given = Passes(test_flip=True, test_merge_threshold=1.0)
    people = passes.merged(found, 2, COCO.oks_sigmas, given)
    pairs = averaged_maps.partners(found, people, COCO.oks_sigmas, given)
    assert pairs.is_found.tolist() == [[True, False], [False, False]]
    elsewhere = KeypointMaps(
        *(jnp.ones((1, 2, 17, 8, 8)), *[jnp.zeros(())] * 3), joints=jnp.full((1, 8, 8, 17, 2), 7.0)
    )
    alone = jax.tree.map(lambda x: x[None], (people, pairs))
    outputs, size = jnp.zeros((2, 1)), jnp.array([[64, 64]])
    read = averaged_maps.averaged(*alone, outputs, lambda *_: elsewhere, size, (64, 64), COCO)
    np.testing.assert_allclose(read.scores[0], [0.45, 0.4])
    np.testing.assert_array_equal(read.keypoints[0], [np.full((17, 2), 7), pose[0]])


# --- merging --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["boxes", "oks"])
def test_people_of_all_passes_are_merged_as_a_plain_loop_does(by):
    given = Passes(test_merge=by, test_merge_threshold=rival_poses.LIMITS["nms_threshold"])
    number = rival_poses.LIMITS["num_poses"]
    merge = jax.jit(lambda poses: passes.merged(poses, number, COCO.oks_sigmas, given))
    for keypoints, scores, expected in rival_poses.cases(by):
        index = np.arange(len(scores))
        found = Poses(keypoints, np.ones((len(scores), 17)), scores, scores, scores > rival_poses.THRESHOLD, index)
        found = merge(
            passes.joined([jax.tree.map(lambda x, one=one: x[one], found) for one in (index[:5], index[5:])], 0)
        )
        assert found.location[found.is_person].tolist() == [place for place, _ in expected]
        np.testing.assert_allclose(found.scores[found.is_person], [score for _, score in expected], rtol=1e-6)


@pytest.mark.parametrize(("by", "expected"), [("boxes", [7, 9]), ("oks", [7, 8])])
def test_predicted_boxes_decide_whom_a_merge_by_boxes_drops(by, expected):
    """Of the best one, the second has the box but not the joints, the third the joints but not the box."""
    rng = np.random.default_rng(0)
    joints = rng.uniform(0, 40, (17, 2)).astype(np.float32)
    keypoints = np.stack([joints, joints + 100, joints])
    boxes = np.float32([[0, 0, 40, 40], [0, 0, 40, 40], [100, 100, 140, 140]])
    scores = np.float32([0.9, 0.8, 0.7])
    found = Poses(keypoints, np.ones((3, 17)), scores, scores, np.ones(3, bool), np.array([7, 8, 9]), boxes)
    given = Passes(test_merge=by, test_merge_threshold=0.5)
    people = passes.merged(jax.tree.map(jnp.asarray, found), 3, COCO.oks_sigmas, given)
    assert people.location[people.is_person].tolist() == expected


# --- scales ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("padding", "flip"), [("own", False), pytest.param("shapes", True, marks=pytest.mark.slow)])
def test_people_of_several_scales_are_those_of_each_scale_merged(padding, flip):
    images = [noise(*size, seed) for seed, size in enumerate(SIZES)]
    given = Passes(test_scales=SIDES, test_flip=flip, test_merge_threshold=0.8)
    found = people_of(predictor(given, test_padding=padding), images)
    at_each = []
    for side in SIDES:
        alone = replace(given, test_scales=())
        fields = {"test_short_side": side, "long_side": 96 * side // 64, "test_padding": padding}
        at_each.append(people_of(predictor(alone, **fields), images))
    for i, one in enumerate(found):
        everybody = passes.joined([of_scale[i] for of_scale in at_each], 0)
        number = MODEL.decoding.num_poses
        expected = passes.merged(everybody, number, COCO.oks_sigmas, given)
        assert_same(one, jax.tree.map(lambda x, kept=expected.is_person: np.asarray(x[kept]), expected))


def test_shapes_that_are_left_open_are_found_for_all_scales():
    images = [noise(*size, seed) for seed, size in enumerate(SIZES)]
    found = people_of(predictor(Passes(test_scales=SIDES), shapes=()), images)
    assert all(len(one.scores) for one in found)


def test_each_image_goes_through_the_network_once_at_every_scale():
    images = [noise(64, 64, seed) for seed in range(BATCH)] + [noise(64, 90)]
    model = predictor(Passes(test_scales=SIDES))
    shapes, poses = [], model.poses
    model.poses = lambda variables, image, size: (
        shapes.append((image.shape[:3], size[0].tolist())) or poses(variables, image, size)
    )
    assert len(people_of(model, images)) == len(images)
    assert shapes[:2] == [((BATCH, 64, 64), [64, 64]), ((BATCH, 64, 64), [48, 48])], "the largest first"
    assert shapes[2:] == [((1, 96, 96), [64, 90]), ((1, 96, 96), [48, 68])]


def test_the_shares_of_two_processes_make_up_the_whole_at_several_scales():
    source = pipeline.Images([noise(*SIZES[i % 2], i) for i in range(BATCH + 4)], COCO)
    model = predictor(Passes(test_scales=SIDES))
    shares = [evaluator.find_share(model, source, process, 2) for process in range(2)]
    assert sorted(i for share in shares for i in share) == list(range(len(source)))
    assert {i: found for share in shares for i, found in share.items()} == evaluator.find_share(model, source, 0, 1)


def test_the_maps_of_people_are_those_of_a_single_pass():
    image = noise(64, 64)
    maps = predictor(replace(FLIP, test_scales=SIDES)).maps(image, threshold=0.0)
    (once,) = people_of(predictor(Passes()), [image])
    np.testing.assert_allclose(maps.people.keypoints, once.keypoints, atol=1e-3)


# --- what is refused ------------------------------------------------------------------------------------------------


def test_scales_that_no_shape_holds_are_refused_at_once():
    given = replace(tiny.CONFIG, data=replace(DATA, passes=Passes(test_scales=(64, 97, 128))))
    with pytest.raises(UserError, match=r"data.test_scales has 97, 128, but no image of that shorter side fits any of"):
        config_check.check(given)
    config_check.check(replace(given, data=replace(given.data, test_padding="own")))
    config_check.check(replace(given, data=replace(given.data, shapes=((128, 128),))))


def test_an_image_that_fits_no_shape_at_a_scale_is_refused_and_not_made_smaller():
    wide = noise(64, 128)
    assert people_of(predictor(Passes(), long_side=128), [wide])
    with pytest.raises(UserError, match=r"an image of 96 x 192 pixels .* add 96 x 192 to them, or lower"):
        people_of(predictor(Passes(test_scales=(64, 96)), long_side=128), [wide])


def test_only_the_maps_of_the_papers_model_are_averaged():
    given = replace(tiny.CONFIG, model=tiny.RELEASED, data=replace(DATA, passes=Passes(test_flip=True)))
    with pytest.raises(UserError, match=r"data.test_merge maps needs the paper's model; take oks"):
        config_check.check(given)
    config_check.check(replace(given, data=replace(DATA, passes=FLIP)))


def test_a_method_of_ones_own_without_maps_is_refused_at_once():
    given = replace(tiny.CONFIG, data=replace(DATA, passes=Passes(test_flip=True)))
    method = methods.for_model(MODEL)
    with pytest.raises(UserError, match=r"data.test_merge maps needs a method with maps of its people, which this one"):
        Predictor(given, tiny.variables(MODEL), method=replace(method, maps=None))

    def without_joints(*given):
        return method.maps(*given)._replace(joints=None)

    model = Predictor(given, tiny.variables(MODEL), method=replace(method, maps=without_joints))
    with pytest.raises(UserError, match=r"data.test_merge maps needs maps whose cells tell where joints are; take oks"):
        people_of(model, [noise(64, 64)])


def test_a_skeleton_without_pairs_cannot_be_mirrored():
    model = config.replace(MODEL, skeleton=replace(COCO, name="mine", flip_pairs=()))
    given = replace(tiny.CONFIG, model=model, data=replace(DATA, passes=FLIP))
    with pytest.raises(UserError, match=r"data.test_flip needs a skeleton whose joints .*; mine has no flip_pairs"):
        config_check.check(given)

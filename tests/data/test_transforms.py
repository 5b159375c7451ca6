"""A joint on a lit spot stays on it under every transform, left stays left, and areas are what is left of people."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspose_jax.config import Augmentation, Data, Scene
from inspose_jax.data import transforms
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.skeletons import COCO
from inspose_jax.structures import Sample

HEIGHT, WIDTH = 61, 83
ALL = Augmentation(180.0, (0.7, 1.5), 0.2, (0.5, 2.0), 0.2, 0.3, 0.4, 30.0)


def lit_pixel(x: int, y: int, height: int = 21, width: int = 31) -> Sample:
    """A black image with one white pixel and the nose at its centre."""
    image = np.zeros((height, width, 3), np.uint8)
    image[y, x] = 255
    keypoints = np.zeros((1, 17, 3), np.float32)
    keypoints[0, 0] = x + 0.5, y + 0.5, 2
    box = np.array([[x, y, x + 1, y + 1]], np.float32)
    return Sample(image, keypoints, box, np.ones(1, np.float32), np.zeros(1, bool), 7)


def lit_spot(x: float, y: float) -> Sample:
    """A dark image with a smooth light around (x, y), and the nose there; its mask is the spot."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    light = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
    image = np.array(transforms.OUTSIDE) + light[..., None] * (255 - np.array(transforms.OUTSIDE))
    keypoints = np.zeros((1, 17, 3), np.float32)
    keypoints[0, 0] = x, y, 2
    box = np.array([[x - 3, y - 3, x + 3, y + 3]], np.float32)
    area, mask = np.array([36], np.float32), light[None] > 0.03
    return Sample(image.round().astype(np.uint8), keypoints, box, area, np.zeros(1, bool), 7, mask)


def brightest(image: np.ndarray, background: int = 0) -> np.ndarray:
    """Centre of mass (x, y) of the light, in continuous pixels."""
    weight = np.maximum(image[..., 0].astype(float) - background, 0)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


def centre_of(mask: np.ndarray) -> np.ndarray:
    """Centre of mass (x, y) of a mask, in continuous pixels."""
    return np.argwhere(mask)[:, ::-1].mean(0) + 0.5


def person(x0: float, y0: float, x1: float, y1: float, *, joint: tuple[float, float] | None = None) -> Sample:
    """A person on a dark image of `HEIGHT` x `WIDTH` pixels: a box that the person fills, and perhaps a left wrist."""
    keypoints = np.zeros((1, 17, 3), np.float32)
    if joint:
        keypoints[0, 9] = *joint, 2
    box, area = np.array([[x0, y0, x1, y1]], np.float32), np.array([(x1 - x0) * (y1 - y0)], np.float32)
    return Sample(np.zeros((HEIGHT, WIDTH, 3), np.uint8), keypoints, box, area, np.zeros(1, bool), 7)


def shift(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y]], np.float32)


@settings(max_examples=30, deadline=None)
@given(x=st.integers(3, 27), y=st.integers(3, 17), size=st.sampled_from([(21, 31), (40, 64), (63, 62)]))
def test_resize_keeps_the_joint_on_its_pixel(x, y, size):
    out = transforms.resize(lit_pixel(x, y), size)
    assert out.image.shape[:2] == size
    np.testing.assert_allclose(brightest(out.image), out.keypoints[0, 0, :2], atol=0.5)
    assert out.area[0] == pytest.approx(size[0] * size[1] / (21 * 31))


@settings(max_examples=30, deadline=None)
@given(x=st.floats(10, 73), y=st.floats(10, 51), size=st.sampled_from([(61, 83), (122, 166), (50, 120), (45, 60)]))
def test_resize_keeps_joint_and_mask_on_the_light(x, y, size):
    out = transforms.resize(lit_spot(x, y), size)
    np.testing.assert_allclose(brightest(out.image, 130), out.keypoints[0, 0, :2], atol=0.1)
    np.testing.assert_allclose(centre_of(out.masks[0]), out.keypoints[0, 0, :2], atol=0.5)


@settings(max_examples=60, deadline=None)
@given(x=st.floats(10, 73), y=st.floats(10, 51), seed=st.integers(0, 10**6), zoom=st.floats(1, 2))
def test_a_warp_keeps_joint_and_mask_on_the_light(x, y, seed, zoom):
    sample, size = lit_spot(x, y), (55, 71)
    matrix = transforms.random_matrix((HEIGHT, WIDTH), size, zoom, ALL, np.random.default_rng(seed))
    out = transforms.warp(sample, matrix, size)
    true = matrix[:, :2].astype(float) @ (x, y) + matrix[:, 2]
    margin = 9 * np.linalg.norm(matrix[:, :2], 2)  # the light's radius
    if (true > margin).all() and (true < np.array([71, 55]) - margin).all():
        np.testing.assert_allclose(out.keypoints[0, 0, :2], true, atol=1e-3)
        np.testing.assert_allclose(brightest(out.image, 130), true, atol=0.15)
        np.testing.assert_allclose(centre_of(out.masks[0]), true, atol=0.5)
        x0, y0, x1, y1 = out.boxes_xyxy[0]
        assert x0 < true[0] < x1
        assert y0 < true[1] < y1
    if not ((true >= 0).all() and (true < (71, 55)).all()):
        assert not len(out.keypoints) or not out.keypoints[0, 0].any()


def test_a_warp_that_only_resizes_is_a_resize():
    rng = np.random.default_rng(0)
    sample = lit_spot(40, 30)._replace(image=rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    size = (92, 111)
    matrix = transforms.random_matrix((HEIGHT, WIDTH), size, 1.0, Augmentation(), rng)
    warped, resized = transforms.warp(sample, matrix, size), transforms.resize(sample, size)
    difference = warped.image[2:-2, 2:-2].astype(int) - resized.image[2:-2, 2:-2]  # a warp shows outside at the edges
    assert abs(difference).max() <= 4  # of 255: OpenCV's weights have 5 bits in one, 11 in the other
    np.testing.assert_allclose(warped.keypoints, resized.keypoints, rtol=1e-6)
    assert (warped.masks != resized.masks).mean() < 1e-3


@settings(max_examples=10, deadline=None)
@given(x=st.integers(0, 30), y=st.integers(0, 20))
def test_flip_keeps_the_joint_on_its_pixel_and_is_its_own_inverse(x, y):
    sample = lit_pixel(x, y)
    sample = sample._replace(masks=sample.image[None, ..., 0] > 0)
    out = transforms.flip(sample, COCO)
    np.testing.assert_allclose(brightest(out.image), out.keypoints[0, 0, :2])
    np.testing.assert_array_equal(out.masks[0], out.image[..., 0] > 0)
    np.testing.assert_array_equal(out.boxes_xyxy, [[30 - x, y, 31 - x, y + 1]])
    again = transforms.flip(out, COCO)
    for before, after in zip(sample, again, strict=True):
        np.testing.assert_array_equal(before, after)


def test_flip_swaps_left_and_right_and_leaves_unlabelled_joints_at_zero():
    sample = lit_pixel(4, 4)
    left, right = COCO.keypoint_names.index("left_wrist"), COCO.keypoint_names.index("right_wrist")
    sample.keypoints[0, left] = 10, 8, 1
    out = transforms.flip(sample, COCO)
    assert out.keypoints[0, right].tolist() == [21, 8, 1]  # 31 - 10
    assert out.keypoints[0, left].tolist() == [0, 0, 0]


def test_resized_size_takes_the_shorter_side_unless_the_longer_is_too_long():
    assert transforms.resized_size(480, 640, 800, 1333) == (800, 1067)  # 640 * 5 / 3 = 1066.7
    assert transforms.resized_size(200, 640, 800, 1333) == (417, 1333)  # 200 * 1333 / 640 = 416.6


def test_resize_scales_boxes_by_each_axis_own_ratio():
    out = transforms.resize(lit_pixel(4, 6), (42, 93))  # 21 x 31 pixels: twice as high, three times as wide
    assert out.boxes_xyxy.tolist() == [[12, 12, 15, 14]]


def test_what_is_cropped_away_is_unlabelled_or_gone():
    """The frame stays 61 x 83 pixels; the person is moved out of it to the left, step by step."""
    sample = person(10, 10, 30, 50, joint=(12, 20))
    half = transforms.warp(sample, shift(-20, 0), (HEIGHT, WIDTH))
    assert half.boxes_xyxy.tolist() == [[0, 10, 10, 50]]
    assert half.area.tolist() == [400]  # half of 20 x 40
    assert not half.keypoints.any()  # 12 - 20 is outside
    gone = transforms.warp(sample, shift(-30, 0), (HEIGHT, WIDTH))
    assert [len(field) for field in (gone.keypoints, gone.boxes_xyxy, gone.area, gone.is_crowd)] == [0, 0, 0, 0]
    at_edge = transforms.warp(sample, shift(-12, 0), (HEIGHT, WIDTH))
    assert at_edge.keypoints[0, 9].tolist() == [0, 20, 2]
    assert not transforms.warp(sample, shift(71, 0), (HEIGHT, WIDTH)).keypoints.any()  # 83 is the first x outside
    assert transforms.warp(sample, shift(70.5, 0), (HEIGHT, WIDTH)).keypoints[0, 9].tolist() == [82.5, 20, 2]


def test_a_known_mask_decides_what_is_left_of_a_person():
    sample = person(10, 10, 30, 50)
    mask = np.zeros((1, HEIGHT, WIDTH), bool)
    mask[0, 10:50, 10:14] = True  # the person is at the left of the box
    moved = transforms.warp(sample._replace(masks=mask), shift(-12, 0), (HEIGHT, WIDTH))
    assert moved.area.tolist() == [80]
    assert moved.boxes_xyxy.tolist() == [[0, 10, 2, 50]]
    assert len(transforms.warp(sample._replace(masks=mask), shift(-14, 0), (HEIGHT, WIDTH)).area) == 0
    unknown = transforms.warp(sample._replace(masks=np.zeros_like(mask)), shift(-14, 0), (HEIGHT, WIDTH))
    assert unknown.area.tolist() == [16 * 40]
    # A joint may be labelled where the person is hidden.
    hidden = transforms.warp(person(10, 10, 30, 50, joint=(20, 20))._replace(masks=mask), shift(-14, 0), (61, 83))
    assert hidden.keypoints[0, 9].tolist() == [6, 20, 2]
    assert (hidden.area.tolist(), hidden.boxes_xyxy.tolist()) == ([16 * 40], [[0, 10, 16, 50]]), "those of the box"


def test_without_a_mask_the_area_is_the_share_of_the_turned_box_that_is_left():
    sample = person(31.5, 20.5, 51.5, 40.5)  # about the centre of the image
    cos = np.sqrt(0.5)
    turn = np.array([[cos, -cos, 0], [cos, cos, 0]])
    turn[:, 2] = (41.5, 30.5) - turn[:, :2] @ (41.5, 30.5)
    whole = transforms.warp(sample, turn.astype(np.float32), (HEIGHT, WIDTH))
    assert whole.area[0] == pytest.approx(400)
    radius = 10 * np.sqrt(2)
    np.testing.assert_allclose(whole.boxes_xyxy[0], [41.5 - radius, 30.5 - radius, 41.5 + radius, 30.5 + radius], 1e-5)
    turn[0, 2] -= 41.5  # its centre on the left edge
    assert transforms.warp(sample, turn.astype(np.float32), (HEIGHT, WIDTH)).area[0] == pytest.approx(200, rel=1e-4)


def test_a_crop_never_shows_what_lies_outside_the_image():
    """With jitter alone, the corners of the frame come from inside the image."""
    for seed in range(50):
        rng = np.random.default_rng(seed)
        zoom = rng.uniform(1, 3)
        matrix = transforms.random_matrix((40, 60), (80, 121), zoom, Augmentation(), rng).astype(float)
        low, high = (np.linalg.solve(matrix[:, :2], corner - matrix[:, 2]) for corner in ((0, 0), (121, 80)))
        assert (low > -1e-3).all()
        assert (high < np.array([60, 40]) + 1e-3).all()
        np.testing.assert_allclose((high - low) * zoom, (60, 40), rtol=1e-4)


def test_crops_lie_anywhere_in_the_image():
    rng = np.random.default_rng(0)
    drawn = np.stack(
        [transforms.random_matrix((50, 50), (50, 50), 3.0, Augmentation(), rng)[:, 2] for _ in range(2000)]
    )
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.1
    quantiles = np.quantile(-drawn, [0, 0.25, 0.5, 0.75, 1], axis=0)
    np.testing.assert_allclose(quantiles, np.outer([0, 25, 50, 75, 100], [1, 1]), atol=5)  # of 150 - 50 pixels


def test_random_matrices_have_the_ranges_of_their_fields():
    rng = np.random.default_rng(0)
    fields = Augmentation(rotation=20.0, scale=(0.5, 2.0), translation=0.1)
    drawn = np.stack([transforms.random_matrix((50, 50), (100, 100), 1.0, fields, rng) for _ in range(2000)])
    angles = np.degrees(np.arctan2(drawn[:, 1, 0], drawn[:, 0, 0]))
    scales = np.hypot(drawn[:, 1, 0], drawn[:, 0, 0]) / 2
    shifts = drawn[:, :, :2] @ (25, 25) + drawn[:, :, 2] - 50
    for values, most in ((angles, 20), (np.log2(scales), 1), (shifts[:, 0], 10), (shifts[:, 1], 10)):
        assert abs(values).max() <= most + 1e-3
        quantiles = np.quantile(values, [0.25, 0.5, 0.75])
        np.testing.assert_allclose(quantiles, (-most / 2, 0, most / 2), atol=most / 10)


def test_random_colours_have_the_ranges_of_their_fields():
    rng = np.random.default_rng(0)
    fields = Augmentation(brightness=0.1, contrast=0.2)
    drawn = np.stack([transforms.random_colours(fields, rng) for _ in range(2000)])
    contrast = drawn[:, 0, 0] - 1
    brightness = (drawn[:, 0, 3] + contrast * 127.5) / 255
    for values, most in ((contrast, 0.2), (brightness, 0.1)):
        assert abs(values).max() <= most + 1e-5
        np.testing.assert_allclose(np.quantile(values, [0.25, 0.5, 0.75]), (-most / 2, 0, most / 2), atol=most / 10)


def test_colours_change_as_their_fields_say():
    rng = np.random.default_rng(1)
    image = rng.integers(90, 160, (40, 50, 3), dtype=np.uint8)
    grey = np.repeat(image[..., :1], 3, 2)

    def recoloured(pixels: np.ndarray, *strengths: float) -> np.ndarray:
        return transforms.recolour(
            lit_pixel(0, 0)._replace(image=pixels), transforms.colour_matrix(*map(float, strengths))
        ).image

    np.testing.assert_array_equal(recoloured(image, 0, 0, 0, 0), image)
    np.testing.assert_array_equal(recoloured(image, 0, 0, 0, 0.2), image + 51)
    np.testing.assert_allclose(recoloured(image, 0, 0, 0.5, 0), 127.5 + 1.5 * (image - 127.5), atol=0.5)
    assert recoloured(image, 0, 0, 0, 1).min() == 255
    # Saturation and hue leave grey as it is; -1 leaves nothing but luminance, a third of a turn exchanges channels.
    # OpenCV's fixed point adds .1 to the half of rounding.
    np.testing.assert_array_equal(recoloured(grey, 0.7, 40, 0, 0), grey)
    luminance = image @ (0.299, 0.587, 0.114)
    np.testing.assert_allclose(recoloured(image, -1, 0, 0, 0), np.repeat(luminance[..., None], 3, 2), atol=0.6)
    np.testing.assert_allclose(recoloured(image, 0.3, 0, 0, 0) @ (0.299, 0.587, 0.114), luminance, atol=0.6)
    np.testing.assert_array_equal(recoloured(image, 0, 120, 0, 0), image[..., [2, 0, 1]])


def test_masks_are_needed_only_where_parts_of_people_may_leave_the_frame():
    def needed(**fields):
        return transforms.needs_masks(Data(augmentation=Augmentation(**fields)))

    assert not needed()
    assert not needed(hue=20.0, brightness=0.2, large_scale_jitter=(0.3, 1.0))
    for fields in ({"rotation": 5.0}, {"scale": (0.8, 1.0)}, {"translation": 0.1}, {"large_scale_jitter": (1.0, 1.5)}):
        assert needed(**fields)


@pytest.mark.parametrize("seed", range(6))
def test_on_drawn_people_everything_agrees_with_a_look_at_every_pixel(seed):
    """Each pixel of the frame looks up, in plain loops, where it comes from and whom it shows."""
    source = DrawnPeople(Scene(num_people=(2, 4)), "test", 5, 6, with_masks=True)
    sample = source[seed]
    assert sample.masks.sum((1, 2)).tolist() == sample.area.tolist()
    assert source[seed].image.shape == (128, 128, 3)
    rng = np.random.default_rng(seed)
    size, zoom = (150, 180), float(rng.uniform(1, 1.6))
    matrix = transforms.random_matrix((128, 128), size, zoom, ALL, rng)
    out = transforms.warp(sample, matrix, size)

    inverse = np.linalg.inv(np.vstack([matrix.astype(float), (0, 0, 1)]))
    counted = np.zeros(len(sample.area))
    boxes = np.array([[size[1], size[0], 0, 0]] * len(sample.area), float)
    for row in range(size[0]):
        for column in range(size[1]):
            x, y, _ = inverse @ (column + 0.5, row + 0.5, 1)
            if 0 <= x < 128 and 0 <= y < 128:
                for number in np.flatnonzero(sample.masks[:, int(y), int(x)]):
                    counted[number] += 1
                    boxes[number, :2] = np.minimum(boxes[number, :2], (column, row))
                    boxes[number, 2:] = np.maximum(boxes[number, 2:], (column + 1, row + 1))
    places = [matrix.astype(float) @ (*joint[:2], 1) for person in sample.keypoints for joint in person]
    inside = [0 <= x < size[1] and 0 <= y < size[0] for x, y in places]
    joints = np.array(inside).reshape(-1, 17) & (sample.keypoints[..., 2] > 0)
    kept = joints.any(1) | (counted > 0)
    assert len(out.area) == kept.sum() > 0
    np.testing.assert_allclose(out.area, counted[kept], rtol=0.03, atol=4)  # a border is half a pixel's matter
    large = counted[kept] > 50
    np.testing.assert_allclose(out.boxes_xyxy[large], boxes[kept][large], atol=2)
    np.testing.assert_array_equal(out.keypoints[..., 2], np.where(joints, sample.keypoints[..., 2], 0)[kept])
    moved = np.array(places).reshape(-1, 17, 2)[kept]
    np.testing.assert_allclose(out.keypoints[..., :2], np.where(joints[kept][..., None], moved, 0), atol=1e-3)

    # The colour at a joint is the one it had: edges apart, where half a pixel matters.
    for before, after in zip(sample.keypoints[kept], out.keypoints, strict=True):
        for old, new in zip(before, after, strict=True):
            x, y = int(old[0]), int(old[1])
            patch = sample.image[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].reshape(-1, 3).astype(int)
            if new[2] > 0 and 1 <= x < 127 and 1 <= y < 127 and np.ptp(patch, axis=0).max() < 20:
                seen = out.image[int(new[1]), int(new[0])].astype(int)
                assert (seen >= patch.min(0) - 1).all()
                assert (seen <= patch.max(0) + 1).all()

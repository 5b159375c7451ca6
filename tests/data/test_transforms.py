"""A joint on a lit pixel stays on it under every transform, and left stays left."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspose_jax.data import transforms
from inspose_jax.skeletons import COCO
from inspose_jax.structures import Sample


def lit_pixel(x: int, y: int, height: int = 21, width: int = 31) -> Sample:
    """A black image with one white pixel and the nose at its centre."""
    image = np.zeros((height, width, 3), np.uint8)
    image[y, x] = 255
    keypoints = np.zeros((1, 17, 3), np.float32)
    keypoints[0, 0] = x + 0.5, y + 0.5, 2
    box = np.array([[x, y, x + 1, y + 1]], np.float32)
    return Sample(image, keypoints, box, np.ones(1, np.float32), np.zeros(1, bool), 7)


def brightest(image: np.ndarray) -> np.ndarray:
    """Centre of mass (x, y) of the light, in continuous pixels."""
    weight = image[..., 0].astype(float)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


@settings(max_examples=30, deadline=None)
@given(x=st.integers(3, 27), y=st.integers(3, 17), size=st.sampled_from([(21, 31), (40, 64), (63, 62)]))
def test_resize_keeps_the_joint_on_its_pixel(x, y, size):
    out = transforms.resize(lit_pixel(x, y), size)
    assert out.image.shape[:2] == size
    np.testing.assert_allclose(brightest(out.image), out.keypoints[0, 0, :2], atol=0.5)
    assert out.area[0] == pytest.approx(size[0] * size[1] / (21 * 31))


@settings(max_examples=10, deadline=None)
@given(x=st.integers(0, 30), y=st.integers(0, 20))
def test_flip_keeps_the_joint_on_its_pixel_and_is_its_own_inverse(x, y):
    sample = lit_pixel(x, y)
    out = transforms.flip(sample, COCO)
    np.testing.assert_allclose(brightest(out.image), out.keypoints[0, 0, :2])
    np.testing.assert_array_equal(out.boxes_xyxy, [[30 - x, y, 31 - x, y + 1]])
    again = transforms.flip(out, COCO)
    for before, after in zip(sample[:5], again[:5], strict=True):
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

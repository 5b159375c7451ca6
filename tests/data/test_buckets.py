"""Padding: which people are targets or ignore regions, and what blank images contain."""

import numpy as np
import pytest
import tiny

from inspose_jax.data import buckets, transforms
from inspose_jax.structures import Sample


def sample(people: list[np.ndarray], crowd: list[bool] | None = None, size: tuple[int, int] = (40, 50)) -> Sample:
    keypoints = np.stack(people) if people else np.zeros((0, 17, 3), np.float32)
    number = len(people)
    boxes = np.array([[i, 0, i + 10, 20] for i in range(number)], np.float32).reshape(-1, 4)
    is_crowd = np.array(crowd or [False] * number, bool)
    return Sample(np.full((*size, 3), 9, np.uint8), keypoints, boxes, np.ones(number, np.float32), is_crowd, 3)


def pad(one: Sample | None, model=tiny.MODEL):
    batch = buckets.blank_batch(np.zeros((1, 64, 64, 3), np.uint8), model, 2)
    if one is not None:
        height, width = one.image.shape[:2]
        resized = transforms.resize(one, (height, width), batch.image[0, :height, :width])
        buckets.put_labels(batch, [buckets.Placed(0, resized, (20, 100))], model)
    return batch


def test_images_are_padded_at_the_right_and_bottom():
    batch = pad(sample([]))
    assert batch.image.dtype == np.uint8
    assert batch.image[0, :40, :50].min() == 9
    assert batch.image.sum() == 40 * 50 * 3 * 9
    assert batch.size[0].tolist() == [40, 50]
    assert batch.scale[0].tolist() == [0.5, 2.0]  # x: 50 / 100, y: 40 / 20


def test_crowds_and_people_without_joints_are_ignore_regions_not_targets():
    people = [tiny.person(1, 1, 9, 9), tiny.person(2, 2, 8, 8), np.zeros((17, 3), np.float32)]
    batch = pad(sample(people, [False, True, False]))
    assert batch.is_person[0].tolist() == [True, False, False, False]
    np.testing.assert_array_equal(batch.keypoints[0, 0], people[0])
    assert batch.ignore_boxes[0].tolist() == [[1, 0, 11, 20], [2, 0, 12, 20]]
    off = pad(sample(people, [False, True, False]), tiny.model(ignore_unlabelled=False))
    assert not off.ignore_boxes.any()


def test_if_there_are_too_many_people_the_smallest_become_ignore_regions_and_are_counted():
    people = [tiny.person(0, 0, side, side) for side in (30, 5, 20, 10, 15)]
    batch = pad(sample(people), tiny.model(num_people=3))
    np.testing.assert_array_equal(batch.keypoints[0], np.stack([people[0], people[2], people[4]]))
    assert batch.people_dropped[0] == 2
    assert sorted(batch.ignore_boxes[0, :, 0].tolist()) == [1, 3]


def test_a_blank_image_has_no_size_and_nobody():
    batch = pad(None)
    assert not batch.is_real[0]
    assert batch.size[0].tolist() == [0, 0]
    assert not batch.is_person.any()


def test_the_smallest_shape_that_holds_an_image_is_chosen():
    shapes = ((64, 96), (96, 64), (64, 64))
    sizes = np.array([[60, 60], [60, 90], [90, 60], [64, 96]], np.int32)
    assert buckets.choose_shapes(sizes, shapes).tolist() == [2, 0, 1, 0]
    with pytest.raises(ValueError, match=r"97 x 20 pixels .* fits none"):
        buckets.choose_shapes(np.array([[97, 20]], np.int32), shapes)


def test_the_kept_people_stay_in_the_order_of_the_file():
    people = [tiny.person(0, 0, side, side) for side in (15, 5, 30)]
    np.testing.assert_array_equal(pad(sample(people), tiny.model(num_people=2)).keypoints[0], [people[0], people[2]])


def test_joints_without_a_label_do_not_enlarge_a_pseudo_box():
    far, near = tiny.person(30, 30, 40, 40), tiny.person(0, 0, 20, 20)
    far[8] = 0  # from (0, 0) the box would have 1600 pixels, more than 400
    np.testing.assert_array_equal(pad(sample([far, near]), tiny.model(num_people=1)).keypoints[0], [near])


def test_people_beyond_num_people_are_ignore_regions_even_if_the_unlabelled_are_not():
    people = [np.zeros((17, 3), np.float32), tiny.person(0, 0, 5, 5), tiny.person(0, 0, 9, 9)]
    batch = pad(sample(people), tiny.model(num_people=1, ignore_unlabelled=False))
    assert batch.ignore_boxes[0].tolist() == [[1, 0, 11, 20], [0, 0, 0, 0]]


def test_if_there_are_too_many_ignore_regions_the_largest_are_kept():
    crowds = sample([np.zeros((17, 3), np.float32)] * 3, [True] * 3)
    crowds = crowds._replace(boxes_xyxy=np.array([[0, 0, 2, 2], [0, 0, 9, 9], [0, 0, 5, 5]], np.float32))
    assert pad(crowds).ignore_boxes[0].tolist() == [[0, 0, 9, 9], [0, 0, 5, 5]]


@pytest.mark.parametrize("fields", [{}, {"ignore_unlabelled": False}, {"num_people": 2}])
def test_images_do_not_mix_in_a_batch(fields):
    rng, model = np.random.default_rng(0), tiny.model(**fields)
    placed = []
    for row in (0, 1, 3, 4, 6):  # rows 2 and 5 stay blank
        number = int(rng.integers(0, 9))
        keypoints = rng.integers(0, 40, (number, 17, 3)).astype(np.float32)
        keypoints[..., 2] = rng.random((number, 1)) < 0.8
        boxes = np.sort(rng.integers(0, 40, (number, 2, 2)), axis=1).reshape(-1, 4).astype(np.float32)
        area, is_crowd = rng.random(number).astype(np.float32), rng.random(number) < 0.2
        one = Sample(np.zeros((40 + row, 50, 3), np.uint8), keypoints, boxes, area, is_crowd, row)
        placed.append(buckets.Placed(row, one, (20, 100), 1.5))
    together = buckets.blank_batch(np.zeros((7, 64, 64, 3), np.uint8), model, 2)
    buckets.put_labels(together, placed, model)
    assert together.is_real.tolist() == [True, True, False, True, True, False, True]
    for row in range(7):
        alone = buckets.blank_batch(np.zeros((1, 64, 64, 3), np.uint8), model, 2)
        buckets.put_labels(alone, [one._replace(row=0) for one in placed if one.row == row], model)
        for found, expected in zip(together, alone, strict=True):
            np.testing.assert_array_equal(found[row], expected[0])

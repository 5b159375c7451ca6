"""What is counted and measured in a dataset, by hand values."""

import numpy as np
import pytest

from inspose_jax import config
from inspose_jax.data import stats
from inspose_jax.skeletons import COCO

DATA = config.Data(short_side=(32, 32), test_short_side=64, long_side=128, shapes=((64, 128), (128, 64)))


def person(image, box, *visibility, **fields):
    joints = [number for v in (*visibility, *[0] * (17 - len(visibility))) for number in (1, 1, v)]
    return {"image_id": image, "bbox": box, "keypoints": joints, "iscrowd": 0, **fields}


@pytest.fixture(scope="module")
def content():
    sizes = {7: (100, 200), 5: (200, 100), 6: (100, 100)}
    return {
        "images": [{"id": number, "height": height, "width": width} for number, (height, width) in sizes.items()],
        "annotations": [
            person(5, [0, 0, 50, 50], 2, 1),
            person(5, [0, 0, 100, 25], 2, 0, 2),
            person(7, [9, 9, 25, 25]),  # without joints
            person(6, [0, 0, 9, 9], iscrowd=1),
        ],
    }


@pytest.fixture(scope="module")
def measured(content):
    return stats.measure(content, np.array([True, True, False]), COCO, DATA)


def test_people_and_joints_are_counted_without_crowds(measured):
    assert measured.people_per_image.tolist() == [1, 2, 0]  # in the order of the file
    assert measured.joints_per_person.tolist() == [2, 2]
    assert (measured.num_people, measured.num_crowds) == (3, 1)
    assert measured.is_labelled[:4].tolist() == [1, 0.5, 0.5, 0]  # of the two people with joints
    assert measured.is_seen[:4].tolist() == [1, 0, 1, 0]


def test_boxes_are_measured_at_test_scale(measured):
    # All images are tested at .64 of their size.
    assert measured.box_sides == pytest.approx([0.64 * 50, 0.64 * 50, 0.64 * 25])


def test_padding_is_the_share_of_all_pixels(measured):
    test, train = measured.test_padding, measured.train_padding
    # 64 x 128 and 128 x 64 fit; the square one fills half of the first shape.
    assert test.images == {(64, 128): 2, (128, 64): 1}
    assert test.share == pytest.approx({(64, 128): 0.25, (128, 64): 0})
    assert test.total == pytest.approx(1 / 6)
    # In training all are half as large, 32 x 64 and 64 x 32; the third is not trained on.
    assert train.total == pytest.approx(1 - 2 * 32 * 64 / (2 * 64 * 128))


def test_training_sizes_are_all_that_may_be_drawn():
    two = config.Data(short_side=(32, 64), short_side_step=32, test_short_side=64, long_side=128, shapes=DATA.shapes)
    cost = stats.trained_padding(np.array([(100, 200), (200, 100), (100, 200)], np.int32), two)
    # Half of the time an image has 32 x 64 pixels, a quarter of the first shape; otherwise it fills its own.
    assert cost.images == pytest.approx({(64, 128): 2.5, (128, 64): 0.5})
    assert cost.total == pytest.approx(1 - (0.25 + 1) / 2)


def test_an_image_that_is_padded_to_its_own_size_pads_less():
    own = config.Data(test_short_side=64, long_side=128, shapes=DATA.shapes, test_padding="own")
    cost = stats.tested_padding(np.array([(64, 40), (64, 128)], np.int32), own)
    assert cost.share == pytest.approx({(64, 64): 1 - 40 / 64, (64, 128): 0})


def test_quantiles_are_values_that_occur():
    assert list(stats.quantiles(np.array([5, 1, 2, 3, 4])).values()) == [1, 1, 3, 5, 5]
    assert stats.quantiles(np.array([])) == {}


def test_a_dataset_without_people_is_measured(content):
    empty = stats.measure({**content, "annotations": []}, np.ones(3, bool), COCO, DATA)
    tables = stats.tables(empty, COCO)
    assert ["people", "0"] in tables["Counts"]
    assert [row[0] for row in tables["Spread"]] == [
        "",
        "people an image",
        "height, pixels",
        "width, pixels",
        "width / height",
    ]
    assert tables["Joints"][1] == ["nose", "0.0%", "0.0%"]


def test_the_tables_have_the_numbers(measured):
    tables = stats.tables(measured, COCO)
    assert tables["Counts"][1:] == [
        ["images", "3"],
        ["of these without people", "1"],
        ["people", "3"],
        ["of these with labelled joints", "2"],
        ["crowds", "1"],
    ]
    assert tables["Spread"][:2] == [["", "least", "5 %", "median", "95 %", "most"], ["people an image", *"00122"]]
    assert tables["Joints"][2] == ["left_eye", "50.0%", "0.0%"]
    assert tables["Padding"][1:4] == [
        ["test: 64 x 128", "2", "25.0%"],
        ["test: 128 x 64", "1", "0.0%"],
        ["test: all", "3", "16.7%"],
    ]

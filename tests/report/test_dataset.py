"""The page of a dataset: its plots show the measured numbers."""

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from inspose_jax.data.shapes import Padding
from inspose_jax.data.stats import Stats
from inspose_jax.report import dataset
from inspose_jax.skeletons import COCO

NOBODY = np.zeros(0, np.int64)
PADDING = Padding({(64, 128): 3, (128, 64): 1}, {(64, 128): 0.25, (128, 64): 0.5}, 0.3)
SIZES = np.array([(100, 200), (100, 200), (200, 100)], np.int32)
LABELLED = np.linspace(0, 1, 17)
STATS = Stats(SIZES, np.array([0, 2, 2]), np.array([3, 4]), 4, 1, LABELLED, LABELLED / 2, np.ones(4), PADDING, PADDING)


def axis_of(plot):
    axis = Figure().subplots()
    plot(axis)
    return axis


def bars(axis, which=0):
    return [bar.get_height() for bar in axis.containers[which]]


def lengths(axis, which=0):
    return [bar.get_width() for bar in axis.containers[which]]


def test_counts_have_a_bar_each_and_the_last_takes_the_rest():
    assert bars(axis_of(dataset.counts(np.array([0, 2, 2]), "people", "images"))) == [1, 0, 2]
    axis = axis_of(dataset.counts(np.array([1, dataset.MOST_BARS, 500]), "people", "images"))
    assert bars(axis)[-1] == 2
    assert axis.get_xlabel() == "people (the last bar: 60 or more)"
    assert bars(axis_of(dataset.counts(NOBODY, "people", "images"))) == []


@pytest.mark.parametrize(("values", "scale"), [([1.0, 2.0, 5.0], "linear"), ([1.0, 30.0], "log"), ([3.0], "linear")])
def test_measures_are_all_shown_on_a_fitting_scale(values, scale):
    axis = axis_of(dataset.measures(np.array(values), "pixels", "people"))
    assert sum(bars(axis)) == len(values)
    assert axis.get_xscale() == scale


def test_joints_are_divided_into_visible_and_hidden():
    axis = axis_of(dataset.joints(STATS, COCO))
    assert lengths(axis, 0) == pytest.approx(100 * LABELLED)
    assert lengths(axis, 1) == pytest.approx(50 * LABELLED**2)
    assert axis.get_yticklabels()[0].get_text() == "nose"


def test_images_of_a_shape_are_divided_into_pixels_and_padding():
    axis = axis_of(dataset.padded(PADDING))
    assert lengths(axis, 0) == [3, 1]
    assert lengths(axis, 1) == [3 * 0.75, 0.5]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["64 x 128", "128 x 64"]


def test_different_sizes_are_points():
    points = axis_of(dataset.scatter(SIZES)).collections[0]
    assert points.get_offsets().tolist() == [[200, 100], [100, 200]]
    assert points.get_sizes()[0] > points.get_sizes()[1]


def test_the_page_stands_alone_and_shows_every_number():
    content = dataset.page_of(STATS, COCO, "Dataset <a>", "a.json; shapes of b")
    assert content.count('<img src="data:image/svg+xml;base64,') == 8
    assert not re.search(r"(src|href)=\"(?!data:)", content)
    assert "<h1>Dataset &lt;a&gt;</h1>" in content
    assert re.findall(r"<h2>(.*?)</h2>", content) == ["People", "Images", "Padding", "Joints"]
    assert "<dt>padding at test scale</dt><dd>30.0%</dd>" in content
    assert "<tr><td>test: 64 x 128</td><td>3</td><td>25.0%</td></tr>" in content
    assert "<tr><td>right_ankle</td><td>100.0%</td><td>50.0%</td></tr>" in content

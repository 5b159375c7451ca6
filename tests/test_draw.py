"""Drawing: colours and shapes of joints and boxes show what they are, at the places that the labels give."""

import numpy as np
import pytest

from inspose_jax import draw
from inspose_jax.skeletons import COCO, PRESETS
from inspose_jax.structures import Sample


def sample(*people: tuple[dict[int, tuple[float, float, int]], tuple[float, float, float, float], bool]) -> Sample:
    """A black image of 100 x 200 pixels with people: (joints by index, box, is a crowd)."""
    keypoints = np.zeros((len(people), 17, 3), np.float32)
    for n, (joints, _, _) in enumerate(people):
        for k, joint in joints.items():
            keypoints[n, k] = joint
    boxes = np.array([box for _, box, _ in people], np.float32).reshape(-1, 4)
    crowds = np.array([crowd for *_, crowd in people], bool)
    return Sample(np.zeros((100, 200, 3), np.uint8), keypoints, boxes, np.ones(len(people), np.float32), crowds, 7)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(100, 200, (200, 400)), (1000, 500, (400, 200)), (3, 999, (1, 400))]
)
def test_scaled_gives_the_longer_side_and_the_factors_for_points(height, width, size):
    image, ratio = draw.scaled(np.zeros((height, width, 3), np.uint8), 400)
    assert image.shape == (*size, 3)
    np.testing.assert_allclose(ratio * [width, height], size[::-1], rtol=1e-6)


def test_a_seen_joint_is_a_dot_and_a_hidden_one_a_ring():
    labels = draw.draw_labels(sample(({9: (50, 50, 2), 10: (150, 50, 1)}, (0, 0, 1, 1), False)), COCO, 800)
    colours = draw.label_colours(COCO)
    assert tuple(labels[200, 200]) == colours[9]
    assert labels[200, 600].max() < 100
    ring = labels[200, 600 + 3].astype(int)  # 1.2 * 2 + .8 pixels from its middle, 2 thick
    assert np.abs(ring - colours[10]).max() < 20


def test_box_colours_show_who_is_a_target():
    person, unlabelled, crowd = (10, 10, 40, 90), (60, 10, 90, 90), (110, 10, 190, 90)
    labels = draw.draw_labels(
        sample(({0: (25, 30, 2)}, person, False), ({}, unlabelled, False), ({}, crowd, True)), COCO, 200
    ).astype(int)
    for (x0, *_), colour in ((person, draw.PERSON_BOX), (unlabelled, draw.UNLABELLED_BOX), (crowd, draw.CROWD_BOX)):
        strongest = labels[40:60, x0 - 1 : x0 + 2].max((0, 1))
        assert np.abs(strongest - 0.75 * np.array(colour)).max() < 70  # translucent, and smoothed over two pixels
        assert (strongest > 40).tolist() == (np.array(colour) > 60).tolist()
    assert labels[15:85, 15:20].max() == 0
    assert labels[15:85, 65:85].max() == 0
    is_red = labels[15:85, 115:185, 0] > 100
    assert 0.1 < is_red.mean() < 0.25  # two of every twelve pixels


def test_joints_outside_the_image_draw_nothing():
    outside = sample(
        ({0: (-50, 500, 2), 1: (500, 50, 1)}, (300, 300, 400, 400), False),
        ({}, (-400, -400, -300, -300), False),
        ({}, (300, 300, 400, 400), True),
    )
    painted, plain = (draw.draw_labels(labels, COCO, 64) for labels in (outside, sample()))
    np.testing.assert_array_equal(painted, plain)


def test_the_caption_counts_every_person_once():
    joints = {0: (5.0, 5.0, 2)}
    box = (0, 0, 10, 10)
    assert draw.describe_labels(sample()) == "image 7: 0 people"
    assert draw.describe_labels(sample((joints, box, False))) == "image 7: 1 person"
    everybody = [(joints, box, False)] * 2 + [({}, box, False)] * 3 + [({}, box, True), (joints, box, True)]
    assert draw.describe_labels(sample(*everybody)) == "image 7: 2 people, 3 without joints, 2 crowd"


def test_the_caption_is_above_the_image():
    image = np.full((20, 300, 3), 7, np.uint8)
    captioned = draw.captioned(image, "image 7")
    assert (captioned[-20:] == image).all()
    strip = captioned[:-20]
    assert strip.max() == 255
    assert strip[:, :60].min() < 100
    assert strip[:, 150:].min() == 255


def test_the_name_of_the_file_is_below_it():
    image = np.full((20, 300, 3), 7, np.uint8)
    captioned = draw.captioned(image, "image 7", "sub/7\udc80.jpg")  # not every name is valid text
    assert (captioned[draw.LINE : draw.LINE + 20] == image).all()
    assert captioned[draw.LINE + 20 :].min() < 100


@pytest.mark.parametrize("skeleton", PRESETS.values(), ids=PRESETS)
def test_every_joint_of_a_label_has_a_colour_of_its_own(skeleton):
    colours = np.array(draw.label_colours(skeleton))
    apart = np.abs(colours[:, None] - colours).sum(-1) + 1000 * np.eye(len(colours))
    assert apart.min() > (50 if skeleton.num_keypoints < 30 else 0)


def test_the_legend_has_every_name_beside_its_colour_in_as_many_lines_as_it_needs():
    names, colours = ["left ear", "right ear", "tail"], [(255, 0, 0), (0, 0, 255), (0, 255, 0)]
    for width, lines in ((600, 1), (180, 2), (90, 3), (5, 3)):
        strip = draw.legend(names, colours, width)
        assert strip.shape == (lines * draw.LINE, width, 3)
    wide = draw.legend(names, colours, 600)
    firsts = [int(np.argwhere((wide == colour).all(-1))[:, 1].min()) for colour in colours]
    assert firsts == sorted(firsts)
    assert firsts[0] == 2
    assert min(np.diff(firsts)) > 40  # the names

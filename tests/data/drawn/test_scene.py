"""Drawn people are as difficult as documented, and their labels agree with the image."""

import contextlib
import io
import json

import checked
import numpy as np
import pytest
from pycocotools.coco import COCO as CocoApi

from inspose_jax.config import Scene
from inspose_jax.data.coco import write_folder
from inspose_jax.data.drawn.body import JOINT
from inspose_jax.data.drawn.people import split_seed
from inspose_jax.data.drawn.scene import draw, draw_with_owners, place_bodies
from inspose_jax.skeletons import COCO
from inspose_jax.structures import Sample

SCENE = Scene()
FEWEST_PIXELS = 64


@pytest.fixture(scope="module")
def images() -> list[tuple[Sample, np.ndarray]]:
    """500 images and who is seen at each of their pixels."""
    return [draw_with_owners(SCENE, split_seed("test", 11, index)) for index in range(500)]


@pytest.fixture(scope="module")
def samples(images) -> list[Sample]:
    return [sample for sample, _ in images]


def joint_box(joints: np.ndarray) -> np.ndarray:
    """x0, y0, x1, y1 around the labelled joints [K, 3]; empty without any."""
    labelled = joints[joints[:, 2] > 0, :2]
    return np.concatenate([labelled.min(0), labelled.max(0)]) if len(labelled) else np.zeros(4)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return shared / max(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared, 1e-6)


def test_zero_to_four_people_are_equally_likely(samples: list[Sample]):
    shares = np.bincount([len(sample.area) for sample in samples], minlength=5) / len(samples)
    assert len(shares) == 5
    assert (abs(shares - 0.2) < 0.06).all()  # three standard deviations of a share of .2 among 500 are .054


def test_heights_are_log_uniform_from_four_tenths_to_the_whole_image():
    boxes = [body.box() for index in range(500) for body in place_bodies(SCENE, np.random.default_rng((11, index)))]
    heights = np.array([box[3] - box[1] for box in boxes]) / SCENE.size
    assert heights.min() >= 0.4 - 1e-6
    assert heights.max() <= 1 + 1e-6
    quantiles = np.quantile(heights, [0.25, 0.5, 0.75])
    assert quantiles == pytest.approx(0.4 ** np.array([0.75, 0.5, 0.25]), rel=0.06)


def test_a_fifth_of_the_joints_is_hidden_and_a_few_are_outside(samples: list[Sample]):
    visibility = np.concatenate([sample.keypoints[..., 2] for sample in samples])
    assert 0.15 <= (visibility == 1).mean() <= 0.30
    assert 0.04 <= (visibility == 0).mean() <= 0.12


def test_people_overlap_one_another(samples: list[Sample]):
    overlaps = []
    for sample in samples:
        boxes = [joint_box(joints) for joints in sample.keypoints]
        overlaps += [
            any(iou(box, other) > 0.1 for place, other in enumerate(boxes) if place != here)
            for here, box in enumerate(boxes)
        ]
    assert np.mean(overlaps) >= 0.40


def test_people_are_broad_enough_for_oks_to_be_fair():
    # a lone body's mask, as OKS's scale is the root of it
    areas = [draw(Scene(num_people=(1, 1), height=(0.7, 0.7), clutter=0.0), (12, index)).area for index in range(60)]
    assert np.median(np.concatenate(areas) / (0.7 * SCENE.size) ** 2) > 0.2


def test_area_and_box_are_those_of_the_visible_mask(images: list[tuple[Sample, np.ndarray]]):
    for sample, owner in images[:100]:
        assert set(np.unique(owner)) - {-1} == set(range(len(sample.area)))
        for person, (area, (x0, y0, x1, y1)) in enumerate(zip(sample.area, sample.boxes_xyxy, strict=True)):
            rows, columns = np.nonzero(owner == person)
            assert area == len(rows)
            assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_labelled_joints_lie_in_the_image_and_the_others_are_zero(samples: list[Sample]):
    joints = np.concatenate([sample.keypoints for sample in samples]).reshape(-1, 3)
    labelled = joints[:, 2] > 0
    assert (joints[labelled, :2] >= 0).all()
    assert (joints[labelled, :2] < SCENE.size).all()
    assert (joints[~labelled] == 0).all()


def test_a_seen_joint_lies_on_its_person(images: list[tuple[Sample, np.ndarray]]):
    for sample, owner in images:
        for person, joints in enumerate(sample.keypoints):
            x, y = joints[joints[:, 2] == 2, :2].astype(int).T
            assert (owner[y, x] == person).all()


def test_a_person_of_few_visible_pixels_has_no_labelled_joint():
    # twelve people on 64 pixels sometimes hide one another almost completely
    crowd = Scene(size=64, num_people=(12, 12), height=(0.2, 1.0))
    samples = [draw(crowd, (13, index)) for index in range(30)]
    area = np.concatenate([sample.area for sample in samples])
    is_labelled = np.concatenate([(sample.keypoints[..., 2] > 0).any(1) for sample in samples])
    assert (area < FEWEST_PIXELS).sum() > 10
    assert (area > 0).all()
    assert not is_labelled[area < FEWEST_PIXELS].any()
    assert is_labelled[area >= 2 * FEWEST_PIXELS].all()


def test_facing_us_the_left_side_is_on_the_right_and_faces_are_seen(samples: list[Sample]):
    joints = np.concatenate([sample.keypoints for sample in samples])
    eyes_seen = (joints[:, [JOINT["left_eye"], JOINT["right_eye"]], 2] == 2).all(1)
    shoulders = joints[:, JOINT["left_shoulder"]] - joints[:, JOINT["right_shoulder"]]
    both = eyes_seen & (joints[:, JOINT["left_shoulder"], 2] == 2) & (joints[:, JOINT["right_shoulder"], 2] == 2)
    assert both.sum() > 300
    assert (shoulders[both, 0] > 0).mean() > 0.97


def test_from_behind_the_face_is_hidden_and_the_sides_are_swapped(samples: list[Sample]):
    joints = np.concatenate([sample.keypoints for sample in samples])
    shoulders = joints[:, [JOINT["left_shoulder"], JOINT["right_shoulder"]]]
    from_behind = (shoulders[..., 2] == 2).all(1) & (shoulders[:, 0, 0] < shoulders[:, 1, 0] - 6)
    assert from_behind.sum() > 40
    # a head turned far to the side may still show an eye
    assert (joints[from_behind][:, :3, 2] == 2).mean() < 0.1


def test_the_same_seed_draws_the_same_image():
    for field, again in zip(draw(SCENE, (1, 2, 3)), draw(SCENE, (1, 2, 3)), strict=True):
        np.testing.assert_array_equal(field, again)


def test_the_last_number_of_the_seed_is_the_image_id():
    assert draw(SCENE, (1, 2, 3)).image_id == 3


def test_splits_seeds_and_places_never_share_a_seed():
    seeds = {
        split_seed(split, seed, index) for split in ("train", "val", "test") for seed in range(3) for index in range(3)
    }
    assert len(seeds) == 27
    images = [draw(SCENE, split_seed(split, 0, 0)).image.tobytes() for split in ("train", "val", "test")]
    assert len(set(images)) == 3


@pytest.mark.parametrize("size", [64, 70, 200])
def test_any_size_can_be_drawn_and_people_keep_their_relative_height(size: int):
    scene = Scene(size=size, num_people=(1, 1), height=(0.8, 0.8), clutter=0.0)
    samples = [draw(scene, (14, index)) for index in range(20)]
    assert all(sample.image.shape == (size, size, 3) for sample in samples)
    assert 0.1 < np.median([sample.area[0] for sample in samples]) / (0.8 * size) ** 2 < 0.4


def test_a_written_folder_is_valid_coco(tmp_path):
    samples = [draw(SCENE, split_seed("test", 0, index)) for index in range(6)]
    write_folder(tmp_path / "drawn", samples, COCO, 0.5)
    assert checked.faults(tmp_path / "drawn" / "images", tmp_path / "drawn" / "annotations.json", COCO) == []
    with contextlib.redirect_stdout(io.StringIO()):
        api = CocoApi(str(tmp_path / "drawn" / "annotations.json"))
    assert len(api.getImgIds()) == 6
    for sample in samples:
        people = api.loadAnns(api.getAnnIds(imgIds=[sample.image_id]))
        assert [person["area"] for person in people] == sample.area.tolist()
        for person, joints in zip(people, sample.keypoints, strict=True):
            read = np.array(person["keypoints"]).reshape(-1, 3)
            np.testing.assert_array_equal(read[:, 2], joints[:, 2])
            # whole numbers are the middles of COCO's pixels and the edges of ours
            np.testing.assert_allclose(read[:, :2] + 0.5 * (joints[:, 2:] > 0), joints[:, :2], atol=0.0051)
    assert json.loads((tmp_path / "drawn" / "annotations.json").read_text())["categories"][0]["keypoints"][0] == "nose"

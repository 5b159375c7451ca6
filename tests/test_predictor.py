"""From images to people: what goes in, what comes out, and that files, arrays and batches give the same."""

import pickle
import sys
from dataclasses import replace

import faults
import numpy as np
import pytest
import tiny
from PIL import Image

import inspose_jax
from inspose_jax.data.pipeline import Images
from inspose_jax.errors import UserError
from inspose_jax.predictor import BATCH, People, Predictor
from inspose_jax.skeletons import COCO
from inspose_jax.structures import Poses

# Without a score threshold and suppression, random weights find people everywhere.
MODEL = tiny.model(score_threshold=0.0, nms_threshold=1.0)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(replace(tiny.CONFIG, model=MODEL), tiny.variables(MODEL))


def noise(height: int = 64, width: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_one_image_gives_people_and_a_list_gives_a_list(predictor):
    one = predictor(noise(), threshold=0.0)
    assert isinstance(one, People)
    assert len(one) == MODEL.decoding.num_poses
    several = predictor([noise(seed=i) for i in range(3)], threshold=0.0)
    assert len(several) == 3
    np.testing.assert_allclose(several[0].keypoints, one.keypoints, atol=1e-3)
    assert predictor([]) == []


def test_the_next_batch_is_computed_while_the_host_works_on_one(predictor, monkeypatch):
    given = []
    compute = predictor.poses
    monkeypatch.setattr(predictor, "poses", lambda *batch: given.append(batch) or compute(*batch))
    images = Images([noise(seed=i) for i in range(3 * BATCH)], COCO)
    found = [len(given) for _ in predictor.find(images)]
    assert found == [2] * BATCH + [3] * (2 * BATCH)


def test_a_model_can_be_pickled(predictor):
    """As process pools, joblib and Ray do."""
    again = pickle.loads(pickle.dumps(predictor))
    assert again.config == predictor.config
    one, other = predictor(noise(), 0.0), again(noise(), 0.0)
    np.testing.assert_array_equal(one.keypoints, other.keypoints)
    np.testing.assert_array_equal(one.scores, other.scores)


def test_an_image_that_is_a_url_is_refused(predictor):
    for call in (predictor, predictor.video, inspose_jax.load):
        with pytest.raises(UserError, match=r"^https://a\.b/c\.jpg: is a URL; only folders and files of this machine"):
            call("https://a.b/c.jpg")


def test_paths_follow_the_current_folder_and_expand_the_home_folder(predictor, tmp_path, monkeypatch):
    faults.video("a.mp4")(tmp_path)
    Image.fromarray(noise()).save(tmp_path / "a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert predictor("~/a.png", 0.0).path == tmp_path / "a.png"
    predictor("~/a.png", 0.0).save("~/b.png")
    assert (tmp_path / "b.png").is_file()
    monkeypatch.chdir(tmp_path)
    frames = predictor.video("a.mp4")
    monkeypatch.chdir("/")
    assert len(list(frames)) == 3


def test_everything_is_float32_even_if_nobody_is_found(predictor):
    for people, number in ((predictor(noise(), 0.0), MODEL.decoding.num_poses), (predictor(noise(), 1.0), 0)):
        shapes = {"keypoints": (17, 2), "keypoint_scores": (17,), "scores": (), "class_scores": (), "boxes": (4,)}
        for name, shape in shapes.items():
            value = getattr(people, name)
            assert value.shape == (number, *shape)
            assert value.dtype == np.float32
        assert people.to_coco(1) == [] or number
        assert people.plot().shape == (64, 64, 3)


def test_scores_are_sorted_and_cut_at_the_threshold(predictor):
    everybody = predictor(noise(), threshold=0.0)
    assert (np.diff(everybody.scores) <= 0).all()
    middle = float(everybody.scores[3])
    assert (predictor(noise(), threshold=middle).scores >= middle).all()


def test_joints_are_in_pixels_of_the_original(predictor):
    keypoints = np.tile(np.array([16.0, 24.0], np.float32), (1, 1, 17, 1))
    ones = np.ones((1, 1), np.float32)
    known = Poses(keypoints, np.ones((1, 1, 17), np.float32), ones, ones, np.ones((1, 1), bool), None)
    fake = Predictor(predictor.config, {})
    fake.poses = lambda *_: known
    people = fake(noise(128, 256))  # resized to 32 x 64 pixels: a quarter
    np.testing.assert_allclose(people.keypoints[0, 0], [64, 96])
    assert people.image_size == (128, 256)
    # COCO counts pixels from their index
    assert people.to_coco(5)[0]["keypoints"][:3] == [63.5, 95.5, 1.0]
    assert people.to_coco(5)[0]["image_id"] == 5


def test_predicted_boxes_are_in_pixels_of_the_original_and_follow_their_people(predictor):
    keypoints = np.tile(np.array([16.0, 24.0], np.float32), (1, 2, 17, 1))
    scores, boxes = np.array([[0.9, 0.2]], np.float32), np.array([[[1, 2, 3, 4], [5, 6, 7, 8]]], np.float32)
    known = Poses(keypoints, np.ones((1, 2, 17), np.float32), scores, scores, np.ones((1, 2), bool), None, boxes)
    fake = Predictor(predictor.config, {})
    fake.poses = lambda *_: known
    people = fake(noise(128, 256), threshold=0.1)  # resized to 32 x 64 pixels: a quarter
    np.testing.assert_allclose(people.boxes, [[4, 8, 12, 16], [20, 24, 28, 32]])
    np.testing.assert_allclose(people.above(0.5).boxes, [[4, 8, 12, 16]])
    assert people.to_coco(1)[1]["bbox"] == [20, 24, 8, 8]


def test_files_arrays_and_pil_images_are_the_same_image(predictor, tmp_path):
    image = noise(40, 64)
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path)
    expected = predictor(image, 0.0)
    for other in (path, str(path), Image.fromarray(image)):
        np.testing.assert_array_equal(predictor(other, 0.0).keypoints, expected.keypoints)
    assert predictor(path).path == path


def test_exif_orientation_is_followed(predictor, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    Image.fromarray(noise(40, 64)).save(tmp_path / "turned.jpg", exif=exif)
    assert predictor(tmp_path / "turned.jpg").image_size == (64, 40)


def test_people_are_drawn_and_saved(tmp_path):
    image = np.zeros((64, 64, 3), np.uint8)
    keypoints = tiny.person(10, 10, 50, 50)[None, :, :2]
    scores = np.ones(1, np.float32)
    people = People(keypoints, np.ones((1, 17), np.float32), scores, scores, image, COCO, 0.5)
    drawn = people.plot()
    assert tuple(drawn[10, 10]) == (230, 0, 200)  # the nose is magenta
    assert (image == 0).all()
    people.save(tmp_path / "out.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.png")), drawn)
    np.testing.assert_array_equal(people.boxes, [[10, 10, 50, 50]])
    assert people.to_coco(1)[0]["bbox"] == [10, 10, 40, 40]


def test_people_become_supervisions_key_points(predictor):
    supervision = pytest.importorskip("supervision", reason="supervision is not installed: pip install supervision")
    people = predictor(noise(), threshold=0.0)
    people.keypoint_scores[0, :5] = 0.01
    people.keypoints[0, 0] = 0  # a valid place, but supervision's own readers treat it as missing
    found = people.to_supervision()
    assert isinstance(found, supervision.KeyPoints)
    assert len(found) == len(people) > 1
    np.testing.assert_array_equal(found.xy, people.keypoints)
    np.testing.assert_array_equal(found.keypoint_confidence, people.keypoint_scores)
    np.testing.assert_array_equal(found.detection_confidence, people.scores)
    np.testing.assert_array_equal(found.visible[0, :5], False)
    np.testing.assert_array_equal(found[1:].data["xyxy"], people.boxes[1:])
    edges = [(a + 1, b + 1) for a, b in COCO.limbs]  # it counts from 1
    drawn = supervision.EdgeAnnotator(edges=edges).annotate(people.image.copy(), found)
    assert (drawn != people.image).any()
    nobody = predictor(noise(), threshold=1.0).to_supervision()
    assert (len(nobody), nobody.xy.shape) == (0, (0, 17, 2))


def test_without_supervision_the_install_command_is_named(predictor, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ValueError, match="pip install supervision"):
        predictor(noise()).to_supervision()


def test_sixteen_bits_of_a_pil_image_are_scaled_not_truncated(predictor):
    grey = noise()[..., 0]
    for deep in (np.int32, np.uint16):  # modes I and I;16
        image = predictor(Image.fromarray(grey.astype(deep) * 257)).image
        np.testing.assert_array_equal(image, np.stack([grey] * 3, -1))


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), 7, None])
def test_anything_but_an_image_is_refused(predictor, wrong):
    with pytest.raises(ValueError, match="an image is a path, a PIL image or an RGB array"):
        predictor(wrong)


def test_missing_and_broken_files_are_named(predictor, tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    for name, error, what in (
        ("text.jpg", ValueError, "not an image"),
        ("empty.jpg", ValueError, "not an image"),
        ("gone.jpg", FileNotFoundError, "no such image"),
    ):
        with pytest.raises(error, match=rf"{name}: {what}"):
            predictor(tmp_path / name)

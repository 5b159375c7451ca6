"""The released code's people through the command line alone: import-torch, then predict and eval."""

import contextlib
import io
import json

import jax
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from inspose_jax import cli, skeletons
from inspose_jax.torch_bridge import pth

pytestmark = pytest.mark.slow  # minutes, and only where the reference data is

NAMES = ("a", "b")
# The images of the reference are tested at another size than the recipe's; all else is the recipe's default.
SIZE = ("--config.data.test-short-side", "100", "--config.data.long-side", "160")


def run(*words) -> None:
    with jax.numpy_dtype_promotion("standard"):  # as users have it
        cli.main([str(word) for word in words])


@pytest.fixture(scope="session")
def source() -> str:
    """The authors' numbers alone; the oracle finds its people with the file that it tests (`tests/oracle`)."""
    return "authors"


@pytest.fixture(scope="module")
def place(golden, tmp_path_factory):
    """A folder with the small model's checkpoint `run`, from a .pth, and the two `images`."""
    place = tmp_path_factory.mktemp("place")
    pth.write_pth(place / "small.pth", dict(golden("model")))
    run("import-torch", place / "small.pth", "--out", place / "run")
    (place / "images").mkdir()
    for number, name in enumerate(NAMES):
        Image.fromarray(golden("pipeline")[f"{name}/bgr"][..., ::-1]).save(place / "images" / f"{number}.png")
    return place


def people_of(results: list[dict], number: int) -> tuple[np.ndarray, np.ndarray]:
    """Joints f[N,17,2] and scores f[N] of the results of an image."""
    mine = [result for result in results if result["image_id"] == number]
    joints = np.array([result["keypoints"] for result in mine]).reshape(-1, 17, 3)[..., :2]
    return joints, np.array([result["score"] for result in mine])


def assert_same_people(golden, results: list[dict]) -> None:
    """Joints within .01 px but for those whose two best cells the reference hardly tells apart, scores within 1e-4."""
    for number, name in enumerate(NAMES):
        given = {key: golden("detections")[f"{name}/top1000/{key}"] for key in ("joints", "scores", "rec/hm_gap")}
        joints, scores = people_of(results, number)
        np.testing.assert_allclose(scores, given["scores"], rtol=0, atol=1e-4)
        far = np.abs(joints - given["joints"]).max(-1) > 0.01
        assert not (far & (given["rec/hm_gap"] > 1e-4)).any()
        assert far.mean() < 0.01


def test_predict_finds_the_people_of_the_released_code(golden, place, tmp_path):
    found = tmp_path / "people.json"
    run("predict", "--checkpoint", place / "run", place / "images", "--json", found, "--threshold", 0, *SIZE)
    assert_same_people(golden, json.loads(found.read_text()))


def test_predict_pads_to_multiples_of_32_unless_told_otherwise(golden, place, tmp_path):
    """That it does is shown by the released code's people above; here, that other padding gives other scores."""
    shapes = ("--config.data.test-padding", "shapes", "--config.data.shapes", 160, 192)
    found = tmp_path / "people.json"
    run("predict", "--checkpoint", place / "run", place / "images", "--json", found, "--threshold", 0, *SIZE, *shapes)
    _, scores = people_of(json.loads(found.read_text()), 0)
    expected = golden("detections")["a/top1000/scores"]
    assert np.abs(scores[0] - expected[0]) > 1e-3


def truth_of(golden) -> dict:
    """Annotations near some of the people that the released code finds, so that AP is neither 0 nor 1."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number, name in enumerate(NAMES):
        height, width = golden("detections")[f"{name}/ori_shape"][:2].tolist()
        images.append({"id": number, "file_name": f"{number}.png", "height": height, "width": width})
        for joints in golden("detections")[f"{name}/top1000/joints"][:12:2]:
            joints = np.clip(joints + rng.normal(0, 2, joints.shape), 0, (width, height))
            low, sides = joints.min(0), np.ptp(joints, axis=0)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "keypoints": np.concatenate([joints, np.full((17, 1), 2)], 1).ravel().tolist(),
                    "num_keypoints": 17,
                    "bbox": [*low.tolist(), *sides.tolist()],
                    "area": float(np.prod(sides)),
                }
            )
    names = list(skeletons.COCO.keypoint_names)
    category = {"id": 1, "name": "person", "keypoints": names, "skeleton": []}
    return {"images": images, "annotations": annotations, "categories": [category]}


def statistics_of(truth: dict, results: list[dict]) -> list[float]:
    """COCO's ten numbers, computed by pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


def test_eval_measures_the_people_of_the_released_code(golden, place, tmp_path):
    truth = truth_of(golden)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    given = ("--images", place / "images", "--annotations", tmp_path / "truth.json", "--out", tmp_path / "scores")
    run("eval", "--checkpoint", place / "run", *given, *SIZE)
    assert_same_people(golden, json.loads((tmp_path / "scores" / "results.json").read_text()))
    expected = []
    for number, name in enumerate(NAMES):
        of_image = {key: golden("detections")[f"{name}/top1000/{key}"] for key in ("joints", "scores")}
        for joints, score in zip(of_image["joints"], of_image["scores"].tolist(), strict=True):
            keypoints = np.concatenate([joints, np.ones((17, 1))], 1).ravel().tolist()
            expected.append({"image_id": number, "category_id": 1, "keypoints": keypoints, "score": score})
    measured = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    statistics = statistics_of(truth, expected)
    assert 0.1 < measured["AP"] < 0.9
    np.testing.assert_allclose(list(measured.values()), statistics, rtol=0, atol=1e-6)

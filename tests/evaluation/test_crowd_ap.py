"""CrowdPose's AP by crowd index: against a plain loop, and which images count as easy, medium and hard."""

import numpy as np
import pytest

from inspose_jax.config import Scene
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.evaluation import coco_ap, crowd_ap, evaluator
from inspose_jax.predictor import Predictor
from inspose_jax.skeletons import CROWDPOSE


def truth_and_results(seed=0, num_images=24):
    """Images with up to four people, some of whom are found, some twice, some badly, beside false positives."""
    rng = np.random.default_rng(seed)
    images, people, results = [], [], []
    for image_id in range(num_images):
        images.append({"id": image_id, "crowdIndex": float(rng.choice([0, 0.05, 0.1, 0.15, 0.2, 0.5, 0.8, 0.9, 1]))})
        for _ in range(rng.integers(0, 5)):
            x, y, w, h = *rng.uniform(0, 300, 2), *rng.uniform(30, 200, 2)
            joints = np.stack([rng.uniform(x, x + w, 14), rng.uniform(y, y + h, 14), rng.integers(0, 3, 14)], -1)
            joints[joints[:, 2] == 0] = 0
            person = {"id": len(people) + 1, "image_id": image_id, "category_id": 1, "iscrowd": 0, "bbox": [x, y, w, h]}
            person |= {"area": 0.53 * w * h, "keypoints": joints.ravel().tolist()}
            people.append(person | {"num_keypoints": int((joints[:, 2] > 0).sum())})
            for _ in range(rng.integers(0, 3)):
                shift = rng.normal(0, rng.choice([1.0, 4.0, 12.0]), (14, 2))
                guess = np.concatenate([joints[:, :2] + shift, np.ones((14, 1))], -1)
                found = {"image_id": image_id, "category_id": 1, "keypoints": guess.ravel().tolist()}
                results.append(found | {"score": float(rng.uniform())})
        if rng.uniform() < 0.3:
            nobody = rng.uniform(0, 400, (14, 3)).ravel().tolist()
            results.append({"image_id": image_id, "category_id": 1, "keypoints": nobody, "score": float(rng.uniform())})
    return {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}, results


def oks(person, result):
    """Similarity of a found person to a labelled one, joint by joint."""
    total = count = 0
    for k, sigma in enumerate(CROWDPOSE.oks_sigmas):
        x, y, v = person["keypoints"][3 * k : 3 * k + 3]
        if v > 0:
            u, w, _ = result["keypoints"][3 * k : 3 * k + 3]
            area = 0.53 * person["bbox"][2] * person["bbox"][3]
            total += np.exp(-((x - u) ** 2 + (y - w) ** 2) / (2 * area * (2 * sigma) ** 2))
            count += 1
    return total / count


def average_precision(truth, results, image_ids):
    """Mean over ten thresholds of the precision at 101 recalls; everybody has a labelled joint."""
    precisions = []
    for threshold in np.arange(0.5, 0.96, 0.05).round(2):
        outcomes, number = [], 0
        for image_id in image_ids:
            people = [one for one in truth["annotations"] if one["image_id"] == image_id]
            number += len(people)
            free = list(people)
            found = [one for one in results if one["image_id"] == image_id]
            for result in sorted(found, key=lambda one: -one["score"]):
                close = [(oks(person, result), person) for person in free]
                best = max(close, key=lambda pair: pair[0], default=(0, None))
                outcomes.append((result["score"], best[0] >= threshold))
                if best[0] >= threshold:
                    free.remove(best[1])
        outcomes.sort(key=lambda pair: -pair[0])
        hits = 0
        curve = []
        for rank, (_, hit) in enumerate(outcomes, start=1):
            hits += hit
            curve.append((hits / number, hits / rank))
        for recall in np.linspace(0, 1, 101):
            precisions.append(max((precision for reached, precision in curve if reached >= recall), default=0))
    return float(np.mean(precisions))


@pytest.mark.parametrize(
    ("bounds", "highest"), [(crowd_ap.PAPER, (0.1, 0.8, 2)), (crowd_ap.TOOL, (0.2, 0.8, 2))], ids=["paper", "tool"]
)
def test_each_level_has_the_ap_that_a_plain_loop_computes(bounds, highest):
    truth, results = truth_and_results()
    people = {one["image_id"] for one in truth["annotations"] if one["num_keypoints"] == 0}
    assert not people, "the plain loop knows no unlabelled people"
    found = crowd_ap.crowd_ap(truth, results, CROWDPOSE, bounds)
    low = -1.0
    for name, high in zip(("AP_easy", "AP_medium", "AP_hard"), highest, strict=True):
        image_ids = [image["id"] for image in truth["images"] if low <= image["crowdIndex"] < high]
        low = high
        expected = average_precision(truth, results, image_ids)
        assert 0.05 < expected < 0.95
        assert found[name] == pytest.approx(expected, abs=1e-6)


def test_other_data_has_no_such_statistics():
    truth, results = truth_and_results()
    del truth["images"][0]["crowdIndex"]
    assert crowd_ap.crowd_ap(truth, results, CROWDPOSE) == {}


def test_a_level_without_images_is_minus_one():
    truth, results = truth_and_results()
    for image in truth["images"]:
        image["crowdIndex"] = 0.3
    found = crowd_ap.crowd_ap(truth, results, CROWDPOSE)
    everything = coco_ap.keypoint_ap(truth, results, CROWDPOSE)["AP"]
    assert found == {"AP_easy": -1.0, "AP_medium": everything, "AP_hard": -1.0}


def test_the_table_has_room_for_long_names():
    lines = coco_ap.table({"AP": 0.5, "AP_medium": 1.0, "AP_hard": -1.0}).splitlines()
    assert lines == ["   AP  AP_medium  AP_hard", "0.500      1.000        -"]


def test_an_evaluation_of_crowdpose_data_has_them_beside_the_ten_statistics(monkeypatch):
    truth, results = truth_and_results()
    monkeypatch.setattr(evaluator, "find_all", lambda predictor, source: results)
    source = DrawnPeople(Scene(size=64), "test", 0, 1)
    monkeypatch.setattr(source, "ground_truth", lambda: truth)
    predictor = Predictor.__new__(Predictor)
    predictor.skeleton, predictor.has_boxes = CROWDPOSE, False
    found = evaluator.evaluate(predictor, source)
    assert list(found.statistics) == [*coco_ap.NAMES, "AP_easy", "AP_medium", "AP_hard"]
    assert found.statistics["AP_hard"] == crowd_ap.crowd_ap(truth, results, CROWDPOSE)["AP_hard"] > 0

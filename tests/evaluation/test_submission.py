"""The file for COCO's server, which is read back by COCO's own tool, and scored against labels that only we have."""

import json
import zipfile

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from inspose_jax import cli
from inspose_jax.errors import UserError
from inspose_jax.evaluation import submission
from inspose_jax.skeletons import COCO as SKELETON
from inspose_jax.skeletons import CROWDPOSE

NAME = "person_keypoints_test-dev2017_InsPose-r50_results"


@pytest.fixture
def unlabelled(place, tmp_path):
    """A file that lists images as image_info_test-dev2017.json does: without people, and without joints."""
    images = json.loads((place / "drawn/annotations.json").read_text())["images"]
    about = {"info": {"description": "COCO 2017 Dataset"}, "licenses": [{"id": 1, "name": "CC BY"}]}
    categories = [{"supercategory": "person", "id": 1, "name": "person"}, {"id": 2, "name": "bicycle"}]
    file = tmp_path / "image_info_test-dev2017.json"
    file.write_text(json.dumps({**about, "images": images, "categories": categories}))
    return file


def test_the_file_for_the_server_holds_what_evaluation_scores(place, tmp_path, unlabelled, capsys):
    images, out = ["--images", str(place / "drawn/images")], tmp_path / "out"
    checkpoint = ["--checkpoint", str(place / "run")]
    given = [*images, "--annotations", str(unlabelled), "--out", str(out)]
    cli.main(["eval", *checkpoint, *given, "--test-dev", "InsPose-r50"])
    printed = capsys.readouterr().out
    assert printed == f"{out / NAME}.zip: people in 4 images; the server of COCO scores it\n", "statistics are secret"
    assert [path.name for path in out.iterdir()] == [f"{NAME}.zip"]
    with zipfile.ZipFile(out / f"{NAME}.zip") as archive:
        assert archive.namelist() == [f"{NAME}.json"]
        archive.extractall(tmp_path)
    results = json.loads((tmp_path / f"{NAME}.json").read_text())
    for one in results:
        assert set(one) == {"image_id", "category_id", "keypoints", "score"}
        assert (type(one["image_id"]), one["category_id"], type(one["score"])) == (int, 1, float)
        assert len(one["keypoints"]) == 51
        assert {type(number) for number in one["keypoints"]} == {float}
        assert set(one["keypoints"][2::3]) == {1.0}

    labelled = [*images, "--annotations", str(place / "drawn/annotations.json")]
    cli.main(["eval", *checkpoint, *labelled, "--out", str(tmp_path / "scores")])
    full = json.loads((tmp_path / "scores/results.json").read_text())
    assert [one["score"] for one in results] == [one["score"] for one in full], "everybody, since nobody has 20 people"
    for one, other in zip(results, full, strict=True):
        assert one["keypoints"][0::3] == pytest.approx(other["keypoints"][0::3], abs=0.0501)
    truth = COCO(str(place / "drawn/annotations.json"))
    evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / f"{NAME}.json")), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    metrics = json.loads((tmp_path / "scores/metrics.json").read_text())
    assert metrics["AP"] == pytest.approx(evaluation.stats[0], abs=1e-3)


def test_only_the_twenty_best_people_of_an_image_are_sent():
    people = [
        {"image_id": 1 + n % 2, "category_id": 1, "keypoints": [1.26, 2.0, 0.5] * 17, "score": n / 60, "bbox": [0] * 4}
        for n in range(60)
    ]
    sent = submission.submitted(people)
    assert sorted(one["score"] for one in sent) == [n / 60 for n in range(20, 60)]
    assert sent[0]["keypoints"][:3] == [1.3, 2.0, 1.0]


def test_names_and_joints_that_the_server_refuses_are_refused_first():
    for name in ("", "a b", "a/b", "ä"):
        with pytest.raises(UserError, match="becomes a part of a file's name"):
            submission.file_name(name)
    submission.check(SKELETON)
    with pytest.raises(UserError, match="this model has those of crowdpose"):
        submission.check(CROWDPOSE)

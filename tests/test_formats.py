"""Runs that earlier versions wrote (`formats/`) can still be loaded, and find the same people."""

import json
import shutil
import tarfile
from pathlib import Path

import jax
import numpy as np
import pytest

import inspose_jax
from inspose_jax import checkpoints, run_folder
from inspose_jax.cli import sources
from inspose_jax.training import loop

FORMATS = Path(__file__).parent / "formats"


@pytest.fixture(scope="module", params=sorted(path.name for path in FORMATS.iterdir() if path.is_dir()))
def written(request, tmp_path_factory) -> Path:
    """A folder with a run `run` of a format, images, and in `people.json` the people found in them."""
    folder = FORMATS / request.param
    place = tmp_path_factory.mktemp(f"format{request.param}")
    with tarfile.open(folder / "run.tar.xz") as archive:
        archive.extractall(place, filter="data")
    for path in folder.iterdir():
        (place / path.name).symlink_to(path)
    return place


def test_a_run_of_every_format_finds_the_same_people(written):
    expected = json.loads((written / "people.json").read_text())
    model = inspose_jax.load(written / "run")
    for name, people in expected.items():
        found = model(written / name)
        assert len(found) == len(people) > 0
        np.testing.assert_allclose(found.keypoints, [person["keypoints"] for person in people], atol=0.01)
        np.testing.assert_allclose(found.scores, [person["score"] for person in people], atol=1e-5)
        np.testing.assert_allclose(found.class_scores, [person["class_score"] for person in people], atol=1e-5)
        np.testing.assert_allclose(
            found.keypoint_scores, [person["keypoint_scores"] for person in people], atol=1e-4, rtol=1e-4
        )


@pytest.mark.slow
def test_a_run_of_every_format_can_be_resumed(written, tmp_path):
    """The last steps of the run are made, and the losses continue where they were."""
    run = shutil.copytree(written / "run", tmp_path / "run")
    config = checkpoints.load(run).config
    before = [row for _, row, _ in run_folder.read_metrics_lines(run)]
    with jax.numpy_dtype_promotion("standard"):
        assert loop.train(config, sources.training_source(config, sources.Given()), run, 3000, resume=True) == 3000
    after = [row for step, row, _ in run_folder.read_metrics_lines(run) if step > 2990]
    assert len(after) == 10
    assert np.mean([row["loss/total"] for row in after]) == pytest.approx(
        np.mean([row["loss/total"] for row in before]), abs=0.5
    )
    (history,) = map(json.loads, (run / "history.jsonl").read_text().splitlines())
    assert (history["step"], history["changed"]) == (2990, ["format 1 -> 2"])

"""Real COCO images on the command line: checked, trained on and evaluated."""

import json
import os
import subprocess
import sys

import pytest

RECIPE = """
import dataclasses
from inspose_jax import config, recipes

def recipe():
    demo = recipes.read("drawn_people").config
    data = dataclasses.replace(demo.data, source="coco", short_side=(96, 128), long_side=160, shapes=((160, 160),))
    model = config.replace(demo.model, num_people=16, num_slots=48)
    schedule = dataclasses.replace(demo.schedule, ema=0.98)
    return dataclasses.replace(demo, data=data, model=model, schedule=schedule)
"""


def inspose(*arguments) -> str:
    """The output of a command, which must succeed."""
    command = [sys.executable, "-m", "inspose_jax", *map(str, arguments)]
    # Two hundred steps of this size take longer than compiling them well.
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def folder(coco_real, split):
    return "--images", coco_real / split, "--annotations", coco_real / f"annotations/person_keypoints_{split}.json"


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_check_finds_no_fault(coco_real, split):
    assert "no fault found" in inspose("data", "check", *folder(coco_real, split))


@pytest.mark.slow
def test_two_hundred_steps_lower_the_loss_and_the_result_is_evaluated(coco_real, tmp_path):
    recipe, workdir = tmp_path / "small.py", tmp_path / "run"
    recipe.write_text(RECIPE)
    inspose("train", recipe, "--workdir", workdir, "--steps", 200, *folder(coco_real, "train"))
    loss = [json.loads(line)["loss/total"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert len(loss) == 200
    assert sum(loss[-20:]) <= 0.7 * sum(loss[:20])
    printed = inspose("eval", "--checkpoint", workdir, *folder(coco_real, "val"), "--out", tmp_path / "scores")
    metrics = json.loads((tmp_path / "scores/metrics.json").read_text())
    assert (
        printed.split()[:10]
        == list(metrics)
        == ["AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"]
    )
    assert all(0 <= value <= 1 for value in metrics.values())

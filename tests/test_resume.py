"""A run that stopped goes on exactly: six steps straight are three, a stop, and three more in a new process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from inspose_jax import checkpoints

RECIPE = """
import sys
sys.path.insert(0, {tests!r})
import dataclasses
import tiny

def recipe():
    schedule = dataclasses.replace(tiny.CONFIG.schedule, optimizer="muon", ema=0.9, save_every=100)
    return dataclasses.replace(tiny.CONFIG, schedule=schedule)
"""


def train(recipe: Path, workdir: Path, *flags: str) -> None:
    command = [sys.executable, "-m", "inspose_jax", "train", str(recipe), "--workdir", str(workdir), "--steps", "6"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([*command, *flags], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def losses(workdir: Path) -> list[dict]:
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name.startswith(("step", "loss", "grad"))} for row in rows]


def stored(workdir: Path) -> dict:
    """Everything that the last checkpoint holds: also what prediction leaves aside."""
    folder = workdir.absolute() / "checkpoints/6"
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        like = checkpoints.stored_shapes(reader, folder)
        return reader.restore(folder / "state", args=ocp.args.StandardRestore(like))


def test_six_steps_are_three_a_stop_and_three_bit_for_bit(tmp_path):
    recipe = tmp_path / "small.py"
    recipe.write_text(RECIPE.format(tests=str(Path(__file__).parent)))
    train(recipe, tmp_path / "straight")
    train(recipe, tmp_path / "stopped", "--resume", "--stop-at", "3")  # --resume on an empty workdir starts
    assert checkpoints.load(tmp_path / "stopped").step == 3
    train(recipe, tmp_path / "stopped", "--resume")
    assert losses(tmp_path / "stopped") == losses(tmp_path / "straight")
    straight, stopped = checkpoints.load(tmp_path / "straight"), checkpoints.load(tmp_path / "stopped")
    assert straight.step == stopped.step == 6
    jax.tree.map(np.testing.assert_array_equal, straight.variables, stopped.variables)
    jax.tree.map(np.testing.assert_array_equal, stored(tmp_path / "straight"), stored(tmp_path / "stopped"))

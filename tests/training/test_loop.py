"""The run: what it writes, when it stops, when it refuses to start."""

import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest
import tiny

from inspose_jax import checkpoints
from inspose_jax.data import pipeline
from inspose_jax.data.drawn_people import DrawnPeople
from inspose_jax.training import loop

# The eight pretend devices share a batch of eight.
CONFIG = replace(tiny.CONFIG, schedule=replace(tiny.CONFIG.schedule, batch_size=8, ema=0.9, save_every=5))
SOURCE = pipeline.InMemory(DrawnPeople(CONFIG.data.scene, "train", 0, 16))
KEYS = {"step", "loss/total", "loss/cls", "loss/keypoint", "loss/offset", "loss/heatmap", "grad_norm", "lr"}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "a"
    loop.train(CONFIG, SOURCE, folder, num_steps=12)
    return folder


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_every_step_has_its_line_and_every_tenth_the_speed(workdir):
    rows = lines(workdir)
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert all(row.keys() >= KEYS for row in rows)
    assert [row["step"] for row in rows if "images_per_s" in row and "data_wait" in row] == [10]
    terms = ("loss/cls", "loss/keypoint", "loss/offset", "loss/heatmap")
    assert rows[0]["loss/total"] == pytest.approx(sum(rows[0][term] for term in terms), rel=1e-5)
    assert rows[-1]["lr"] < rows[2]["lr"]


def test_the_workdir_tells_what_was_run(workdir):
    assert json.loads((workdir / "config.json").read_text())["schedule"]["batch_size"] == 8
    assert json.loads((workdir / "versions.json").read_text())["jax"] == jax.__version__
    assert checkpoints.steps(workdir / "checkpoints") == [10, 12]  # every fifth and the last, the newest two kept


def test_a_checkpoint_is_complete(workdir):
    loaded = checkpoints.load(workdir)
    assert loaded.step == 12
    assert loaded.config == CONFIG
    shapes = jax.tree.map(np.shape, loaded.variables)
    assert shapes == jax.tree.map(np.shape, tiny.variables())
    one = checkpoints.load(workdir / "checkpoints" / "10")
    assert one.step == 10


def test_a_stray_folder_is_no_checkpoint(workdir, tmp_path):
    (tmp_path / "checkpoints" / "99").mkdir(parents=True)
    assert checkpoints.steps(tmp_path / "checkpoints") == []
    with pytest.raises(ValueError, match="holds no checkpoint"):
        checkpoints.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        checkpoints.load(tmp_path / "gone")


def test_a_run_is_not_written_over(workdir):
    with pytest.raises(ValueError, match="holds a run already"):
        loop.train(CONFIG, SOURCE, workdir, num_steps=12)
    other = replace(CONFIG, schedule=replace(CONFIG.schedule, learning_rate=0.5))
    with pytest.raises(ValueError, match=r"schedule.learning_rate 0.001 -> 0.5"):
        loop.train(other, SOURCE, workdir, num_steps=12, resume=True)


def test_a_batch_that_does_not_divide_is_refused_before_anything_is_written(tmp_path):
    odd = replace(CONFIG, schedule=replace(CONFIG.schedule, batch_size=6))
    with pytest.raises(ValueError, match="batch_size 6 does not divide over 8 devices"):
        loop.train(odd, SOURCE, tmp_path / "b", num_steps=2)
    assert not (tmp_path / "b").exists()


def test_a_loss_that_is_not_finite_stops_before_anything_is_saved(tmp_path):
    wild = replace(
        CONFIG, schedule=replace(CONFIG.schedule, optimizer="sgd", learning_rate=1e30, clip_norm=1e30, save_every=1)
    )
    with pytest.raises(FloatingPointError, match=r"step \d+: (loss/\w+|grad_norm) is (nan|inf)"):
        loop.train(wild, SOURCE, tmp_path / "c", num_steps=8)
    for step in checkpoints.steps(tmp_path / "c" / "checkpoints"):
        saved = checkpoints.load(tmp_path / "c" / "checkpoints" / str(step)).variables
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(saved))
    assert len(lines(tmp_path / "c")) < 8


def test_a_line_cut_off_by_a_kill_is_dropped(workdir, tmp_path):
    run = shutil.copytree(workdir, tmp_path / "run")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 13, "loss/to')
    loop.train(CONFIG, SOURCE, run, num_steps=12, resume=True)
    assert [row["step"] for row in lines(run)] == list(range(1, 13))

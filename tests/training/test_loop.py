"""The run: what it writes, when it stops, when it refuses to start."""

import json
import os
import re
import shutil
import struct
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_run import CONFIG, SOURCE, lines
from tensorboardX.proto.event_pb2 import Event

from inspose_jax import checkpoints, processes
from inspose_jax.data import pipeline
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.errors import NotFinite, UserError
from inspose_jax.report.run import read_run
from inspose_jax.training import loop, sharding, timetable
from inspose_jax.training.log import Log

pytestmark = pytest.mark.usefixtures("steps_are_traced_once")
KEYS = {"step", "loss/total", "loss/cls", "loss/keypoint", "loss/offset", "loss/heatmap", "grad_norm", "lr"}


def board_of(workdir):
    """TensorBoard's records, (step, value) by tag: a record is its length, a checksum, an event, a checksum."""
    events = defaultdict(list)
    for path in sorted((workdir / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            for value in event.summary.value:
                events[value.tag].append((event.step, value))
    return events


def test_every_step_has_its_line_and_every_tenth_the_speed(workdir):
    rows = lines(workdir)
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert all(row.keys() >= KEYS for row in rows)
    assert [row["step"] for row in rows if "images_per_s" in row and "data_wait" in row] == [10]
    terms = ("loss/cls", "loss/keypoint", "loss/offset", "loss/heatmap")
    assert rows[0]["loss/total"] == pytest.approx(sum(rows[0][term] for term in terms), rel=1e-5)
    assert rows[-1]["lr"] < rows[2]["lr"]


def test_a_run_that_saves_rarely_still_saves_early(tmp_path, monkeypatch):
    monkeypatch.setattr(timetable, "FIRST_SAVE", 3)
    loop.train(CONFIG, SOURCE, tmp_path, num_steps=12, stop_at=4)
    assert checkpoints.steps(tmp_path / "checkpoints") == [3, 4]  # every 5 by the configuration


def test_the_workdir_records_what_was_run(workdir):
    assert json.loads((workdir / "config.json").read_text())["schedule"]["batch_size"] == 8
    assert json.loads((workdir / "versions.json").read_text())["jax"] == jax.__version__
    assert checkpoints.steps(workdir / "checkpoints") == [10, 12]  # every fifth and the last, the newest two kept


def test_a_relative_workdir_still_works_after_a_change_of_folder(workdir, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)

    def evaluate(variables):
        os.chdir(tmp_path / "elsewhere")
        return loop.Evaluation({"AP": 0.5}, np.zeros((8, 8, 3), np.uint8))

    extras = loop.Extras(evaluate, eval_every=5, profile=range(6, 7))
    assert loop.train(CONFIG, SOURCE, Path("runs/a/"), num_steps=12, stop_at=7, extras=extras) == 7
    assert list((tmp_path / "elsewhere").iterdir()) == []
    os.chdir(tmp_path)
    assert loop.train(CONFIG, SOURCE, Path("runs/a"), num_steps=12, resume=True) == 12
    assert checkpoints.load("runs/a").step == checkpoints.load("runs/a/checkpoints/12/").step == 12
    monkeypatch.setenv("HOME", str(tmp_path))
    assert checkpoints.load("~/runs/a").step == 12
    assert lines(Path("runs/a"), timing=False)[-1] == lines(workdir, timing=False)[-1]


def test_a_run_is_not_overwritten(workdir):
    with pytest.raises(ValueError, match="already holds a run"):
        loop.train(CONFIG, SOURCE, workdir, num_steps=12)
    other = replace(CONFIG, schedule=replace(CONFIG.schedule, learning_rate=0.5))
    with pytest.raises(ValueError, match=r"schedule.learning_rate 0.001 -> 0.5"):
        loop.train(other, SOURCE, workdir, num_steps=12, resume=True)
    images = DrawnPeople(CONFIG.data.scene, "train", 0, 15)
    with pytest.raises(ValueError, match=r"was started with other values: images 16, \w+ -> 15, \w+. Use those"):
        loop.train(CONFIG, images, workdir, num_steps=12, resume=True)


def test_a_batch_size_that_cannot_be_divided_is_refused_before_anything_is_written(tmp_path):
    odd = replace(CONFIG, schedule=replace(CONFIG.schedule, batch_size=6))
    with pytest.raises(ValueError, match="batch_size 6 cannot be divided over 8 devices"):
        loop.train(odd, SOURCE, tmp_path / "b", num_steps=2)
    assert not (tmp_path / "b").exists()


def test_a_loss_that_is_not_finite_stops_before_anything_is_saved(tmp_path):
    wild = replace(
        CONFIG,
        schedule=replace(CONFIG.schedule, optimizer="sgd", learning_rate=1e30, clip_norm=1e30),
        machine=replace(CONFIG.machine, save_every=1),
    )
    with pytest.raises(FloatingPointError, match=r"step \d+: (loss/\w+|grad_norm) is (nan|inf)") as error:
        loop.train(wild, SOURCE, tmp_path / "c", num_steps=8)
    step = int(re.search(r"step (\d+)", str(error.value))[1])
    index = pipeline.make_plan(SOURCE, wild, train=True)[step - 1].index
    assert f"(images {SOURCE.image_ids[index].tolist()})" in str(error.value)
    assert checkpoints.steps(tmp_path / "c" / "checkpoints")[-1] == step - 1
    for number in checkpoints.steps(tmp_path / "c" / "checkpoints"):
        saved = checkpoints.load(tmp_path / "c" / "checkpoints" / str(number)).variables
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(saved))
    assert [row["step"] for row in lines(tmp_path / "c")] == list(range(1, step))


def test_steps_that_are_not_finite_can_be_skipped(tmp_path, capsys):
    wild = replace(CONFIG, schedule=replace(CONFIG.schedule, optimizer="sgd", learning_rate=1e30, clip_norm=1e30))
    assert loop.train(wild, SOURCE, tmp_path / "d", num_steps=60, stop_at=6, extras=loop.Extras(on_nan="skip")) == 6
    rows = lines(tmp_path / "d")
    skipped = [row["step"] for row in rows if row["skipped"]]
    assert skipped
    assert skipped == list(range(skipped[0], 7)), "the state is unchanged, so every later batch fails too"
    assert all(row["grad_norm"] is None or row["loss/total"] is None for row in rows[skipped[0] - 1 :])
    warnings = [
        line for line in capsys.readouterr().err.splitlines() if "the step is skipped and the state unchanged" in line
    ]
    assert len(warnings) == len(skipped)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(checkpoints.load(tmp_path / "d").variables))


def test_skipping_ends_after_too_many_steps_that_are_not_finite(tmp_path):
    wild = replace(CONFIG, schedule=replace(CONFIG.schedule, optimizer="sgd", learning_rate=1e30, clip_norm=1e30))
    with pytest.raises(NotFinite, match=r"20 steps in a row, from step (\d+) on, were not finite") as error:
        loop.train(wild, SOURCE, tmp_path / "d", num_steps=60, extras=loop.Extras(on_nan="skip"))
    first = int(re.search(r"step (\d+)", str(error.value))[1])
    rows = lines(tmp_path / "d")
    assert [row["step"] for row in rows if row["skipped"]] == list(range(first, first + 20))
    assert rows[-1]["step"] == first + 19


def test_a_finite_step_resets_the_count_of_skipped_steps(tmp_path):
    with Log(tmp_path, 0, 1, lambda step: [], "skip", writes=False) as log:
        for step in range(1, 100):
            log.add(step, {"loss/total": jnp.array(1.0 if step % 20 == 0 else jnp.nan)})
            log.write(0)
        assert log.num_skipped == 19  # steps 81 to 99: one more in a row would have ended the run


def test_measurements_are_written_while_the_device_works_on_the_next_step(tmp_path):
    """The last step's are left, since to fetch them is to wait for it."""
    with Log(tmp_path, 0, 1, lambda step: [], "stop", writes=True) as log:
        for step in (9, 10, 11):
            log.add(step, {"loss/total": jnp.array(0.5)})
        assert log.write(0, keeps_last=True).startswith("loss 0.500, ")
        assert [step for step, _ in log.pending] == [11]
        assert log.write(0, keeps_last=True) == "", "there is nothing new"
        assert [(row["step"], "images_per_s" in row) for row in lines(tmp_path)] == [(9, False), (10, True)]
        log.write(0)
        assert [row["step"] for row in lines(tmp_path)] == [9, 10, 11]


class Broken:
    """A source of many images, of which some cannot be read."""

    def __init__(self, number: int, broken: set[int]):
        self.broken = broken
        index = np.arange(number)
        self.sizes, self.is_labelled = SOURCE.sizes[index % 16], SOURCE.is_labelled[index % 16]
        self.has_people, self.skeleton = self.is_labelled, SOURCE.skeleton
        self.image_ids = index + 100

    def __len__(self):
        return len(self.image_ids)

    def __getitem__(self, index):
        if index in self.broken:
            raise UserError(f"{index}.jpg: not an image that can be read.")
        return SOURCE[index % 16]._replace(image_id=index + 100)

    def labels_hash(self):
        return ""

    def ground_truth(self):
        return {}


def test_at_most_two_steps_wait_on_the_device(tmp_path, monkeypatch):
    losses, at_work, numbers = iter(jnp.arange(4.0)), [], []

    def step_function(state, batch):
        at_work.append(next(losses))
        numbers.append(len(at_work))
        return state, {"loss/total": at_work[-1]}

    def recording_wait(wait):
        def wait_and_record(arrays):
            ready = {id(leaf) for leaf in jax.tree.leaves(arrays)}
            at_work[:] = [loss for loss in at_work if id(loss) not in ready]
            return wait(arrays)

        return wait_and_record

    for name in ("block_until_ready", "device_get"):
        monkeypatch.setattr(jax, name, recording_wait(getattr(jax, name)))
    monkeypatch.setattr(sharding, "jit_train_step", lambda *_: step_function)
    loop.train(CONFIG, SOURCE, tmp_path / "run", num_steps=4)
    assert numbers == [1, 2, 2, 2]


def test_a_few_unreadable_images_are_named_counted_and_left_blank(tmp_path, capsys):
    config = replace(CONFIG, data=replace(CONFIG.data, train_images="all"))
    first = int(pipeline.make_plan(Broken(2000, set()), config, train=True)[0].index[3])
    loop.train(config, Broken(2000, {first}), tmp_path / "e", num_steps=10)
    assert lines(tmp_path / "e")[-1]["unreadable"] == 1
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warnings == [
        f"inspose: warning: {first}.jpg: not an image that can be read. Its place in the batch stays blank."
    ]


def test_more_than_one_unreadable_image_in_a_thousand_stops(capsys):
    source = pipeline.Tolerant(Broken(2000, {3, 4, 5}))
    plan = pipeline.make_plan(source, CONFIG, train=False)
    batch = pipeline.load_batch(source, plan[0]._replace(index=np.int32([2, 3, -1, 4])), CONFIG, slice(4))
    assert batch.is_real.tolist() == [True, False, False, False]
    np.testing.assert_array_equal(batch.image[0], SOURCE[2].image)
    assert not batch.image[1:].any()
    with pytest.raises(ValueError, match=r"3 of 2000 images cannot be read, which is more than one in a thousand"):
        source[5]


def test_evaluations_are_logged_and_the_best_is_kept(tmp_path):
    scores = iter([0.2, 0.5, 0.5, 0.3])
    seen = []

    def evaluate(variables):
        seen.append(variables)
        return loop.Evaluation({"AP": next(scores), "AR": 0.1}, np.zeros((8, 8, 3), np.uint8))

    run = tmp_path / "f"
    loop.train(CONFIG, SOURCE, run, num_steps=12, stop_at=9, extras=loop.Extras(evaluate, eval_every=3))
    assert [row for row in lines(run) if "eval/AP" in row] == [
        {"step": step, "eval/AP": ap, "eval/AR": 0.1, "validation": ""} for step, ap in ((3, 0.2), (6, 0.5), (9, 0.5))
    ]
    assert checkpoints.steps(run / "best") == [6]  # of equal ones the first
    jax.tree.map(np.testing.assert_array_equal, checkpoints.load(run / "best").variables, seen[1])
    loop.train(CONFIG, SOURCE, run, num_steps=12, resume=True, extras=loop.Extras(evaluate, eval_every=3))
    assert checkpoints.steps(run / "best") == [6], "a resumed run knows the best value so far"
    assert checkpoints.steps(run / "checkpoints") == [10, 12]
    events = board_of(run)
    assert {step: value.simple_value for step, value in events["eval/AP"]} == pytest.approx(
        {3: 0.2, 6: 0.5, 9: 0.5, 12: 0.3}
    )
    assert [step for step, _ in events["loss/total"]] == [10]
    sheet = events["eval/predictions"][0][1].image
    assert (sheet.height, sheet.width) == (8, 8)


@pytest.mark.parametrize(("eval_every", "expected"), [(3, [2]), (2, []), (0, [2])])
def test_an_evaluation_is_tried_out_at_the_first_save_unless_one_was_made(tmp_path, monkeypatch, eval_every, expected):
    monkeypatch.setattr(timetable, "FIRST_SAVE", 2)
    losses, done, tried = list(jnp.ones(5)), [], []

    def step_function(state, batch):
        done.append(batch)
        return state, {"loss/total": losses.pop()}

    monkeypatch.setattr(sharding, "jit_train_step", lambda *_: step_function)

    def try_out(variables):
        tried.append(len(done))
        assert variables.keys() == {"params", "batch_stats"}

    def evaluate(variables):
        return loop.Evaluation({"AP": 0.5}, np.zeros((8, 8, 3), np.uint8))

    extras = loop.Extras(evaluate, eval_every, try_out=try_out)
    loop.train(CONFIG, SOURCE, tmp_path / "run", num_steps=6, stop_at=4, extras=extras)
    assert tried == expected
    # Where the run goes on it may be another device, or another set to evaluate on.
    again = extras._replace(eval_every=9)
    loop.train(CONFIG, SOURCE, tmp_path / "run", num_steps=6, stop_at=5, resume=True, extras=again)
    assert tried == [*expected, 5]


def test_scores_on_other_images_are_not_compared(tmp_path):
    scores, run = iter([0.5, 0.1, 0.2]), tmp_path / "run"

    def extras(validation):
        def evaluate(variables):
            return loop.Evaluation({"AP": next(scores)}, np.zeros((8, 8, 3), np.uint8))

        return loop.Extras(evaluate, eval_every=2, validation=validation)

    loop.train(CONFIG, SOURCE, run, num_steps=12, stop_at=2, extras=extras("one set"))
    with pytest.warns(
        UserWarning,
        match=r"best: was chosen by other images, labels or test-time fields than now; it is kept as best.aside",
    ):
        loop.train(CONFIG, SOURCE, run, num_steps=12, stop_at=4, resume=True, extras=extras("another"))
    assert checkpoints.steps(run / "best.aside") == [2]
    assert checkpoints.steps(run / "best") == [4]
    assert (checkpoints.best_value(run / "best.aside"), checkpoints.best_value(run / "best")) == (0.5, 0.2)
    told = [(row["step"], row["eval/AP"], row["validation"]) for row in lines(run) if "eval/AP" in row]
    assert told == [(2, 0.5, "one set"), (2, 0.1, "another"), (4, 0.2, "another")]
    assert read_run(run).metrics["eval/AP"].values.tolist() == [0.1, 0.2]


def test_an_evaluation_that_fails_loses_no_step_and_is_repeated(tmp_path):
    seen = []

    def evaluate(variables):
        seen.append(variables)
        if len(seen) == 1:
            raise ValueError("an image that cannot be read")
        return loop.Evaluation({"AP": 0.5}, np.zeros((8, 8, 3), np.uint8))

    def train():
        loop.train(CONFIG, SOURCE, tmp_path / "run", num_steps=5, resume=True, extras=loop.Extras(evaluate, 5))

    with pytest.raises(ValueError, match="an image that cannot be read"):
        train()
    assert checkpoints.steps(tmp_path / "run/checkpoints") == [5]
    train()
    train()
    jax.tree.map(np.testing.assert_array_equal, *seen)  # two in all: not repeated once it exists
    assert [row["step"] for row in lines(tmp_path / "run") if "eval/AP" in row] == [5]
    assert checkpoints.steps(tmp_path / "run/best") == [5]


def test_an_image_that_two_processes_cannot_read_counts_once(monkeypatch):
    theirs = np.array([False, True, True, False])
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        processes.multihost_utils,
        "process_allgather",
        lambda mine: np.stack([mine, theirs if mine.shape else theirs.sum()]),
    )
    assert processes.union_size({0, 1}, 4) == 3
    assert processes.union_size(set(), 4) == 2


def test_steps_outside_the_run_cannot_be_traced(workdir, tmp_path):
    run = shutil.copytree(workdir, tmp_path / "run")
    message = "none of the steps 3 to 7 can be traced: this run is complete, at step 12"
    with pytest.raises(ValueError, match=message):
        loop.train(CONFIG, SOURCE, run, num_steps=12, resume=True, extras=loop.Extras(profile=range(3, 8)))


def test_a_line_cut_off_by_a_kill_is_dropped(workdir, tmp_path):
    run = shutil.copytree(workdir, tmp_path / "run")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 13, "loss/to')
    loop.train(CONFIG, SOURCE, run, num_steps=12, resume=True)
    assert [row["step"] for row in lines(run)] == list(range(1, 13))

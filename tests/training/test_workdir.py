"""A run may resume only if nothing changes its numbers; other differences are recorded."""

import json
from dataclasses import replace

import pytest
import tiny
from small_run import CONFIG, SOURCE, lines

from inspose_jax import config_json, methods
from inspose_jax.config import Data
from inspose_jax.errors import UserError
from inspose_jax.training import loop
from inspose_jax.training import workdir as run_workdir


def begin(folder, config=CONFIG):
    """Make a folder like that of a run that has made no step."""
    run_workdir.open_workdir(folder, run_workdir.description(config, tiny.METHOD, 12, SOURCE, None), [], 0, "")


def changes(folder, config, method=tiny.METHOD):
    return run_workdir.changes(
        folder, run_workdir.description(config, method, 12, SOURCE, None), config, method, has_saved=True
    )


def test_machine_and_test_time_fields_may_differ(tmp_path):
    begin(tmp_path)
    assert changes(tmp_path, CONFIG) == []
    other = replace(
        CONFIG,
        model=tiny.model(score_threshold=0.25),
        data=replace(CONFIG.data, test_short_side=48),
        machine=replace(CONFIG.machine, num_threads=5, save_every=7),
    )
    assert sorted(changes(tmp_path, other)) == [
        "data.test_short_side 64 -> 48",
        "machine.num_threads 2 -> 5",
        "machine.save_every 5 -> 7",
        "model.score_threshold 0.1 -> 0.25",
    ]


@pytest.mark.parametrize(
    ("other", "line"),
    [
        (replace(CONFIG, schedule=replace(CONFIG.schedule, learning_rate=0.5)), "schedule.learning_rate 0.001 -> 0.5"),
        (replace(CONFIG, model=tiny.model(num_slots=3)), "model.num_slots 16 -> 3"),
        (replace(CONFIG, data=replace(CONFIG.data, flip=0.0)), "data.flip 0.5 -> 0.0"),
    ],
)
def test_changes_that_affect_the_numbers_are_refused(tmp_path, other, line):
    begin(tmp_path)
    with pytest.raises(UserError, match=f"was started with other values: {line}. Use those, or another folder"):
        changes(tmp_path, other)


def test_accumulate_may_differ_only_if_batch_norm_is_frozen(tmp_path):
    more = replace(CONFIG, schedule=replace(CONFIG.schedule, accumulate=2))
    begin(tmp_path / "trained")
    with pytest.raises(UserError, match=r"schedule.accumulate 1 -> 2 \(its trained batch norm uses the statistics"):
        changes(tmp_path / "trained", more)
    model = tiny.model(batch_norm="frozen")
    begin(tmp_path / "frozen", replace(CONFIG, model=model))
    found = changes(tmp_path / "frozen", replace(more, model=model), methods.for_model(model))
    assert found == ["schedule.accumulate 1 -> 2"]


def test_frozen_layers_need_initial_weights_in_python_too(tmp_path):
    frozen = replace(CONFIG, model=tiny.model(batch_norm="frozen"))
    with pytest.raises(UserError, match=r"the frozen layers would stay random: give pretrained weights"):
        loop.train(frozen, SOURCE, tmp_path / "run", num_steps=2)
    assert not (tmp_path / "run").exists()


def test_every_start_is_in_the_history_with_its_changes_and_the_config_is_updated(workdir, tmp_path):
    run = tmp_path / "run"
    loop.train(CONFIG, SOURCE, run, num_steps=12, stop_at=6)
    other = replace(CONFIG, machine=replace(CONFIG.machine, num_threads=3))
    loop.train(other, SOURCE, run, num_steps=12, resume=True)
    first, second = map(json.loads, (run / "history.jsonl").read_text().splitlines())
    assert (first["step"], first["changed"]) == (0, [])
    assert (second["step"], second["changed"]) == (6, ["machine.num_threads 2 -> 3"])
    assert first["versions"] == second["versions"] == json.loads((run / "versions.json").read_text())
    assert json.loads((run / "config.json").read_text())["machine"]["num_threads"] == 3
    assert lines(run, timing=False) == lines(workdir, timing=False)


def test_a_run_of_an_earlier_format_resumes_and_the_history_says_so(tmp_path):
    begin(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    model = about["model"]
    # Fields that were added to format 2.
    later = {"map_ratio", "box_head", "assigned_boxes", "classification_loss", "suppression", "least_score", "box"}
    parts = [model.pop(part) for part in ("network", "assignment", "decoding")]
    flat = {name: value for part in parts for name, value in part.items() if name not in later}
    weights = {f"weight_{name}": value for name, value in model.pop("weights").items() if name not in later}
    machine = about.pop("machine")
    first = {
        **{name: about[name] for name in about if name not in config_json.NAMES},
        "model": {**model, **flat, "skeleton": "coco"},
        "data": {**about["data"], "num_threads": machine["num_threads"]},
        "schedule": {**about["schedule"], **weights, "save_every": machine["save_every"]},
    }
    (tmp_path / "config.json").write_text(json.dumps(first))
    assert changes(tmp_path, CONFIG) == ["format 1 -> 2"]
    first["data"]["flip"] = 0.25
    (tmp_path / "config.json").write_text(json.dumps(first))
    with pytest.raises(UserError, match=f"data.flip 0.25 -> {Data().flip}"):
        changes(tmp_path, CONFIG)


def test_the_initial_weights_need_not_be_given_again_but_others_are_refused(tmp_path):
    begun, same, other, without = (
        run_workdir.description(CONFIG, tiny.METHOD, 12, SOURCE, weights) for weights in ("a1", "a1", "b2", None)
    )
    run = tmp_path / "run"
    run_workdir.open_workdir(run, begun | {"from_weights": {"kept": "everything"}}, [], 0, "")
    assert run_workdir.changes(run, same, CONFIG, tiny.METHOD, has_saved=True) == []
    assert run_workdir.changes(run, without, CONFIG, tiny.METHOD, has_saved=True) == []
    with pytest.raises(ValueError, match=r"was started with other values: weights a1 -> b2\. Use those"):
        run_workdir.changes(run, other, CONFIG, tiny.METHOD, has_saved=True)
    with pytest.raises(ValueError, match=r"weights \w+ -> None"):  # it would start from random ones
        run_workdir.changes(run, without, CONFIG, tiny.METHOD, has_saved=False)
    run_workdir.open_workdir(run, without, ["machine.num_threads 2 -> 3"], 5, "")
    about = json.loads((run / "config.json").read_text())
    assert (about["weights"], about["from_weights"]) == ("a1", {"kept": "everything"})


class Corrected:
    """A source whose labels were corrected since: the same images, another hash."""

    def __init__(self):
        self.sizes, self.image_ids = SOURCE.sizes, SOURCE.image_ids
        self.is_labelled, self.has_people = SOURCE.is_labelled, SOURCE.has_people
        self.skeleton = SOURCE.skeleton

    def __len__(self):
        return len(SOURCE)

    def __getitem__(self, index):
        return SOURCE[index]

    def labels_hash(self):
        return "corrected"

    def ground_truth(self):
        return {}


def test_a_run_does_not_resume_with_other_labels_of_the_same_images(tmp_path):
    begun, other = (run_workdir.description(CONFIG, tiny.METHOD, 12, source, None) for source in (SOURCE, Corrected()))
    run_workdir.open_workdir(tmp_path, begun, [], 0, "")
    assert run_workdir.changes(tmp_path, begun, CONFIG, tiny.METHOD, has_saved=True) == []
    message = r"other values: labels \w+ -> corrected. Use those, or start a new run with these: another --workdir$"
    with pytest.raises(ValueError, match=message):
        run_workdir.changes(tmp_path, other, CONFIG, tiny.METHOD, has_saved=True)
    stored = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(stored | {run_workdir.WEIGHTS: "abc"}))
    with pytest.raises(ValueError, match="another --workdir, and the same --init"):
        run_workdir.changes(tmp_path, other | {run_workdir.WEIGHTS: "abc"}, CONFIG, tiny.METHOD, has_saved=True)
    # An early version did not store them: its runs can be resumed.
    del stored["labels"]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    assert run_workdir.changes(tmp_path, other, CONFIG, tiny.METHOD, has_saved=True) == []

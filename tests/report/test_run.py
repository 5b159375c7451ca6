"""Reading a run's folder: its content is read unchanged, and anything else gives a one-line error."""

import json

import numpy as np
import pytest
import tiny

from inspose_jax import config_json
from inspose_jax.report.run import Series, read_metrics, read_run, throughput

ABOUT = {"num_steps": 30, **config_json.to_dict(tiny.CONFIG)}


def series(*pairs) -> Series:
    steps, values = zip(*pairs, strict=True)
    return Series(np.array(steps), np.array(values, float))


def test_a_partial_last_line_is_left_out_and_null_is_not_a_number(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 1, "loss/total": 4.5, "skipped": 0}\n'
        '{"step": 2, "loss/total": null, "skipped": 1}\n'
        '{"step": 2, "eval/AP": 0.25}\n'
        '{"step": 3, "loss/total": 3.5, "skipped": 0}\n'
        '{"step": 4, "loss/to'
    )
    metrics = read_metrics(tmp_path)
    assert {name: [one.tolist() for one in column] for name, column in metrics.items()} == {
        "loss/total": [[1, 3], [4.5, 3.5]],
        "skipped": [[1, 2, 3], [0, 1, 0]],
        "eval/AP": [[2], [0.25]],
    }


def test_a_run_before_its_first_step_has_no_measurements(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(ABOUT))
    run = read_run(tmp_path)
    assert (run.step, run.num_steps, run.metrics, run.versions, run.checkpoints) == (0, 30, {}, {}, [])


def test_throughput_accepts_speeds_without_data_wait_and_ignores_step_0():
    assert throughput({"images_per_s": series((0, 3))}, 8) == {}
    found = throughput({"images_per_s": series((0, 3), (10, 8), (20, 8)), "data_wait": series((20, 0.1))}, 8)
    assert found == {"training_seconds": 20.0, "images_per_s": 8.0, "data_wait": 0.1}
    assert "data_wait" not in throughput({"images_per_s": series((10, 8))}, 8), (
        "without measurements of waiting, it is not 0"
    )


def test_a_number_too_large_for_an_array_is_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1, "a": 1{"0" * 400}, "b": 3}}\n')
    metrics = read_metrics(tmp_path)
    assert {name: series.values.tolist() for name, series in metrics.items()} == {"b": [3.0]}


@pytest.mark.parametrize("line", ["nonsense", '{"loss/total": 1}', '{"step": "x"}', "[1]", '{"step": 1e30}'])
def test_a_damaged_line_in_the_middle_is_named(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(ValueError, match="line 2 is not the measurements of a step; remove that line"):
        read_metrics(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config.json": "[]"}, "config.json: not an object"),
        ({"config.json": '{"num_steps": 3}'}, "config.json: not a run's configuration"),
        ({"config.json": json.dumps({**ABOUT, "schedule": {}})}, "config.json: not a run's configuration"),
        ({"config.json": json.dumps(ABOUT), "versions.json": "x"}, "versions.json: not JSON"),
    ],
)
def test_a_folder_that_is_not_a_run_gives_a_one_line_error(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_run(tmp_path)


def test_throughput_weighs_each_window_by_its_time():
    # 10 steps of 8 images at 10, 20, 40 images a second: 8, 4, 2 seconds
    metrics = {
        "images_per_s": series((10, 10), (20, 20), (30, 40)),
        "data_wait": series((10, 0.5), (20, 0.25), (30, 0)),
    }
    assert throughput(metrics, 8) == {"training_seconds": 14.0, "images_per_s": 30.0, "data_wait": round(5 / 14, 4)}
    assert throughput({}, 8) == {}

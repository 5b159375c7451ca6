"""Several processes under `jax.distributed` on this machine: evaluation gives what one process gives."""

import json
import re

import pytest
from together import run_together

from inspose_jax import cli
from inspose_jax.cli import processes


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A drawn set of three batches."""
    drawn = tmp_path_factory.mktemp("processes") / "drawn"
    cli.main(["data", "draw", "--out", str(drawn), "--count", "20", "--size", "64"])
    return drawn


def evaluate(place, drawn, out, *more):
    data = ["--images", drawn / "images", "--annotations", drawn / "annotations.json"]
    return [*map(str, ["-m", "inspose_jax", "eval", "--checkpoint", place / "run", *data, "--out", out, *more])]


def test_evaluation_split_over_two_processes_writes_the_same_bytes(place, drawn, tmp_path):
    (alone,) = run_together(evaluate(place, drawn, tmp_path / "one"), 1)
    assert alone.returncode == 0, alone.stderr
    first, second = run_together(evaluate(place, drawn, tmp_path / "two", "--distributed"), 2)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert len(json.loads((tmp_path / "one/results.json").read_text())) > 20
    for name in ("results.json", "metrics.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    printed = [re.sub(r"\[Gloo\].*\n", "", process.stdout) for process in (first, second)]
    assert printed == [alone.stdout, ""]


def test_a_picture_that_only_one_process_reads_is_named_by_both(place, drawn, tmp_path):
    content = json.loads((drawn / "annotations.json").read_text())
    content["images"][12]["height"] = 32  # in the second batch, the second process's
    (tmp_path / "labels.json").write_text(json.dumps(content))
    arguments = evaluate(place, drawn, tmp_path / "out", "--annotations", tmp_path / "labels.json", "--distributed")
    for process in run_together(arguments, 2):
        assert process.returncode == 2, process.stderr
        assert "labels would not fit" in process.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_process_that_nobody_tells_of_others_says_so(place, drawn, tmp_path):
    (alone,) = run_together(evaluate(place, drawn, tmp_path / "out", "--distributed"), 1)
    assert alone.returncode == 2
    assert "--distributed: nothing tells about other processes" in alone.stderr
    assert alone.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (("127.0.0.1:1", "2", ""), "JAX_PROCESS_ID= do not describe a run; set all three"),
        (("127.0.0.1", "2", "0"), "JAX_COORDINATOR_ADDRESS=127.0.0.1, JAX_NUM_PROCESSES=2"),
        (("127.0.0.1:1", "2", "2"), "JAX_PROCESS_ID=2 do not describe a run"),
        (("127.0.0.1:1", "x", "0"), "JAX_NUM_PROCESSES=x"),
    ],
)
def test_a_process_that_is_not_told_enough_says_so(monkeypatch, told, message):
    for name, value in zip(processes.VARIABLES, told, strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        processes.join()

"""Several processes under `jax.distributed` on this machine: they give the same results as one process."""

import json
import re
import signal

import jax
import numpy as np
import pytest
import train_process
from together import environments, run_together

from inspose_jax import checkpoints, cli
from inspose_jax.cli import distributed


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A drawn dataset of three batches."""
    drawn = tmp_path_factory.mktemp("processes") / "drawn"
    cli.main(["data", "draw", "--out", str(drawn), "--count", "20", "--size", "64"])
    return drawn


def evaluate(place, drawn, out, *more):
    data = ["--images", drawn / "images", "--annotations", drawn / "annotations.json"]
    return [*map(str, ["-m", "inspose_jax", "eval", "--checkpoint", place / "run", *data, "--out", out, *more])]


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 4])  # of four processes, one has nothing to do
def test_evaluation_split_over_processes_writes_the_same_bytes(place, drawn, tmp_path, number):
    (alone,) = run_together(evaluate(place, drawn, tmp_path / "one"), 1)
    assert alone.returncode == 0, alone.stderr
    together = run_together(evaluate(place, drawn, tmp_path / "split", "--distributed"), number)
    assert [process.returncode for process in together] == [0] * number, [process.stderr for process in together]
    assert len(json.loads((tmp_path / "one/results.json").read_text())) > 20
    for name in ("results.json", "metrics.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "split" / name).read_bytes()
    printed = [re.sub(r"\[Gloo\].*\n", "", process.stdout) for process in together]
    assert printed == [alone.stdout, *[""] * (number - 1)]


def test_an_image_that_only_one_process_reads_is_named_by_both(place, drawn, tmp_path):
    content = json.loads((drawn / "annotations.json").read_text())
    content["images"][12]["height"] = 32  # in the second batch, the second process's
    (tmp_path / "labels.json").write_text(json.dumps(content))
    arguments = evaluate(place, drawn, tmp_path / "out", "--annotations", tmp_path / "labels.json", "--distributed")
    for process in run_together(arguments, 2):
        assert process.returncode == 2, process.stderr
        assert "labels would not fit" in process.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_process_without_a_configuration_reports_it(place, drawn, tmp_path):
    (alone,) = run_together(evaluate(place, drawn, tmp_path / "out", "--distributed"), 1)
    assert alone.returncode == 2
    assert "--distributed: no other process is known" in alone.stderr
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
def test_a_process_with_an_incomplete_configuration_reports_it(monkeypatch, told, message):
    for name, value in zip(distributed.VARIABLES, told, strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        distributed.join()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            "RESOURCE_EXHAUSTED: Out of memory trying to allocate 9 bytes.\nAllocations:",
            "out of memory (RESOURCE",
        ),
        (
            "UNAVAILABLE: Connection closed by peer",
            "process 0 of 2: another process of this run has ended (UNAVAILABLE",
        ),
        ("UNREADABLE: the words of somebody else", ""),
        ("a.jpg: INTERNAL: no status, since it does not begin with it", ""),
    ],
)
def test_runtime_errors_are_distinguished_from_other_errors(monkeypatch, error, words):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    told = distributed.runtime_fault(ValueError(error), "predict")
    assert words in told
    assert bool(told) == bool(words)
    assert "Allocations" not in told
    assert "--config" not in told, "no advice names an option that the command lacks"


def test_all_processes_use_the_first_ones_value(tmp_path):
    program = (
        "import jax\nfrom inspose_jax import processes\nfrom inspose_jax.cli import distributed\n"
        "distributed.join()\nprint('seen', processes.from_first(0.25 + jax.process_index()))"
    )
    for process in run_together(["-c", program], 2):
        assert process.stdout.splitlines()[-1] == "seen 0.25", process.stderr


# --- training -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "small.py"
    return train_process.write_recipe(path, optimizer="sgd", batch_size=4, save_every=1000)


def train_together(recipe, place, number, validation):
    """Six steps in float64, with an evaluation at the end on request; each process has its own devices, four in all."""
    place.mkdir()
    evaluation = []
    if validation:
        data = ["--val-images", validation / "images", "--val-annotations", validation / "annotations.json"]
        evaluation = [*data, "--eval-every", 6]
    running = [
        train_process.start(
            *(recipe, "--workdir", place / "run", "--steps", 6, *["--distributed"] * (number > 1)),
            *evaluation,
            devices=4 // number,
            STEPS_FILE=place / f"steps{i}",
            JAX_ENABLE_X64=1,
            **more,
        )
        for i, more in enumerate(environments(number))
    ]
    try:
        ended = [process.communicate(timeout=500) for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0] * number, ended


@pytest.fixture(scope="module")
def alone(recipe, tmp_path_factory, drawn):
    place = tmp_path_factory.mktemp("alone") / "a"
    train_together(recipe, place, 1, drawn)
    return place


def parameters_in_float64(folder):
    """The parameters of the newest checkpoint as stored; by default, jax converts them to float32."""
    jax.config.update("jax_enable_x64", True)
    try:
        return jax.tree.map(np.asarray, checkpoints.newest(folder)[1]["params"])
    finally:
        jax.config.update("jax_enable_x64", False)


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 4])
def test_training_split_over_processes_ends_with_the_parameters_of_one(recipe, alone, drawn, tmp_path, number):
    place = tmp_path / "together"
    is_evaluated = number == 2  # in four processes `eval` is tested above
    train_together(recipe, place, number, drawn if is_evaluated else None)
    ends = [parameters_in_float64(folder / "run/checkpoints") for folder in (alone, place)]
    for one, other in zip(*map(jax.tree.leaves, ends), strict=True):
        assert one.dtype == np.float64
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10 * np.abs(one).max())

    given = train_process.image_ids_of_steps(alone / "steps0")
    for i in range(number):  # every process loads its own rows and no others
        rows = slice(i * 4 // number, (i + 1) * 4 // number)
        own = train_process.image_ids_of_steps(place / f"steps{i}")
        assert own == {step: images[rows] for step, images in given.items()}
    steps = [row["step"] for row in train_process.rows(place / "run")]
    assert steps == [1, 2, 3, 4, 5, 6, *[6] * is_evaluated]  # written by one of them; the last one is an evaluation
    assert checkpoints.steps(alone / "run/best") == [6]
    assert checkpoints.steps(place / "run/best") == [6] * is_evaluated
    assert len(list((place / "run/tensorboard").iterdir())) == 1


@pytest.mark.slow
def test_a_run_of_two_processes_resumes_with_another_validation_set(recipe, drawn, place, tmp_path):
    def train(stop_at, data, *more):
        validation = ["--val-images", data / "images", "--val-annotations", data / "annotations.json"]
        arguments = ["--workdir", tmp_path / "run", "--steps", 6, "--stop-at", stop_at, "--eval-every", 3, *validation]
        command = [train_process.__file__, recipe, *arguments, "--distributed", *more]
        ended = run_together([str(word) for word in command], 2)
        assert [process.returncode for process in ended] == [0, 0], [process.stderr[-2000:] for process in ended]

    train(3, drawn)
    train(6, place / "drawn", "--resume")
    assert checkpoints.steps(tmp_path / "run/best.aside") == [3]
    assert checkpoints.about_best(tmp_path / "run/best")["validation"].startswith("4, ")
    told = [(row["step"], row["validation"][:2]) for row in train_process.rows(tmp_path / "run") if "eval/AP" in row]
    assert told == [(3, "20"), (3, "4,"), (6, "4,")]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [1, 0])
def test_when_a_process_is_killed_the_others_end_with_a_message(recipe, tmp_path, victim):
    arguments = (recipe, "--workdir", tmp_path / "run", "--steps", 1_000_000, "--distributed")
    running = [train_process.start(*arguments, **more) for more in environments(2)]
    try:
        train_process.wait_for_lines(running[0], tmp_path / "run/metrics.jsonl", 20)
        running[victim].kill()
        _, err = running[1 - victim].communicate(timeout=60)
    finally:
        for process in running:
            process.kill()
            process.communicate()
    ours = f"inspose: error: process {1 - victim} of 2: another process of this run has ended"
    if victim == 0 and running[1].returncode == -signal.SIGABRT:
        # The first process coordinates the others: jax may end them before Python can print anything.
        assert "This most likely indicates that another task died" in err
    else:
        assert running[1 - victim].returncode == 2, err[-2000:]
        assert ours in err


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_at_the_same_step(recipe, tmp_path):
    arguments = (recipe, "--workdir", tmp_path / "run", "--steps", 1_000_000, "--distributed")
    running = [train_process.start(*arguments, **more) for more in environments(2)]
    try:
        train_process.wait_for_lines(running[0], tmp_path / "run/metrics.jsonl", 20)
        running[1].send_signal(signal.SIGTERM)
        outputs = [process.communicate(timeout=120) for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], outputs
    (step,) = checkpoints.steps(tmp_path / "run/checkpoints")
    assert step % 10 == 1, "where measurements are fetched, the processes ask each other"
    assert f"stopped at step {step} of 1000000; resume with: inspose train" in outputs[0][0]
    assert "resume with" not in outputs[1][0]

"""A run that was stopped in any way resumes in a new process and ends bit for bit like an uninterrupted one."""

import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import train_process

from inspose_jax import checkpoints

STEPS, SAVE_EVERY, KILLS = 160, 4, 20


def state_of(workdir: Path) -> dict:
    """Everything that the newest checkpoint holds, including what prediction does not need."""
    return checkpoints.newest(workdir / "checkpoints")[1]


def assert_same_run(workdir: Path, straight: Path) -> None:
    assert train_process.rows(workdir) == train_process.rows(straight)
    jax.tree.map(np.testing.assert_array_equal, state_of(workdir), state_of(straight))


@pytest.fixture(scope="module", autouse=True)
def _as_users_compile():
    """The same bits are required of the program that users run, with all optimisations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "0")
        yield


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.py"
    return train_process.write_recipe(path, optimizer="muon", ema=0.9, save_every=SAVE_EVERY)


@pytest.fixture(scope="module")
def straight(recipe, tmp_path_factory) -> Path:
    """An uninterrupted run, and beside it the images of every step."""
    workdir = tmp_path_factory.mktemp("straight") / "run"
    train_process.run(recipe, "--workdir", workdir, "--steps", STEPS, STEPS_FILE=workdir.with_name("steps"))
    return workdir


@pytest.mark.slow
def test_a_run_killed_at_twenty_random_moments_equals_an_uninterrupted_one(recipe, straight, tmp_path):
    workdir, seen = tmp_path / "run", tmp_path / "steps"
    moments, in_a_save, kills = random.Random(0), 0, 0
    while kills < KILLS:
        done = len(train_process.rows(workdir)) if (workdir / "metrics.jsonl").exists() else 0
        process = train_process.start(recipe, "--workdir", workdir, "--steps", STEPS, "--resume", STEPS_FILE=seen)
        train_process.wait_for_lines(process, workdir / "metrics.jsonl", done + moments.randint(0, 2 * SAVE_EVERY))
        time.sleep(moments.uniform(0, 0.2))
        assert process.poll() is None, process.communicate()[1][-2000:]
        process.kill()
        process.communicate()
        kills += 1
        in_a_save += any(checkpoints.UNFINISHED in path.name for path in workdir.glob("checkpoints/*"))
        if found := checkpoints.steps(workdir / "checkpoints"):
            newest = workdir / "checkpoints" / str(found[-1])
            assert checkpoints.read(newest)[0]["step"] == found[-1], "the newest is always readable"
    assert in_a_save > 0
    train_process.run(recipe, "--workdir", workdir, "--steps", STEPS, "--resume", STEPS_FILE=seen)
    assert_same_run(workdir, straight)
    assert train_process.image_ids_of_steps(seen) == train_process.image_ids_of_steps(straight.with_name("steps"))


@pytest.mark.slow
def test_sigterm_saves_and_the_printed_command_resumes(recipe, straight, tmp_path):
    workdir = tmp_path / "run"
    process = train_process.start(recipe, "--workdir", workdir, "--steps", STEPS)
    train_process.wait_for_lines(process, workdir / "metrics.jsonl", 2 * SAVE_EVERY + 1)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "SIGTERM: saving and stopping; a second signal stops at once" in err
    step = checkpoints.steps(workdir / "checkpoints")[-1]
    assert 2 * SAVE_EVERY < step < STEPS
    assert out.startswith(f"stopped at step {step} of {STEPS}; resume with: inspose train ")
    assert len(train_process.rows(workdir)) == step
    again = shlex.split(out.split("inspose train ")[1])
    assert again[-1] == "--resume"
    train_process.run(*again, "--stop-at", step + 2 * SAVE_EVERY)
    assert train_process.rows(workdir) == train_process.rows(straight)[: step + 2 * SAVE_EVERY]


def test_a_second_signal_ends_the_process_at_once():
    script = (
        "import os, signal\n"
        "from inspose_jax.training.interruption import Interruption\n"
        "with Interruption() as interruption:\n"
        "    os.kill(os.getpid(), signal.{0})\n"
        "    print(interruption.received, flush=True)\n"
        "    os.kill(os.getpid(), signal.{0})\n"
        "    print('still here', flush=True)\n"
    )
    for name in ("SIGTERM", "SIGINT"):
        command = [sys.executable, "-c", script.format(name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout == "True\n"
        assert done.returncode == -signal.Signals[name]


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_one_line_and_keeps_what_was_saved(recipe, straight, tmp_path):
    workdir = tmp_path / "run"
    arguments = (recipe, "--workdir", workdir, "--steps", STEPS)
    _, err = train_process.run(*arguments, code=2, FILE_LIMIT=50_000)
    line = err.splitlines()[-1]
    assert line.startswith(f"inspose: error: {workdir}/checkpoints: step {2 * SAVE_EVERY} could not be saved (File too")
    assert "Traceback" not in err
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == [str(SAVE_EVERY)]
    train_process.run(*arguments, "--resume", "--stop-at", 4 * SAVE_EVERY)
    assert train_process.rows(workdir) == train_process.rows(straight)[: 4 * SAVE_EVERY]


@pytest.mark.slow
@pytest.mark.parametrize("devices", [8, 4, 1])
def test_a_run_stopped_on_eight_devices_resumes_on_others(eight, tmp_path, devices):
    recipe, straight, stopped = eight
    workdir, seen = shutil.copytree(stopped, tmp_path / "run"), tmp_path / "steps"
    train_process.run(recipe, "--workdir", workdir, "--steps", 12, "--resume", devices=devices, STEPS_FILE=seen)
    given = train_process.image_ids_of_steps(straight.with_name("steps"))
    assert train_process.image_ids_of_steps(seen) == {step: given[step] for step in range(7, 13)}
    losses = [[row["loss/total"] for row in train_process.rows(run)] for run in (workdir, straight)]
    np.testing.assert_allclose(*losses, rtol=1e-6)


@pytest.fixture(scope="module")
def eight(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A recipe for eight devices, its run of 12 steps, and one that was stopped after six."""
    place = tmp_path_factory.mktemp("eight")
    recipe = train_process.write_recipe(place / "small.py", optimizer="sgd", batch_size=8)
    arguments = (recipe, "--steps", 12)
    train_process.run(*arguments, "--workdir", place / "run", devices=8, STEPS_FILE=place / "steps")
    train_process.run(*arguments, "--workdir", place / "stopped", "--stop-at", 6, devices=8)
    return recipe, place / "run", place / "stopped"

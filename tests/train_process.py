"""`inspose train` in a process of its own, for tests that stop it, kill it, or limit its disk space.

As a script it is the command itself, but writes what each step was given into a file ($STEPS_FILE), may write only so
many bytes into any file ($FILE_LIMIT) from the second checkpoint on, and computes in float64 where jax may.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

TESTS = Path(__file__).parent
RECIPE = """
import sys
sys.path.insert(0, {tests!r})
import dataclasses
import tiny

def recipe():
    schedule = dataclasses.replace(tiny.CONFIG.schedule, {schedule})
    data = dataclasses.replace(tiny.CONFIG.data, num_drawn=64)
    machine = dataclasses.replace(tiny.CONFIG.machine, save_every={save_every})
    return dataclasses.replace(tiny.CONFIG, schedule=schedule, data=data, machine=machine)
"""


def write_recipe(path: Path, save_every: int = 1000, **schedule) -> Path:
    """The tiny config with other values in its schedule, as a recipe file."""
    values = ", ".join(f"{name}={value!r}" for name, value in schedule.items())
    path.write_text(RECIPE.format(tests=str(TESTS), schedule=values, save_every=save_every))
    return path


def start(*arguments: object, devices: int = 1, **environment: object) -> subprocess.Popen:
    """Start the command with these arguments."""
    more = {name: str(value) for name, value in environment.items()}
    process_environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices), **more}
    command = [sys.executable, str(Path(__file__)), *map(str, arguments)]
    return subprocess.Popen(
        command, env=process_environment, cwd=TESTS.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(*arguments: object, devices: int = 1, code: int = 0, **environment: object) -> tuple[str, str]:
    """Run the command to its end and check its exit code; returns its output and its errors."""
    process = start(*arguments, devices=devices, **environment)
    out, err = process.communicate(timeout=500)
    assert process.returncode == code, err[-3000:]
    return out, err


def rows(workdir: Path) -> list[dict]:
    """The metrics of a run, without timings."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    timing = ("images_per_s", "data_wait")
    return [{name: value for name, value in json.loads(line).items() if name not in timing} for line in lines]


def wait_for_lines(process: subprocess.Popen, metrics: Path, number: int) -> None:
    """Wait until the run has written this many lines."""
    while process.poll() is None and (not metrics.exists() or len(metrics.read_text().splitlines()) < number):
        time.sleep(0.05)


def image_ids_of_steps(path: Path) -> dict[int, list[int]]:
    """The checksums of the images of each step, from the last time that it was made."""
    return dict(json.loads(line) for line in path.read_text().splitlines() if line.endswith("]"))


def main() -> None:
    import jax
    import numpy as np

    from inspose_jax import checkpoints, cli
    from inspose_jax.data import pipeline
    from inspose_jax.training import step

    made, saved, created = pipeline.batches, checkpoints.Checkpoints.save, step.new_state

    def recorded(source, plan, config, start, stop, rows=slice(None)):
        if isinstance(plan, list):  # the images of an evaluation
            yield from pipeline_batches(source, plan, config, start, stop, rows)
            return
        for number, batch in enumerate(pipeline_batches(source, plan, config, start, stop, rows), start + 1):
            with open(os.environ["STEPS_FILE"], "a") as file:
                file.write(json.dumps([number, [zlib.crc32(image) for image in batch.image]]) + "\n")
            yield batch

    def doubled(*arguments):
        # Targets too: the last bit of a float32 exp depends on how many are computed together.
        for batch in made(*arguments):
            yield batch._replace(keypoints=batch.keypoints.astype(np.float64))

    def created_doubled(key, *arguments):
        state = created(key, *arguments)
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        return step.state_of(jax.tree.map(lambda x: x.astype(np.float64), variables), *arguments)

    def limited(self, step, *arguments, **more):
        saved(self, step, *arguments, **more)
        self.finish()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = int(os.environ["FILE_LIMIT"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    if jax.config.jax_enable_x64:
        pipeline.batches, step.new_state = doubled, created_doubled
    pipeline_batches = pipeline.batches
    if "STEPS_FILE" in os.environ:
        pipeline.batches = recorded
    if "FILE_LIMIT" in os.environ:
        checkpoints.Checkpoints.save = limited
    sys.argv[1:1] = ["train"]
    cli.main()


if __name__ == "__main__":
    main()

"""From the command to the first step done: python experiments/benchmarks/train_step/start.py

Trains the demo's recipe for one step in a new process, with an empty compilation cache and then with a filled one.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = {"XDG_CACHE_HOME": str(Path(folder) / "cache")}
        for number, name in enumerate(("cold", "warm", "warm", "warm")):
            seconds = first_step(Path(folder) / f"run{number}", cache)
            print(f"{name}: {seconds:.1f} s to the first step's line")


def first_step(workdir: Path, environment: dict[str, str]) -> float:
    """Seconds until the metrics of step 1 are in the workdir."""
    command = ["-m", "inspose_jax", "train", "drawn_people", "--workdir", str(workdir), "--stop-at", "1"]
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command], env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    metrics = workdir / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size):
        assert process.poll() in (None, 0), process.communicate()
        time.sleep(0.05)
    seconds = time.perf_counter() - begin
    process.communicate()
    return seconds


if __name__ == "__main__":
    main()

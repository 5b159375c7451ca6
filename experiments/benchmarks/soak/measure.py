"""Memory and speed over a run of 2,000 steps: python experiments/benchmarks/soak/measure.py

Writes soak.csv (step, memory in MB, images a second) and soak.png beside this file; prints growth and spread.  Options
of `inspose train` may follow; then it only prints.  Memory
is what the process holds of its own (Linux, glibc), without what the allocator only keeps for later: compiling leaves
half a gigabyte there, which it gives back at any moment.
"""

import csv
import ctypes
import json
import re
import sys
import tempfile
import threading
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from inspose_jax import cli

HERE = Path(__file__).parent
STEPS, SETTLED = 2000, 200


def main() -> None:
    workdir = Path(tempfile.mkdtemp()) / "run"
    metrics, memory, ended = workdir / "metrics.jsonl", {}, threading.Event()  # memory: step -> MB

    def watch() -> None:
        while not metrics.exists():
            if ended.wait(0.2):  # it failed before
                return
        with metrics.open("rb") as file:  # only what is new is read: the file's size must not show in memory
            step = 0
            while not ended.wait(0.2):
                step += file.read().count(b"\n")
                if step:
                    memory[step] = own_memory()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        cli.main(["train", str(HERE / "recipe.py"), "--workdir", str(workdir), "--steps", str(STEPS), *sys.argv[1:]])
    finally:
        ended.set()
        watching.join()

    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    speed = {row["step"]: row["images_per_s"] for row in rows if "images_per_s" in row}
    memory.pop(STEPS, None)  # by then the run lets go of things
    settled = np.array([(step, mb) for step, mb in memory.items() if step >= SETTLED])
    slope, start = np.polyfit(settled[:, 0] - SETTLED, settled[:, 1], 1)  # a save holds some MB for a moment
    steps, values = np.array([item for item in speed.items() if item[0] > SETTLED]).T
    half = len(values) // 2
    ratio = np.median(values[half:]) / np.median(values[:half])
    growth = slope * (STEPS - SETTLED) / start
    print(f"memory from step {SETTLED}: {start:.0f} MB, at the end {growth:+.2%} (straight line through all)")
    print(f"median images/s of the second half over the first: {ratio:.3f} ({np.median(values):.0f} images/s)")

    if len(sys.argv) > 1:
        return
    with (HERE / "soak.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "memory_mb", "images_per_s"])
        for step in sorted({**memory, **speed}):
            writer.writerow([step, round(memory[step], 1) if step in memory else "", speed.get(step, "")])

    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(8, 5), layout="constrained")
    above.plot(*zip(*sorted(memory.items()), strict=True))
    above.set(ylabel="memory (MB)", ylim=(0, 1.1 * max(memory.values())))
    below.plot(steps, values, ".", markersize=3)
    below.set(xlabel="step", ylabel="images/s (of ten steps)", ylim=(0, None))
    for axis in (above, below):
        axis.grid(alpha=0.3)
    figure.savefig(HERE / "soak.png", dpi=110)


def own_memory() -> float:
    """Anonymous memory of this process in MB, after the allocator gave back what nobody uses."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    (size,) = re.findall(r"^RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    return int(size) * 1024 / 1e6


if __name__ == "__main__":
    main()

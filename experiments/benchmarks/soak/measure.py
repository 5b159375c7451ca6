"""Memory and speed over a run of 2,000 steps: python experiments/benchmarks/soak/measure.py

Writes soak.csv (step, resident memory in MB, images a second) and soak.png beside this file; prints growth and spread.
"""

import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

HERE = Path(__file__).parent
STEPS, SETTLED = 2000, 200
PAGE = 4096  # bytes of a page of memory on Linux


def main() -> None:
    workdir = Path(tempfile.mkdtemp()) / "run"
    command = ["inspose_jax", "train", str(HERE / "recipe.py"), "--workdir", str(workdir), "--steps", str(STEPS)]
    process = subprocess.Popen([sys.executable, "-m", *command], stderr=subprocess.DEVNULL)
    metrics = workdir / "metrics.jsonl"
    memory = {}  # step -> MB
    while process.poll() is None:
        time.sleep(0.2)
        step = len(metrics.read_text().splitlines()) if metrics.exists() else 0
        pages = Path(f"/proc/{process.pid}/statm").read_text().split()
        if step and pages:
            memory[step] = int(pages[1]) * PAGE / 1e6
    assert process.returncode == 0, process.returncode

    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    speed = {row["step"]: row["images_per_s"] for row in rows if "images_per_s" in row}
    with (HERE / "soak.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "memory_mb", "images_per_s"])
        for step in sorted({**memory, **speed}):
            writer.writerow([step, round(memory[step], 1) if step in memory else "", speed.get(step, "")])

    settled = np.array([(step, mb) for step, mb in memory.items() if step >= SETTLED])
    growth = settled[-20:, 1].mean() / settled[:20, 1].mean() - 1
    steps, values = np.array([item for item in speed.items() if item[0] > SETTLED]).T
    half = len(values) // 2
    ratio = np.median(values[half:]) / np.median(values[:half])
    print(f"memory from step {SETTLED}: {settled[:20, 1].mean():.0f} MB, at the end {growth:+.2%}")
    print(f"median images/s of the second half over the first: {ratio:.3f} ({np.median(values):.0f} images/s)")

    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(8, 5), layout="constrained")
    above.plot(*zip(*sorted(memory.items()), strict=True))
    above.set(ylabel="resident memory (MB)", ylim=(0, None))
    below.plot(steps, values, ".", markersize=3)
    below.set(xlabel="step", ylabel="images/s (of ten steps)", ylim=(0, None))
    for axis in (above, below):
        axis.grid(alpha=0.3)
    figure.savefig(HERE / "soak.png", dpi=110)


if __name__ == "__main__":
    main()

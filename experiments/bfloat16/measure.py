"""Does bfloat16 learn like float32?  python experiments/bfloat16/measure.py RUNS

Trains the demo's recipe for 300 steps with three seeds in each type, each run in its folder below RUNS.  Writes
losses.csv (means of 30 steps) and losses.png beside this file.
"""

import csv
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from inspose_jax.report.run import read_run

HERE = Path(__file__).parent
STEPS, WINDOW = 300, 30  # single batches of eight images differ more than anything asked here
TYPES, SEEDS = ("float32", "bfloat16"), (0, 1, 2)


def main(folder: Path) -> None:
    wide, narrow = (
        np.array([curve(folder / f"{dtype}_{seed}", dtype, seed) for seed in SEEDS]) for dtype in TYPES
    )  # [seed, window]
    steps = WINDOW * (1 + np.arange(wide.shape[1]))
    with (HERE / "losses.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["steps_up_to", *(f"{dtype}, seed {seed}" for dtype in TYPES for seed in SEEDS)])
        for step, column in zip(steps, np.concatenate([wide, narrow]).T, strict=True):
            writer.writerow([step, *(f"{value:.4f}" for value in column)])

    low, high = wide.min(0), wide.max(0)
    mean = narrow.mean(0)
    apart = np.abs(narrow - wide)
    spread = high - low
    print(f"mean of bfloat16's seeds between float32's seeds: {((low <= mean) & (mean <= high)).sum()} of {len(steps)}")
    for seed, one in zip(SEEDS, narrow, strict=True):
        print(f"  seed {seed} by itself: {((low <= one) & (one <= high)).sum()}")
    outside = np.maximum(np.maximum(narrow - high, low - narrow), 0) / narrow
    print(f"where it lies outside: by {outside.max():.1%} at most")
    print(f"same seed, other type: {np.median(apart / wide):.2%} apart (median), {(apart / wide).max():.2%} at most")
    print(f"nearer than float32's seeds are spread: {(apart < spread).sum()} of {apart.size}")
    print(f"spread of float32's seeds: {np.median(spread / wide.mean(0)):.2%} (median)")

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for seed, colour in zip(SEEDS, ("tab:blue", "tab:orange", "tab:green"), strict=True):
        axes.plot(steps, wide[seed], color=colour, label=f"float32, seed {seed}")
        axes.plot(steps, narrow[seed], color=colour, linestyle="--", label=f"bfloat16, seed {seed}")
    axes.set(xlabel="step", ylabel=f"mean loss of {WINDOW} steps")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(HERE / "losses.png", dpi=110)


def curve(workdir: Path, dtype: str, seed: int) -> np.ndarray:
    """Mean losses of a run, trained here unless it is there already."""
    command = ["inspose_jax", "train", "drawn_people", "--workdir", str(workdir), "--steps", str(STEPS), "--resume"]
    fields = ["--config.schedule.seed", str(seed), "--config.model.compute-dtype", dtype]
    subprocess.run([sys.executable, "-m", *command, *fields], check=True)
    loss = read_run(workdir).metrics["loss/total"].values
    return loss.reshape(-1, WINDOW).mean(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

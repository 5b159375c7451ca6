"""Does bfloat16 learn like float32?  python experiments/bfloat16/measure.py RUNS

Trains the demo's recipe for 300 steps, in float32 with three seeds and in bfloat16 with the first of them, each in its
folder below RUNS.  Writes losses.csv (means of 30 steps) and losses.png beside this file.
"""

import csv
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from inspose_jax.report.run import read_run

HERE = Path(__file__).parent
STEPS, WINDOW = 300, 30  # single batches of eight pictures differ more than anything asked here
RUNS = {f"float32, seed {seed}": ("float32", seed) for seed in range(3)} | {"bfloat16, seed 0": ("bfloat16", 0)}


def main(folder: Path) -> None:
    means = np.array([curve(folder / f"{dtype}_{seed}", dtype, seed) for dtype, seed in RUNS.values()])
    steps = WINDOW * (1 + np.arange(means.shape[1]))
    with (HERE / "losses.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["steps_up_to", *RUNS])
        writer.writerows(
            [step, *(f"{value:.4f}" for value in column)] for step, column in zip(steps, means.T, strict=True)
        )

    low, high, narrow = means[:3].min(0), means[:3].max(0), means[3]
    beyond = np.maximum(np.maximum(narrow - high, low - narrow), 0)
    print(f"bfloat16 lies within the three seeds in {(beyond == 0).sum()} of {len(steps)} windows")
    print(f"elsewhere at most {(beyond / narrow).max():.2%} of the loss outside; the seeds' own spread is", end=" ")
    print(f"{np.median((high - low) / narrow):.2%} (median)")
    print(f"at the same seed bfloat16 and float32 differ by {np.median(np.abs(narrow / means[0] - 1)):.2%} (median)")

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, mean in zip(RUNS, means, strict=True):
        axes.plot(steps, mean, label=name, linewidth=2.5 if "bfloat16" in name else 1.2)
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

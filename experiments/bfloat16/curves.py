"""Draw loss curves and write their means: python experiments/bfloat16/curves.py OUT RUN RUN ..

Every RUN is the workdir of a finished run.  OUT.csv has a line a window of steps and a column a run, OUT.png curves.
"""

import csv
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from inspose_jax import report

WINDOW = 30  # steps: single batches of eight pictures differ more than anything asked here

out, runs = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
losses = np.array([[row["loss/total"] for row in report.read_metrics(run)] for run in runs])
means = losses.reshape(len(runs), -1, WINDOW).mean(-1)
steps = WINDOW * (1 + np.arange(means.shape[1]))

with out.with_suffix(".csv").open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["steps_up_to", *[run.name for run in runs]])
    writer.writerows([step, *[f"{value:.4f}" for value in column]] for step, column in zip(steps, means.T, strict=True))

figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
for run, mean in zip(runs, means, strict=True):
    axes.plot(steps, mean, label=run.name, lw=2 if "bfloat16" in run.name else 1)
axes.set(xlabel="step", ylabel=f"mean loss of {WINDOW} steps", yscale="log")
axes.legend(frameon=False)
figure.savefig(out.with_suffix(".png"), dpi=120)

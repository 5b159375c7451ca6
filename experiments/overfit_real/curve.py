"""Draw the loss of a run: python experiments/overfit_real/curve.py RUN OUT.png"""

import sys
from pathlib import Path

from inspose_jax import report

run, picture = map(Path, sys.argv[1:])
report.loss_curves(report.read_metrics(run), picture)

"""Draw the loss of a run: python experiments/overfit_real/curve.py RUN OUT.png"""

import sys
from pathlib import Path

from inspose_jax.report import curves, page
from inspose_jax.report.run import read_metrics

run, plot = map(Path, sys.argv[1:])
curves.plot_file([panel for _, panel, _ in page.LOSS], read_metrics(run), plot, "png")

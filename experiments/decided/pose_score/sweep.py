"""By which score poses are ranked: the paper does not say."""

import runpy
from dataclasses import replace
from pathlib import Path

from inspose_jax.sweep.rows import Row, Sweep

ROWS = {  # of tables 1 to 4, each run once
    "as the paper": "",
    "no disk offsets": "--config.model.no-disk-offset --config.model.no-heatmap",
    "no heatmaps": "--config.model.no-heatmap",
    "depth 1": "--config.model.kp-net.depth 1",
    "depth 2": "--config.model.kp-net.depth 2",
    "depth 4": "--config.model.kp-net.depth 4",
    "maps at 1/16": "--config.model.map-ratio 0.5",
    "maps at 1/4": "--config.model.map-ratio 2",
    "maps at 1/2": "--config.model.map-ratio 4",
    "with boxes": "--config.model.box-head",
    "boxes also assign": "--config.model.box-head --config.model.assigned-boxes annotated",
}
SCORES = {"class": "class", "class x peak": "class_times_peak"}


def sweep() -> Sweep:
    """The class score is the choice at full size, its product with the mean softmax peak of the joints on drawn people.

    The runs are those of the tables, of Table 5 those at one scale; only their evaluation differs.
    """
    table5 = runpy.run_path(str(Path(__file__).parents[2] / "table5/sweep.py"))
    backbones = [Row(name, "", narrow, table5["RECIPES"][name]) for name, narrow in table5["NARROW"].items()]
    rows = tuple(
        replace(
            row, label=f"{row.label}, by {score}", changes=f"{row.changes} --config.model.pose-score {value}".strip()
        )
        for row in [*(Row(label, changes) for label, changes in ROWS.items()), *backbones]
        for score, value in SCORES.items()
    )
    return Sweep("Pose score: by what are poses ranked?", rows, steps=1200, seeds=(0, 1), results="../../results")

"""Table 5's two ResNets in twice as many steps: whether the deeper one only learns more slowly."""

import runpy
from pathlib import Path

from inspose_jax.sweep.rows import Row, Sweep


def sweep() -> Sweep:
    table5 = runpy.run_path(str(Path(__file__).parents[1] / "table5/sweep.py"))
    return Sweep(
        "Table 5 in twice as many steps: does ResNet-101 catch up?",
        tuple(Row(name, "", table5["NARROW"][name], table5["RECIPES"][name]) for name in ("ResNet-50", "ResNet-101")),
        steps=2400,
        seeds=(0, 1),
        results="../results",
    )

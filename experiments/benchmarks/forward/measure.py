"""The paper's three networks on one image of 800 x 1216, beside PyTorch, on a CPU: seconds, and their ratios.

    python experiments/benchmarks/forward/measure.py [CALLS]

Random weights, float32, two threads, everything up to what decoding reads; ResNet-50, ResNet-101 and HRNet-w32, ours
and eager PyTorch (channels last), in turn.  Needs PyTorch.  The paper's times on a TITAN X are 0.08, 0.10 and 0.15 s an
image, so that R101 takes 1.25 and HRNet-w32 1.9 times as long as R50.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.append(str(Path(__file__).parents[1] / "train_step"))
from forward_beside_torch import both

RECIPES = {"R50": "r50_coco_100e", "R101": "r101_coco_100e", "w32": "hrnet_w32_coco_100e"}


def main(calls: int = 9) -> None:
    torch.set_num_threads(2)
    runs: dict[tuple[str, str], Callable[[], object]] = {}
    for name, recipe in RECIPES.items():
        runs[name, "JAX"], runs[name, "PyTorch"], _ = both(recipe)
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for number in range(calls + 1):
        for key, run in runs.items():
            begin = time.perf_counter()
            run()
            if number:  # the first call of each warms up
                seconds[key].append(time.perf_counter() - begin)
    for (name, side), times in seconds.items():
        print(f"{name}, {side}: median {np.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})")
    for name in RECIPES:
        ratio = np.median(np.divide(seconds[name, "JAX"], seconds[name, "PyTorch"]))
        print(f"{name}: JAX / PyTorch {ratio:.2f}, the median of {calls} pairs")
    for side in ("JAX", "PyTorch"):
        for name in ("R101", "w32"):
            ratio = np.median(np.divide(seconds[name, side], seconds["R50", side]))
            print(f"{side}: {name} / R50 {ratio:.2f}, the median of {calls} pairs")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

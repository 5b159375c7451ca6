"""What importing PyTorch's weights takes: python experiments/benchmarks/import_torch/measure.py [TIMES]

Writes random weights of the released R50 as a `.pth` and a `.safetensors` file, and imports each with `inspose
import-torch` in a new process: its CPU time, and the most memory that it held, which Linux tells as VmHWM.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import jax

from inspose_jax import methods, recipes
from inspose_jax.torch_bridge import export, save_torch

PROGRAM = r"""
import re, sys, time
from pathlib import Path
from inspose_jax import cli
cli.main(["import-torch", sys.argv[1], "--out", sys.argv[2]])
held = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
print(f"{time.process_time():.1f} s of CPU time, {held * 1024 / 1e6:.0f} MB at most")
"""


def main(times: int = 3) -> None:
    model = recipes.read("released_r50_coco_3x").config.model
    variables = jax.device_get(methods.for_model(model).init(jax.random.key(0)))
    with tempfile.TemporaryDirectory() as folder:
        for name in ("released.pth", "released.safetensors"):
            file = Path(folder) / name
            save_torch(export.state_dict(variables, model), file)
            print(f"{name}: {file.stat().st_size / 1e6:.0f} MB")
            for number in range(times):
                command = [sys.executable, "-c", PROGRAM, str(file), f"{folder}/{name}{number}"]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                print(" ", done.stdout.splitlines()[-1], flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

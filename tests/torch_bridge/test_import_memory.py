"""How much memory reading a file of weights and writing it as a checkpoint takes, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch_files import Tensor, write_legacy, write_zip

from inspose_jax.torch_bridge import save_torch

NUMBER, BYTES = 64, 2**20  # tensors, and the size of each
PROGRAM = r"""
import json, re, sys
from pathlib import Path
import numpy as np
from inspose_jax import recipes
from inspose_jax.checkpoints import Checkpoints
from inspose_jax.torch_bridge import load_torch
from inspose_jax.torch_bridge.imported import Weights

def save(name, arrays):
    with Checkpoints(Path(sys.argv[1]) / name, 0) as checkpoints:
        checkpoints.save(0, Weights(arrays, {}), recipes.read("drawn_people").config)

def peak():
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

save("small", {"w": np.zeros(2, np.float32)})  # what is loaded and started by the first save
peaks = [peak()]
for file in sys.argv[2:]:
    tensors = None
    tensors = load_torch(file)
    peaks.append(peak())
save("large", tensors)
print(json.dumps([*peaks, peak()]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process its peak so")
def test_weights_are_in_memory_once_while_they_are_read_and_written(tmp_path):
    rng = np.random.default_rng(0)  # numbers that cannot be compressed
    tensors = {f"w{i}": rng.normal(size=BYTES // 4).astype(np.float32) for i in range(NUMBER)}
    files = [tmp_path / name for name in ("zip.pth", "legacy.pth", "a.safetensors")]
    save_torch(tensors, files[2])
    for write, file in zip((write_zip, write_legacy), files, strict=False):
        write(file, {name: Tensor(array) for name, array in tensors.items()})
    command = [sys.executable, "-c", PROGRAM, tmp_path, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, *peaks = json.loads(done.stdout)
    *reading, writing = [(peak - before) / (NUMBER * BYTES) for peak in peaks]
    assert max(reading) < 1.3
    assert writing < 2

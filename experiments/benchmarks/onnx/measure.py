"""Export a model of full size as ONNX and .pt2; compare onnxruntime's people with JAX's, its seconds with PyTorch's.

    python experiments/benchmarks/onnx/measure.py RECIPE IMAGE [CALLS]

The weights are random: He's normal kernels, norms as they start, and a class bias of -1, so that somebody is found.
Prints the sizes of the files, seconds and peak memory of `inspose export-onnx --pt2`, how far the people of
onnxruntime and `inspose_numpy.py` are from JAX's, and the median seconds of a forward pass, in turn.  Seconds are those
of the processor, with one thread each, so that other work on the machine counts for little.
"""

import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

import inspose_jax
from inspose_jax import recipes
from inspose_jax.data.image_files import read_image
from inspose_jax.torch_bridge import export, graph, inspose_torch
from inspose_jax.torch_bridge.tensor_files import write_tensors

COMMAND = "import sys; from inspose_jax import cli; cli.main(sys.argv[1:])"


def main(recipe: str, path: str, calls: str = "3") -> None:
    torch.set_num_threads(1)
    image = read_image(Path(path), follow_exif=True)
    with tempfile.TemporaryDirectory() as place:
        weights, out = Path(place) / "model.safetensors", Path(place) / "graph"
        write_random_weights(recipe, weights)
        subprocess.run([sys.executable, "-c", COMMAND, "export-onnx", str(weights), str(out), "--pt2"], check=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"export-onnx --pt2: {used.ru_utime + used.ru_stime:.0f} s, peak memory {used.ru_maxrss / 1e6:.2f} GB; "
            f"weights {megabytes(weights)}"
        )
        for file in sorted(out.iterdir()):
            print(f"  {file.name}: {megabytes(file)}")
        compare_people(weights, out, image)
        compare_seconds(weights, out, image, int(calls))


def megabytes(file: Path) -> str:
    return f"{file.stat().st_size / 1e6:.2f} MB"


def write_random_weights(recipe: str, file: Path) -> None:
    """Write the file of weights, and beside it the recipe's config."""
    about = export.torch_config(recipes.read(recipe).config)
    with torch.device("meta"):
        shapes = {name: tuple(x.shape) for name, x in inspose_torch.InsPose(about).state_dict().items()}
    rng = np.random.default_rng(0)

    def one(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) > 1:
            return rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)
        if name.endswith("num_batches_tracked"):
            return np.zeros(shape, np.int64)
        return np.full(shape, name.endswith(("weight", "running_var")), np.float32)  # of norms; the rest is zero

    tensors = {name: one(name, shape) for name, shape in shapes.items()}
    tensors["bbox_head.conv_cls.bias"] -= 1
    write_tensors(tensors, file)
    file.with_name("config.json").write_text(json.dumps(about))


def compare_people(weights: Path, out: Path, image: np.ndarray) -> None:
    """Print how far onnxruntime's people are from JAX's, in the same order."""
    expected = inspose_jax.load(weights)(image, threshold=0.0)
    sys.path.insert(0, str(out))
    decoder = importlib.import_module("inspose_numpy")
    gaps, peaks_of = [], decoder.peaks_of

    def watched(maps: np.ndarray) -> Any:
        best = np.sort(maps.reshape(*maps.shape[:2], -1))[..., -2:]
        gaps.append((best[..., 1] - best[..., 0]) / np.abs(maps).max((2, 3)))
        return peaks_of(maps)

    decoder.peaks_of = watched
    model = decoder.load(out)
    (found,) = model.detect(image, threshold=0)
    print(f"people: JAX {len(expected)}, onnxruntime {len(found['scores'])}")
    apart = np.abs(found["keypoints"] - expected.keypoints).max(-1)
    print(f"  scores differ by {np.abs(found['scores'] - expected.scores).max():.1e} at most")
    print(f"  joints: {(apart <= 0.01).sum()} of {apart.size} within .01 pixels, the farthest {apart.max():.1e} pixels")
    if model.is_released:  # whose people are in the order of their maps, of which the enlarged ones come first
        close = np.concatenate(gaps[::2])[apart > 0.01]
        print(f"  best minus second best cell of the others' maps, of the largest magnitude: {close}")


def compare_seconds(weights: Path, out: Path, image: np.ndarray, calls: int) -> None:
    """Print the seconds of a forward pass in onnxruntime and in eager PyTorch, and how far the outputs differ."""
    model = inspose_torch.load(weights)
    x = model.preprocess(image)[0][None]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(out / graph.ONNX), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    eager = graph.Graph(model).to(memory_format=torch.channels_last)
    program = torch.export.load(out / graph.PT2).module()
    array, last = x.numpy(), x.contiguous(memory_format=torch.channels_last)
    sides = {
        "onnxruntime": lambda: dict(zip(names, session.run(names, {"image": array}), strict=True)),
        "PyTorch, eager, channels last": lambda: eager(last),
        "PyTorch, the .pt2": lambda: program(x),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    with torch.inference_mode():
        results = {name: run() for name, run in sides.items()}
        for _ in range(calls):
            for name, run in sides.items():
                begin = time.process_time()
                run()
                seconds[name].append(time.process_time() - begin)
    print(f"forward pass, {' x '.join(map(str, x.shape))}:")
    for name, times in seconds.items():
        print(f"  {name}: median {np.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})")
    expected = results["PyTorch, eager, channels last"]
    for name in names:
        differs = np.abs(results["onnxruntime"][name] - expected[name].numpy()).max() / expected[name].abs().max()
        print(f"  {name}: onnxruntime differs from PyTorch by {float(differs):.0e} of the largest magnitude")


if __name__ == "__main__":
    main(*sys.argv[1:])

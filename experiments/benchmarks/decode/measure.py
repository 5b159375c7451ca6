"""What decoding costs: OMP_WAIT_POLICY=PASSIVE python experiments/benchmarks/decode/measure.py

The paper's model at 800 x 1216 with made-up outputs in which some locations score above the threshold; our decoding and
three ways to write the same in eager PyTorch, two of them also in chunks, in turn.  Writes decode.csv (people, who,
milliseconds of every repeat) and decode.png beside this file, and prints medians and, in brackets, the least.  With
`plot` it only draws decode.csv once more.

The PyTorch side selects the locations, gathers their theta, makes maps, argmax and softmax peak, and reads offsets; it
leaves out the padding's mask and the suppression, which ours has.
"""

import csv
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import torch

from inspose_jax import config, geometry, paper
from inspose_jax.decode import decode
from inspose_jax.network import kp_net
from inspose_jax.structures import Controller, Outputs

HERE = Path(__file__).parent
IMAGE, REPEATS, THREADS = (800, 1216), 15, 2
NUM_PEOPLE = (0, 1, 3, 10, 30, 100, 200, 500)
MODEL = config.Model()
GRID = geometry.make_grid(IMAGE, MODEL.network.levels, MODEL.network.map_level, MODEL.kp_net.relative_scale)
NUM_KEYPOINTS, STRIDE = 17, GRID.map_stride
HEIGHT, WIDTH = GRID.map_size
FORWARD = "the network before it"


# --- ours -----------------------------------------------------------------------------------------------------------


def random_outputs(num_people: int) -> tuple[Outputs, np.ndarray]:
    """Outputs for one image, with so many locations above the threshold; and the theta f[L,P] of every location.

    The controller's last layer hands it on: only reading it is measured, on both sides.
    """
    rng = np.random.default_rng(num_people)
    number = len(GRID.points)
    logits = np.full((1, number), -9.0, np.float32)
    logits[0, rng.permutation(number)[:num_people]] = rng.uniform(-1.5, 3, num_people)
    num_parameters = kp_net.num_parameters(MODEL.kp_net, NUM_KEYPOINTS)
    theta = rng.normal(0, 0.3, (number, num_parameters)).astype(np.float32)
    levels = np.split(theta, np.cumsum([height * width for height, width in GRID.level_sizes])[:-1])
    levels = tuple(jnp.asarray(x.reshape(1, *size, -1)) for x, size in zip(levels, GRID.level_sizes, strict=True))
    controller = Controller(levels, jnp.eye(num_parameters)[None, None], jnp.zeros(num_parameters))
    features = rng.normal(size=(1, HEIGHT, WIDTH, MODEL.kp_net.feature_channels))
    offsets = rng.uniform(size=(1, HEIGHT, WIDTH, 2 * NUM_KEYPOINTS))
    features, offsets = (jnp.asarray(x, jnp.float32) for x in (features, offsets))
    return Outputs(jnp.asarray(logits), controller, features, offsets, None), theta


def forward() -> Callable[[], object]:
    """The R50's outputs for one image, compiled; random weights."""
    method, size = paper.method(MODEL), np.array([IMAGE], np.int32)
    image = np.random.default_rng(0).integers(0, 256, (1, *IMAGE, 3), np.uint8)
    variables = jax.jit(method.init)(jax.random.key(0))
    outputs = jax.jit(lambda variables, image: method.apply(variables, image, size)[0])
    return lambda: jax.block_until_ready(outputs(variables, image))


# --- PyTorch --------------------------------------------------------------------------------------------------------


class Shared:
    """What all people of the image share, as tensors."""

    def __init__(self, outputs: Outputs, theta: np.ndarray):
        arrays = outputs.logits, outputs.features, outputs.disk_offsets
        self.logits, features, offsets = (torch.from_numpy(np.array(x[0])) for x in arrays)
        self.theta = torch.from_numpy(theta)
        self.features = features.reshape(HEIGHT * WIDTH, -1).T.contiguous()
        self.offsets = offsets.reshape(HEIGHT * WIDTH, NUM_KEYPOINTS, 2)
        self.points, self.scales = torch.from_numpy(GRID.points), torch.from_numpy(GRID.scales)
        self.cells = torch.from_numpy(geometry.cell_centres((HEIGHT, WIDTH), STRIDE)).reshape(-1, 2).T.contiguous()


def layers(theta: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weight [n, out, in] and bias [n, out, 1] of each layer."""
    found, start = [], 0
    for inputs, outputs in kp_net.layer_sizes(MODEL.kp_net, NUM_KEYPOINTS):
        end = start + inputs * outputs
        found.append((theta[:, start:end].reshape(-1, outputs, inputs), theta[:, end : end + outputs, None]))
        start = end + outputs
    return found


def relative(shared: Shared, points: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    return (shared.cells - points[:, :, None]) / scales[:, None, None]


def peaks(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cell and softmax peak of maps [n, K, cells]."""
    logit, cell = logits.max(2)
    return cell, torch.exp(logit - torch.logsumexp(logits, 2))


def one_by_one(shared: Shared, theta: torch.Tensor, points: torch.Tensor, scales: torch.Tensor):
    found = []
    for i in range(len(theta)):
        x = torch.cat([shared.features, relative(shared, points[i : i + 1], scales[i : i + 1])[0]])
        (weight, bias), *rest = layers(theta[i : i + 1])
        x = torch.addmm(bias[0], weight[0], x)
        for weight, bias in rest:
            x = torch.addmm(bias[0], weight[0], x.relu_())
        found.append(peaks(x[None]))
    return tuple(map(torch.cat, zip(*found, strict=True)))


def batched(shared: Shared, theta: torch.Tensor, points: torch.Tensor, scales: torch.Tensor):
    everybody = shared.features.expand(len(theta), *shared.features.shape)
    x = torch.cat([everybody, relative(shared, points, scales)], 1)
    (weight, bias), *rest = layers(theta)
    x = torch.baddbmm(bias, weight, x)
    for weight, bias in rest:
        x = torch.baddbmm(bias, weight, x.relu_())
    return peaks(x)


def first_at_once(shared: Shared, theta: torch.Tensor, points: torch.Tensor, scales: torch.Tensor):
    channels = len(shared.features)
    (weight, bias), *rest = layers(theta)
    x = weight[..., :channels].reshape(-1, channels) @ shared.features
    x = x.reshape(len(theta), -1, x.shape[1]).baddbmm_(weight[..., channels:], relative(shared, points, scales))
    x += bias
    for weight, bias in rest:
        x = torch.baddbmm(bias, weight, x.relu_())
    return peaks(x)


def in_chunks(of_people: Callable, width: int) -> Callable:
    """The same for so many people at a time: their maps stay in the cache."""

    def of_all(shared: Shared, *people: torch.Tensor):
        chunks = zip(*(x.split(width) for x in people), strict=True)
        return tuple(map(torch.cat, zip(*(of_people(shared, *chunk) for chunk in chunks), strict=True)))

    return of_all


def torch_poses(of_people: Callable, shared: Shared) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Joints [n, K, 2] in pixels and their softmax peaks, of the locations above the threshold."""
    scores, location = torch.sigmoid(shared.logits).topk(MODEL.decoding.num_candidates)
    location = location[: int((scores > MODEL.decoding.score_threshold).sum())]
    if len(location) == 0:
        return None
    cell, peak = of_people(shared, shared.theta[location], shared.points[location], shared.scales[location])
    corner = torch.stack([cell % WIDTH, cell // WIDTH], -1)
    return (corner + shared.offsets[cell, torch.arange(NUM_KEYPOINTS)]) * STRIDE, peak


FORMS = {
    "PyTorch, person by person": one_by_one,
    "PyTorch, batched products": batched,
    "PyTorch, batched products, 8 people at a time": in_chunks(batched, 8),
    "PyTorch, first layer of all people at once": first_at_once,
    "PyTorch, first layer of 8 people at once": in_chunks(first_at_once, 8),
}


# --- in turn --------------------------------------------------------------------------------------------------------


def seconds(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def measure() -> dict[tuple[int, str], list[float]]:
    """Milliseconds of every repeat, by people and who; -1 people for the network."""
    network, size = kp_net.make(MODEL.kp_net, NUM_KEYPOINTS), jnp.array([IMAGE], jnp.int32)
    ours = jax.jit(lambda outputs: decode(outputs, size, GRID, MODEL.decoding, network, MODEL.skeleton.oks_sigmas))
    times = defaultdict(list)
    for num_people in NUM_PEOPLE:
        outputs, theta = random_outputs(num_people)
        shared = Shared(outputs, theta)
        check(jax.device_get(ours(outputs)), shared, num_people)
        calls = {"ours": lambda outputs=outputs: jax.block_until_ready(ours(outputs))}
        calls |= {who: lambda form=form, shared=shared: torch_poses(form, shared) for who, form in FORMS.items()}
        for repeat in range(1 + REPEATS):
            for who, call in calls.items():
                taken = 1e3 * seconds(call)
                if repeat:
                    times[num_people, who].append(taken)
    call = forward()
    times[-1, FORWARD] = [1e3 * seconds(call) for _ in range(6)][1:]
    return times


def check(poses, shared: Shared, num_people: int) -> None:
    """Both sides find the same: every person that ours keeps is among PyTorch's, joint by joint."""
    for form in FORMS.values() if num_people else ():
        found = torch_poses(form, shared)
        assert found is not None
        assert len(found[0]) == num_people
        for keypoints, scores in zip(
            poses.keypoints[0][poses.is_person[0]], poses.keypoint_scores[0][poses.is_person[0]], strict=True
        ):
            nearest = np.abs(found[0].numpy() - keypoints).max((1, 2)).argmin()
            np.testing.assert_allclose(found[0][nearest], keypoints, atol=1e-3)
            np.testing.assert_allclose(found[1][nearest], scores, rtol=1e-3)


def read() -> dict[tuple[int, str], list[float]]:
    with (HERE / "decode.csv").open() as file:
        return {(int(people), who): list(map(float, times)) for people, who, *times in list(csv.reader(file))[1:]}


def write(times: dict[tuple[int, str], list[float]]) -> None:
    with (HERE / "decode.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["people", "who", *(f"ms_{i}" for i in range(1, REPEATS + 1))])
        writer.writerows([people, who, *(f"{x:.3f}" for x in values)] for (people, who), values in times.items())


def show(times: dict[tuple[int, str], list[float]]) -> None:
    """Medians and least as text, medians as decode.png."""
    figure, axis = plt.subplots(figsize=(8, 5), layout="constrained")
    for who in ("ours", *FORMS):
        places, medians = range(len(NUM_PEOPLE)), [np.median(times[number, who]) for number in NUM_PEOPLE]
        print(f"{who:48}", *(f"{m:8.1f} ({min(times[n, who]):.1f})" for n, m in zip(NUM_PEOPLE, medians, strict=True)))
        style = {"color": "black", "linewidth": 2.5} if who == "ours" else {"linestyle": "--"}
        axis.plot(places, medians, marker=".", label=who, **style)
    network = float(np.median(times[-1, FORWARD]))
    print(f"{FORWARD}: {network:.0f} ms ({min(times[-1, FORWARD]):.0f})")
    axis.axhline(network, color="grey", linewidth=1, linestyle=":", label=f"ours, {FORWARD} (R50)")
    axis.set(xlabel="people above the threshold", ylabel="milliseconds an image, median", yscale="log")
    axis.set_xticks(range(len(NUM_PEOPLE)), [str(number) for number in NUM_PEOPLE])
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")
    figure.savefig(HERE / "decode.png", dpi=110)


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    if sys.argv[1:] != ["plot"]:
        with torch.inference_mode():
            write(measure())
    show(read())

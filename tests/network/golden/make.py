"""Make `network.npz`, what PyTorch computes for tiny networks: python tests/network/golden/make.py (torch and numpy)

Origin of the numbers: the PyTorch modules below, written for this file alone from the layouts of torchvision's ResNet
and mmdetection's FPN and head towers, whose parameter names they have.  Weights and images are random and rounded so
that the file stays small and both sides compute with exactly the stored numbers; the outputs are computed in float64
on a CPU with PyTorch 2.13.0 and stored as float32.  A second run writes the same arrays.

Cases: `evaluation`, a ResNet-50 with P2 to P7; `training`, a ResNet-18 whose stem and first stage are frozen, with P3,
P4 and a tower.  Keys: `CASE/image`; `CASE/OUTPUT`, where OUTPUT is C2 to C5, P2 to P7 or TOWER/LEVEL; the weights and
running statistics before the pass, `CASE/model/NAME`; the running statistics after it in float64, `CASE/after/NAME`.
Tensors are in PyTorch's axis order; `tests/packed.py` reads the file.

If there is a folder with what the authors' own code computed for a small model (INSPOSE_REFERENCE_DATA, or `shared`
beside the checkout), the script first puts that model's weights into the same modules and prints the largest
differences, relative to each array's largest number.  Of C2 to C5, P3 to P7, three towers at every level and F_kp there
was no difference at all in evaluation (float32), and at most 4.8e-8 in training (float64, stored as float32).
"""

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))  # of the tests' own modules

import packed  # noqa: E402

REFERENCE = Path(os.environ.get("INSPOSE_REFERENCE_DATA", HERE.parents[2] / ".." / "shared")) / "golden"
BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}


# --- the modules: torchvision's ResNet, mmdetection's FPN and towers --------------------------------------------------


class Basic(nn.Module):
    """Two 3x3 convolutions with a shortcut; `inputs` and `outputs` are the block's channels."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return functional.relu(y + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the width, with a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = shortcut(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return functional.relu(y + self.downsample(x))


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The identity, or a 1x1 convolution with norm where resolution or channels change."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """f[B,3,H,W] -> C2, C3, C4, C5."""

    def __init__(self, name: str, widths: tuple[int, ...]):
        super().__init__()
        kind = Basic if name == "resnet18" else Bottleneck
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        inputs = widths[0]
        for i, (width, number) in enumerate(zip(widths, BLOCKS[name], strict=True)):
            blocks = []
            for j in range(number):
                blocks.append(kind(inputs, width, 2 if i > 0 and j == 0 else 1))
                inputs = width * kind.expansion
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        outputs = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            outputs.append(x)
        return outputs

    def freeze_first(self) -> None:
        """Stem and first stage keep their running statistics, also in training."""
        self.bn1.eval()
        self.layer1.eval()


class Unit(nn.Module):
    """A convolution and, if it has `groups`, GroupNorm and ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 0):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=groups == 0)
        if groups:
            self.gn = nn.GroupNorm(groups, outputs)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return functional.relu(self.gn(x)) if self.groups else x


class FPN(nn.Module):
    """C`first` to C5 -> P`first` to P`last`: P6 is made from P5 as it is, P7 from P6 after a ReLU."""

    def __init__(self, inputs: list[int], channels: int, first: int, last: int):
        super().__init__()
        self.first, self.last = first, last
        self.lateral_convs = nn.ModuleList(Unit(number, channels, 1) for number in inputs)
        steps = [1] * len(inputs) + [2] * max(last - 5, 0)
        self.fpn_convs = nn.ModuleList(Unit(channels, channels, stride=step) for step in steps)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        merged = [lateral(x) for lateral, x in zip(self.lateral_convs, features, strict=True)]
        for i in range(len(merged) - 1, 0, -1):
            size = merged[i - 1].shape[2:]
            merged[i - 1] = merged[i - 1] + functional.interpolate(merged[i], size=size, mode="nearest")
        pyramid = [conv(x) for conv, x in zip(self.fpn_convs, merged, strict=False)]
        for level in range(6, self.last + 1):
            below = pyramid[-1] if level == 6 else functional.relu(pyramid[-1])
            pyramid.append(self.fpn_convs[level - self.first](below))
        return pyramid[: self.last - self.first + 1]


def tower(inputs: int, channels: int, depth: int) -> nn.Sequential:
    """`depth` times convolution, GroupNorm of 32 groups, ReLU."""
    return nn.Sequential(*(Unit(channels if i else inputs, channels, groups=32) for i in range(depth)))


class Network(nn.Module):
    """Backbone, neck, and towers that read every level; returns the outputs by name.

    `shared_convs`, which reads the first level alone, is there with `features`, the channels of its last unit.
    """

    def __init__(
        self,
        backbone: str,
        widths: tuple[int, ...],
        levels: tuple[int, int],
        channels: int,
        towers: dict[str, int],
        depth: int,
        features: int = 0,
    ):
        super().__init__()
        self.levels, self.towers = levels, towers
        self.backbone = ResNet(backbone, widths)
        expansion = 1 if backbone == "resnet18" else 4
        inputs = [expansion * width for width in widths[levels[0] - 2 :]]
        self.neck = FPN(inputs, channels, *levels)
        self.bbox_head = nn.ModuleDict({f"{name}_convs": tower(channels, n, depth) for name, n in towers.items()})
        if features:
            self.bbox_head["shared_convs"] = tower(channels, 128, depth).append(Unit(128, features, groups=2))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        stages = self.backbone(image)
        found = {f"C{i + 2}": x for i, x in enumerate(stages)}
        first, last = self.levels
        pyramid = self.neck(stages[first - 2 :])
        for level, x in zip(range(first, last + 1), pyramid, strict=True):
            found[f"P{level}"] = x
            for name in self.towers:
                found[f"{name}_tower/P{level}"] = self.bbox_head[f"{name}_convs"](x)
        if "shared_convs" in self.bbox_head:
            found["F_kp"] = self.bbox_head["shared_convs"](pyramid[0])
        return found


# --- the same modules against what the authors' code computed ---------------------------------------------------------


def compare_with_the_authors() -> None:
    """Print the largest differences, relative to the largest number of each array."""
    towers = {"cls": 32, "ctrl": 32, "kpt": 64}
    network = Network("resnet50", (4, 8, 16, 32), (3, 7), 32, towers, depth=4, features=8)
    weights = np.load(REFERENCE / "model.npz")
    network.load_state_dict({name: torch.from_numpy(weights[name]) for name in network.state_dict()})

    evaluation, training = np.load(REFERENCE / "forward_eval.npz"), np.load(REFERENCE / "forward_train.npz")
    network.eval()
    for image in ("a/", "b/"):
        print(f"evaluation, image {image[0]}:", largest(differences(network, evaluation, image)))
    network.double().train()
    network.backbone.freeze_first()
    print("training:", largest(differences(network, training, "")))


def differences(network: Network, stored: np.lib.npyio.NpzFile, prefix: str) -> Iterator[tuple[str, float]]:
    """(name, difference) of every output of the network that is stored."""
    dtype = next(network.parameters()).dtype
    with torch.no_grad():
        found = network(torch.from_numpy(stored[f"{prefix}img"]).to(dtype))
    for name, x in found.items():
        if prefix + name in stored.files:
            expected = stored[prefix + name].astype(np.float64)
            yield name, float(np.abs(x.double().numpy() - expected).max() / np.abs(expected).max())


def largest(differences: Iterator[tuple[str, float]]) -> str:
    """The largest difference of each kind of output."""
    of_kind: dict[str, float] = {}
    for name, difference in differences:
        kind = name[0] if name[0] in "CP" else name.split("/")[0]
        of_kind[kind] = max(of_kind.get(kind, 0), difference)
    return ", ".join(f"{kind} {difference:.1e}" for kind, difference in of_kind.items())


# --- the file --------------------------------------------------------------------------------------------------------


def randomise(network: nn.Module) -> None:
    """Random numbers of a few bits, such that activations stay about as large from layer to layer.

    What goes into a norm is an eighth of its usual size, so that another epsilon than 1e-5 shows in the outputs.
    """
    for name, tensor in network.state_dict().items():
        scale = 1.0 if "neck" in name else 1 / 8
        if tensor.ndim == 4:
            deviation = scale * tensor[0].numel() ** -0.5
            step = 2.0 ** round(math.log2(deviation / 2))  # about two bits a weight
            tensor.copy_(step * torch.round(torch.randn(tensor.shape) * deviation / step))
        elif name.endswith("weight"):
            tensor.copy_(torch.randint(4, 13, tensor.shape) / 8)
        elif name.endswith("running_var"):
            tensor.copy_(scale**2 * torch.randint(4, 13, tensor.shape) / 8)
        elif name.endswith("running_mean"):
            tensor.copy_(scale * torch.randint(-4, 5, tensor.shape) / 8)
        elif name.endswith("bias"):
            tensor.copy_(torch.randint(-4, 5, tensor.shape) / 8)


def record(network: Network, image: Tensor) -> dict[str, np.ndarray]:
    """One case of the file: the image, the weights, the outputs, and the statistics that training leaves."""
    state = network.state_dict()
    model = {name: tensor for name, tensor in state.items() if "batches" not in name}
    stored = {"image": exact(image), **{f"model/{name}": exact(tensor) for name, tensor in model.items()}}
    with torch.no_grad():
        stored |= {name: x.numpy().astype(np.float32) for name, x in network(image).items()}
    if network.training:
        stored |= {f"after/{name}": tensor.numpy() for name, tensor in state.items() if "running" in name}
    return stored


def exact(tensor: Tensor) -> np.ndarray:
    """As float16, which holds all bits of the weights and the image."""
    assert torch.equal(tensor.half().double(), tensor)
    return tensor.half().numpy()


def main() -> None:
    if REFERENCE.is_dir():
        compare_with_the_authors()
    torch.manual_seed(0)
    # Sizes that are odd at several levels, and widths that are not powers of two.
    evaluated = Network("resnet50", (4, 6, 8, 10), (2, 7), 8, {}, depth=0)
    trained = Network("resnet18", (4, 6, 8, 10), (3, 4), 8, {"cls": 64}, depth=2)
    cases = {}
    for name, network, size in (("evaluation", evaluated, (1, 3, 60, 76)), ("training", trained, (2, 3, 44, 60))):
        network.double().train(name == "training")
        network.backbone.freeze_first()
        randomise(network)
        image = torch.randint(-2, 3, size).double()
        cases |= {f"{name}/{key}": array for key, array in record(network, image).items()}
    packed.save(HERE / "network.npz", cases)
    print(f"network.npz: {(HERE / 'network.npz').stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

"""InsPose in PyTorch, in one file that needs torch alone: the network, its weights, and people in images.

    model = load("folder")  # or released.pth; model.safetensors and config.json are what `inspose export-torch` writes
    for people in model.detect([image, another]):  # u8[H,W,3] RGB, numpy arrays or tensors
        people["keypoints"]  # f32[N,K,2] (x, y) in pixels of the image, best person first

Both variants: the paper's model, of any size and skeleton, and the model that the authors released.  Copy the file
wherever it is needed.  It finds people; training goes on in JAX (inspose_jax).  Further uses:

    model.cuda()  model.half-size floats: model.bfloat16()  model.compile()  # then detect() as before
    InsPose.from_pretrained("somebody/model")  # where huggingface_hub is installed

Pixels are continuous: pixel i spans [i, i + 1), so the centre of the first is 0.5.  The released model was trained
with joints that are indices of pixels; its coordinates are left as they are.

Names of the weights.  They are those of the released checkpoint wherever the paper's model has the same layer:

    layer                                      paper                                   released
    ResNet as in torchvision, HRNet as in      backbone.conv1, .bn1, .layer1.0.conv1   the same
      mmdet
    FPN, numbered from the finest level        neck.lateral_convs.N.conv               the same
    output maps of the FPN, then P6, P7        neck.fpn_convs.N.conv                   the same
    tower of the classes, and its last layer   bbox_head.cls_convs.N.conv, .gn         the same
                                               bbox_head.conv_cls                      the same, twice as wide
    tower of the controller, its last layer    bbox_head.ctrl_convs.N.conv, .gn        the same
                                               bbox_head.controller                    the same, twice as wide
    keypoint features F_kp; N counts its       bbox_head.shared_convs.N.conv, .gn      the same
      tower, the last one makes F_kp             the last: .conv with bias, no .gn       the last: .conv, .gn
    tower of the disk offsets                  bbox_head.offset_convs.N.conv, .gn      -
    disk offsets                               bbox_head.hm_offset                     the same, at stride 4
    tower of the heatmaps                      bbox_head.hm_convs.N.conv, .gn          the same, three deep
    heatmaps (training only)                   bbox_head.hm_pred                       the same
    tags (training only)                       -                                       bbox_head.ae_pred
    tower of the coarse joints, last layer     -                                       bbox_head.kpt_convs.N, .kpt_offset
    star convolutions and their norms          -                                       bbox_head.cls_star_conv, .cls_star_gn,
                                                                                       .ctr_star_conv, .ctr_star_gn

Axes: B images, C channels, H W the padded image, h w a map, L locations of all levels, N people, K joints,
P parameters of a KP-Net.  Sizes are (height, width), points and boxes x before y.
"""

import json
import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]

try:
    from huggingface_hub import PyTorchModelHubMixin as Hub  # pyright: ignore[reportMissingImports]
except ImportError:

    class Hub:
        """Nothing; `from_pretrained` and `push_to_hub` come with huggingface_hub."""


MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's, RGB
BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
PEOPLE_AT_ONCE = 16  # whose keypoint maps are in memory together


class Outputs(NamedTuple):
    """What the network makes of images; at least float32, but for the controller's features."""

    logits: list[Tensor]  # a level, finest first: f[B,1,h,w], a person or not
    controller: list[Tensor]  # a level: f[B,C,h,w], from which `bbox_head.controller` makes theta
    features: Tensor  # f[B,C,h,w] F_kp
    offsets: Tensor | None  # f[B,2K,h,w] in cells of its own map; channel 2k is x, 2k+1 is y of joint k
    heatmaps: Tensor | None  # f[B,K,h,w] logits; only in training mode
    coarse: list[Tensor] | None = None  # released; a level: f[B,2K,h,w] from a location's centre, in cells of the level
    tags: Tensor | None = None  # released: f[B,K,h,w]; only in training mode


class InsPose(nn.Module, Hub):
    """The model of a config, the content of `config.json`; `config["method"]` is "inspose" (the paper's) or "released"."""

    def __init__(self, config: dict):
        super().__init__()
        self.config = config
        model, network, kp_net = config["model"], config["model"]["network"], config["model"]["kp_net"]
        self.is_released: bool = config["method"] == "released"
        self.levels: list[int] = list(network["levels"])
        self.map_level: int = network["map_level"]
        self.num_keypoints = len(model["skeleton"]["keypoint_names"])
        inner = [kp_net["width"]] * (kp_net["depth"] - 1)
        self.kp_net_sizes = list(pairwise([kp_net["feature_channels"] + 2, *inner, self.num_keypoints]))
        num_parameters = sum(inputs * outputs + outputs for inputs, outputs in self.kp_net_sizes)

        self.backbone = make_backbone(network["backbone"], network["backbone_widths"])
        self.neck = FPN(self.backbone.channels, network["fpn_channels"], min(self.map_level, *self.levels), self.levels)
        head = ReleasedHead if self.is_released else PaperHead
        self.bbox_head = head(model, self.num_keypoints, num_parameters)

    def forward(self, image: Tensor) -> Outputs:
        """f[B,3,H,W] normalised and padded images, whose sides are multiples of 32 -> `Outputs`."""
        pyramid = self.neck(self.backbone(image))
        return self.bbox_head([pyramid[level] for level in self.levels], pyramid[self.map_level])

    def bfloat16(self) -> "InsPose":
        """Turn the convolutions to bfloat16.  Norms, KP-Nets, softmax and decoding keep float32."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.to(torch.bfloat16)
        return self

    @torch.no_grad()
    def detect(self, images: Any, threshold: float = 0.3) -> list[dict[str, Tensor]]:
        """The people in one image or a list of images u8[H,W,3], RGB; one dict per image, best person first.

        keypoints f32[N,K,2] (x, y) in pixels of the image, keypoint_scores f32[N,K] (the peak of each joint's
        softmax), scores f32[N], boxes f32[N,4] (x0, y0, x1, y1) and locations i64[N,3] (level, row, column of the
        cell that a person's KP-Net comes from).  A threshold of 0 keeps all that decoding finds, as for COCO's scores.

        Images go through the network one at a time.  `boxes` are around the joints; those of the released model
        are around its coarse joints.
        """
        self.eval()
        decode = released_people if self.is_released else paper_people
        found = []
        for image in images if isinstance(images, list | tuple) else [images]:
            network_input, size, scale = self.preprocess(image)
            people = decode(self, self(network_input[None]), size, scale)
            is_kept = people["scores"] >= threshold
            found.append({name: values[is_kept].cpu() for name, values in people.items()})
        return found

    def preprocess(self, image: Any) -> tuple[Tensor, tuple[int, int], Tensor]:
        """u8[h,w,3] -> f[3,H,W], the size of its real part, and the ratio of new and old sides f32[2] in x and y."""
        weight = next(self.parameters())
        image = torch.as_tensor(image, device=weight.device)
        if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.numel():
            raise ValueError(f"an image is u8[height, width, 3] RGB; this is {image.dtype} {tuple(image.shape)}")
        old = image.shape[0], image.shape[1]
        size, padded = self.test_sizes(*old)
        x = resize(image, size).to(torch.float64 if weight.dtype == torch.float64 else torch.float32)
        mean, std = x.new_tensor(MEAN), x.new_tensor(STD)
        # The released code multiplies by the reciprocal, which rounds otherwise.
        x = (x - mean) * (1 / std) if self.is_released else (x - mean) / std
        x = F.pad(x.permute(2, 0, 1), (0, padded[1] - size[1], 0, padded[0] - size[0]))
        scale = torch.tensor([size[1] / old[1], size[0] / old[0]], dtype=torch.float32, device=weight.device)
        return x.to(weight.dtype), size, scale

    def test_sizes(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """The size that an image is resized to and the size that it is then padded to at the right and bottom.

        The released model pads to multiples of 32.  The paper's model pads to the smallest fixed shape of its config
        that holds the image; one that fits into none is made smaller.
        """
        data = self.config["data"]
        factor = min(data["test_short_side"] / min(height, width), data["long_side"] / max(height, width))
        size = max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)
        if self.is_released:
            return size, (math.ceil(size[0] / 32) * 32, math.ceil(size[1] / 32) * 32)

        def fitting() -> list[tuple[int, int]]:
            return [(h, w) for h, w in data["shapes"] if size[0] <= h and size[1] <= w]

        if not fitting():
            factor = max(min(h / height, w / width) for h, w in data["shapes"])
            size = max(int(height * factor), 1), max(int(width * factor), 1)
        return size, min(fitting(), key=math.prod)

    def centres(self, where: Tensor) -> Tensor:
        """i64[N,3] level (an index), row, column of locations -> their (x, y) in pixels of the padded image."""
        stride = self.strides(where)[:, None]
        return where[:, [2, 1]] * stride + stride // 2

    def strides(self, where: Tensor) -> Tensor:
        """i64[N,3] locations -> the stride of each one's level, in pixels."""
        return where.new_tensor([2**level for level in self.levels])[where[:, 0]]


# --- weights --------------------------------------------------------------------------------------------------------


def load(path: str | Path) -> InsPose:
    """The model in a folder (`model.safetensors` or one .pth, and `config.json`) or in a file of weights.

    A checkpoint of the released model needs no `config.json`: its sizes are those of its tensors.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(
            [*path.glob("*.safetensors"), *path.glob("*.pth")], key=lambda file: file.suffix != ".safetensors"
        )
        if not files:
            raise FileNotFoundError(f"{path} holds neither a .safetensors nor a .pth file")
        path = files[0]
    if path.suffix == ".safetensors":
        tensors = read_safetensors(path)
    else:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    for level in ("state_dict", "model"):
        tensors = tensors[level] if isinstance(tensors.get(level), dict) else tensors
    tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    about = path.with_name("config.json")
    if about.exists():
        config = json.loads(about.read_text())
    elif "bbox_head.kpt_offset.weight" in tensors:
        config = released_config(tensors)
    else:
        raise FileNotFoundError(f"{about} is missing, which says what kind of model {path.name} holds")
    with torch.device("meta"):  # no memory, no random numbers
        model = InsPose(config)
    model.load_state_dict(tensors, assign=True)
    return model.eval()


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file: 8 bytes with the length of a JSON header, the header, then the tensors end to end."""
    types = {
        "F64": torch.float64,
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "I64": torch.int64,
    }
    data = bytearray(path.stat().st_size)
    with path.open("rb") as file:
        file.readinto(data)
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    tensors = {}
    for name in header.keys() - {"__metadata__"}:
        dtype, (begin, end) = types[header[name]["dtype"]], header[name]["data_offsets"]
        flat = torch.frombuffer(data, dtype=dtype, count=(end - begin) // dtype.itemsize, offset=start + begin)
        tensors[name] = flat.reshape(header[name]["shape"])
    return tensors


def released_config(tensors: dict[str, Tensor]) -> dict:
    """The config of a released checkpoint: widths from the shapes of its tensors, the rest as its authors had it."""

    def width(name: str) -> int:
        return tensors[f"{name}.weight"].shape[0]

    blocks = tuple(
        len({name.split(".")[2] for name in tensors if name.startswith(f"backbone.layer{i}.")}) for i in range(1, 5)
    )
    num_keypoints = width("bbox_head.hm_pred")
    names = COCO if num_keypoints == len(COCO) else [f"joint_{k}" for k in range(num_keypoints)]
    network = {
        "backbone": {blocks: name for name, blocks in BLOCKS.items()}[blocks],
        "backbone_widths": [width(f"backbone.layer{i}.0.conv1") for i in range(1, 5)],
        "levels": [3, 4, 5, 6, 7],
        "map_level": 3,
        "fpn_channels": width("neck.lateral_convs.0.conv"),
        "head_channels": width("bbox_head.cls_convs.0.conv"),
        "head_depth": 4,
        "coarse_channels": width("bbox_head.kpt_convs.0.conv"),
        "keypoint_channels": width("bbox_head.shared_convs.0.conv"),
        "keypoint_depth": 4,
        "dense_channels": width("bbox_head.hm_convs.0.conv"),
    }
    decoding = {
        "score_threshold": 0.05,
        "num_candidates": 1000,  # of a level
        "nms_threshold": 0.3,
        "num_poses": 100,
    }
    model = {
        "skeleton": {"name": "coco" if names is COCO else "own", "keypoint_names": names},
        "star_joints": [0, 5, 6, 9, 10, 11, 12, 15, 16],
        "network": network,
        "kp_net": {"feature_channels": 8, "width": 8, "depth": 3, "relative_scale": 64.0},
        "decoding": decoding,
    }
    return {"method": "released", "model": model, "data": {"test_short_side": 800, "long_side": 1333}}


COCO = [
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow"),
    *("right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle"),
    "right_ankle",
]


# --- resizing -------------------------------------------------------------------------------------------------------


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """u8[h,w,3] -> u8[H,W,3], to the byte what OpenCV's bilinear interpolation of 8-bit images makes of it.

    OpenCV computes with whole numbers: weights in 2048ths, and 11 of the 22 fractional bits are dropped in two steps.
    """
    height, width = image.shape[:2]
    if size == (height, width):
        return image
    x = image.to(torch.int32)
    if (height, width) == (2 * size[0], 2 * size[1]):  # OpenCV then averages four pixels
        return ((x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2] + 2) >> 2).to(torch.uint8)
    left, right = taps(width, size[1], x.device)
    top, bottom = taps(height, size[0], x.device)
    rows = (x[:, left.index] * left.weight[:, None] + x[:, right.index] * right.weight[:, None]) >> 4
    upper = (rows[top.index] * top.weight[:, None, None]) >> 16
    lower = (rows[bottom.index] * bottom.weight[:, None, None]) >> 16
    return ((upper + lower + 2) >> 2).to(torch.uint8)


class Tap(NamedTuple):
    """One of the two pixels that every output pixel reads along an axis."""

    index: Tensor  # i64[n] of the input pixel
    weight: Tensor  # i32[n] in 2048ths


def taps(old: int, new: int, device: Any) -> tuple[Tap, Tap]:
    """The two pixels of an axis of `old` pixels that each of `new` pixels reads, with their weights."""
    position = (torch.arange(new, dtype=torch.float64) + 0.5) * (1 / (new / old)) - 0.5
    position = position.float()  # as OpenCV rounds
    first = position.floor()
    fraction = position - first
    index, weights = first.long(), ((1 - fraction) * 2048, fraction * 2048)
    return tuple(
        Tap((index + i).clamp(0, old - 1).to(device), weight.round().to(device, torch.int32))
        for i, weight in enumerate(weights)
    )


# --- layers ---------------------------------------------------------------------------------------------------------


def wide(x: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 stay."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """A convolution padded so that stride 1 keeps the size of the map."""
    return nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=bias)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that computes in at least float32 and returns the type of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """f[B,C,h,w] -> f[B,C,h,w]."""
        return super().forward(wide(x)).to(x.dtype)


class GroupNorm(nn.GroupNorm):
    """Group norm that computes in at least float32 and returns the type of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """f[B,C,h,w] -> f[B,C,h,w]."""
        return super().forward(wide(x)).to(x.dtype)


class Unit(nn.Module):
    """A convolution with bias; or, with `groups`, one without, group norm and ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 0):
        super().__init__()
        self.conv = convolution(inputs, outputs, kernel, stride, bias=not groups)
        self.gn = GroupNorm(groups, outputs) if groups else None

    def forward(self, x: Tensor) -> Tensor:
        """f[B,C,h,w] -> f[B,D,h,w], or half as high and wide with stride 2."""
        x = self.conv(x)
        return x if self.gn is None else F.relu(self.gn(x))


def tower(inputs: int, channels: int, depth: int) -> list[Unit]:
    """`depth` units with at most 32 groups, for `nn.Sequential`."""
    return [Unit(inputs if i == 0 else channels, channels, groups=math.gcd(32, channels)) for i in range(depth)]


# --- backbones ------------------------------------------------------------------------------------------------------


def make_backbone(name: str, widths: list[int]) -> nn.Module:
    """A backbone by its name in the config: f[B,3,H,W] -> [C2, C3, C4, C5], whose numbers of channels are `channels`."""
    if name.startswith("hrnet"):
        return HRNet(int(name.rpartition("w")[2]))
    return ResNet(BLOCKS[name], widths, is_deep=name != "resnet18")


class Block(nn.Module):
    """Two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1, with a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int, is_bottleneck: bool):
        super().__init__()
        outputs = 4 * width if is_bottleneck else width
        if is_bottleneck:
            self.conv1, self.bn1 = convolution(inputs, width, 1), BatchNorm(width)
            self.conv2, self.bn2 = convolution(width, width, 3, stride), BatchNorm(width)
            self.conv3, self.bn3 = convolution(width, outputs, 1), BatchNorm(outputs)
        else:
            self.conv1, self.bn1 = convolution(inputs, width, 3, stride), BatchNorm(width)
            self.conv2, self.bn2 = convolution(width, outputs), BatchNorm(outputs)
            self.conv3 = None
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(convolution(inputs, outputs, 1, stride), BatchNorm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """f[B,C,h,w] -> f[B,D,h,w], or half as high and wide with stride 2."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.conv3 is not None:
            y = self.bn3(self.conv3(F.relu(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def blocks(inputs: int, width: int, number: int, stride: int, is_bottleneck: bool) -> nn.Sequential:
    """Several blocks, the first of which may halve the map."""
    outputs = 4 * width if is_bottleneck else width
    rest = [Block(outputs, width, 1, is_bottleneck) for _ in range(number - 1)]
    return nn.Sequential(Block(inputs, width, stride, is_bottleneck), *rest)


class ResNet(nn.Module):
    """Torchvision's ResNet without its classifier."""

    def __init__(self, depths: tuple[int, ...], widths: list[int], is_deep: bool):
        super().__init__()
        factor = 4 if is_deep else 1
        self.channels = [factor * width for width in widths]
        self.conv1, self.bn1 = convolution(3, widths[0], 7, 2), BatchNorm(widths[0])
        self.layer1 = blocks(widths[0], widths[0], depths[0], 1, is_deep)
        self.layer2 = blocks(self.channels[0], widths[1], depths[1], 2, is_deep)
        self.layer3 = blocks(self.channels[1], widths[2], depths[2], 2, is_deep)
        self.layer4 = blocks(self.channels[2], widths[3], depths[3], 2, is_deep)

    def forward(self, x: Tensor) -> list[Tensor]:
        """f[B,3,H,W] -> C2 to C5, of strides 4 to 32."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        maps = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            maps.append(x)
        return maps


class HRNet(nn.Module):
    """HRNet: maps of four resolutions side by side, which exchange what they see (mmdet's names)."""

    def __init__(self, width: int):
        super().__init__()
        self.channels = [width, 2 * width, 4 * width, 8 * width]
        self.conv1, self.bn1 = convolution(3, 64, stride=2), BatchNorm(64)
        self.conv2, self.bn2 = convolution(64, 64, stride=2), BatchNorm(64)
        self.layer1 = blocks(64, 64, 4, 1, is_bottleneck=True)
        first, second, third, fourth = self.channels
        self.transition1 = nn.ModuleList([step(256, first), nn.Sequential(step(256, second, stride=2))])
        self.stage2 = nn.Sequential(Exchange(self.channels[:2]))
        self.transition2 = nn.ModuleList([None, None, nn.Sequential(step(second, third, stride=2))])
        self.stage3 = nn.Sequential(*(Exchange(self.channels[:3]) for _ in range(4)))
        self.transition3 = nn.ModuleList([None, None, None, nn.Sequential(step(third, fourth, stride=2))])
        self.stage4 = nn.Sequential(*(Exchange(self.channels) for _ in range(3)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """f[B,3,H,W] -> maps of strides 4 to 32."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer1(F.relu(self.bn2(self.conv2(x))))
        maps = self.stage2([transition(x) for transition in self.transition1])
        maps = self.stage3([*maps, self.transition2[2](maps[-1])])
        return self.stage4([*maps, self.transition3[3](maps[-1])])


class Exchange(nn.Module):
    """Four blocks at each resolution; then each resolution gets the sum of all, brought to its own size and width."""

    def __init__(self, channels: list[int]):
        super().__init__()
        number = len(channels)
        self.branches = nn.ModuleList([blocks(width, width, 4, 1, is_bottleneck=False) for width in channels])
        self.fuse_layers = nn.ModuleList(
            [nn.ModuleList([bring(channels, source, target) for source in range(number)]) for target in range(number)]
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps, the finest first -> maps of the same sizes."""
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        sums = []
        for layers in self.fuse_layers:
            brought = [x if layer is None else layer(x) for layer, x in zip(layers, maps, strict=True)]
            sums.append(F.relu(sum(brought[1:], brought[0])))
        return sums


def bring(channels: list[int], source: int, target: int) -> nn.Module | None:
    """A map of one resolution at the size and width of another; None if they are the same."""
    if source == target:
        return None
    inputs, outputs = channels[source], channels[target]
    if source > target:
        enlarge = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
        return nn.Sequential(convolution(inputs, outputs, 1), BatchNorm(outputs), enlarge)
    between = [step(inputs, inputs, stride=2) for _ in range(target - source - 1)]
    return nn.Sequential(*between, nn.Sequential(convolution(inputs, outputs, stride=2), BatchNorm(outputs)))


def step(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution, batch norm and ReLU."""
    return nn.Sequential(convolution(inputs, outputs, stride=stride), BatchNorm(outputs), nn.ReLU())


# --- neck and heads -------------------------------------------------------------------------------------------------


class FPN(nn.Module):
    """[C2, C3, C4, C5] -> pyramid levels of equal width (FPN as in FCOS); `lowest` is the finest level."""

    def __init__(self, inputs: list[int], channels: int, lowest: int, levels: list[int]):
        super().__init__()
        self.lowest = lowest
        self.lateral_convs = nn.ModuleList([Unit(inputs[level - 2], channels, 1) for level in range(lowest, 6)])
        strides = {level: 2 if level > 5 else 1 for level in range(lowest, max(levels) + 1)}
        self.fpn_convs = nn.ModuleList([Unit(channels, channels, stride=stride) for stride in strides.values()])

    def forward(self, maps: list[Tensor]) -> dict[int, Tensor]:
        """C2 to C5 -> the map of each level f[B,C,h,w], with stride 2^level."""
        sums = [lateral(x) for lateral, x in zip(self.lateral_convs, maps[self.lowest - 2 :], strict=True)]
        for i in range(len(sums) - 1, 0, -1):
            sums[i - 1] = sums[i - 1] + F.interpolate(sums[i], size=sums[i - 1].shape[2:], mode="nearest")
        pyramid: dict[int, Tensor] = {}
        for level, layer in enumerate(self.fpn_convs, self.lowest):
            if level <= 5:
                pyramid[level] = layer(sums[level - self.lowest])
            else:
                below = pyramid[level - 1]
                pyramid[level] = layer(below if level == 6 else F.relu(below))
        return pyramid


class PaperHead(nn.Module):
    """The heads and branches of Figure 3."""

    def __init__(self, model: dict, num_keypoints: int, num_parameters: int):
        super().__init__()
        network = model["network"]
        inputs, width, shared = network["fpn_channels"], network["head_channels"], network["keypoint_channels"]
        self.cls_convs = nn.Sequential(*tower(inputs, width, network["head_depth"]))
        self.ctrl_convs = nn.Sequential(*tower(inputs, width, network["head_depth"]))
        width = width if network["head_depth"] else inputs
        self.conv_cls = convolution(width, 1, bias=True)
        self.controller = convolution(width, num_parameters, network["controller_kernel"], bias=True)

        trunk = tower(inputs, shared, network["keypoint_depth"])
        shared = shared if network["keypoint_depth"] else inputs
        self.shared_convs = nn.Sequential(*trunk, Unit(shared, model["kp_net"]["feature_channels"]))
        self.shared_trunk = network["shared_trunk"]
        if self.shared_trunk:
            dense, depth, inputs = shared, 0, shared
        else:
            dense, depth = network["dense_channels"], 2
        self.hm_offset = self.hm_pred = None
        if network["disk_offset"]:
            self.offset_convs = nn.Sequential(*tower(inputs, dense, depth))
            self.hm_offset = convolution(dense, 2 * num_keypoints, bias=True)
        if network["heatmap"]:
            self.hm_convs = nn.Sequential(*tower(inputs, dense, depth))
            self.hm_pred = convolution(dense, num_keypoints, bias=True)

    def forward(self, levels: list[Tensor], base: Tensor) -> Outputs:
        """The levels whose locations answer for people, and the level of the keypoint maps -> `Outputs`."""
        logits = [wide(self.conv_cls(self.cls_convs(x))) for x in levels]
        controller = [self.ctrl_convs(x) for x in levels]
        trunk = self.shared_convs[:-1](base)
        dense = trunk if self.shared_trunk else base
        offsets = heatmaps = None
        if self.hm_offset is not None:
            offsets = wide(self.hm_offset(self.offset_convs(dense)))
        if self.hm_pred is not None and self.training:
            heatmaps = wide(self.hm_pred(self.hm_convs(dense)))
        return Outputs(logits, controller, wide(self.shared_convs[-1](trunk)), offsets, heatmaps)


class ReleasedHead(nn.Module):
    """The released head: coarse joints from every location, and star convolutions that read the map at nine of them."""

    def __init__(self, model: dict, num_keypoints: int, num_parameters: int):
        super().__init__()
        network = model["network"]
        inputs, width, coarse = network["fpn_channels"], network["head_channels"], network["coarse_channels"]
        shared, dense, depth = network["keypoint_channels"], network["dense_channels"], network["head_depth"]
        self.star_joints: list[int] = list(model["star_joints"])
        self.cls_convs = nn.Sequential(*tower(inputs, width, depth))
        self.ctrl_convs = nn.Sequential(*tower(inputs, width, depth))
        last = Unit(shared, model["kp_net"]["feature_channels"], groups=2)
        self.shared_convs = nn.Sequential(*tower(inputs, shared, network["keypoint_depth"]), last)
        self.kpt_convs = nn.Sequential(*tower(inputs, coarse, depth))
        self.conv_cls = convolution(2 * width, 1, bias=True)
        self.controller = convolution(2 * width, num_parameters, bias=True)
        self.kpt_offset = convolution(coarse, 2 * num_keypoints, bias=True)
        self.cls_star_conv, self.cls_star_gn = convolution(width, width), GroupNorm(math.gcd(32, width), width)
        self.ctr_star_conv, self.ctr_star_gn = convolution(width, width), GroupNorm(math.gcd(32, width), width)
        self.hm_convs = nn.Sequential(*tower(inputs, dense, 3))
        self.hm_pred = convolution(dense, num_keypoints, bias=True)
        self.ae_pred = convolution(dense, num_keypoints, bias=True)
        self.hm_offset = convolution(dense, 2 * num_keypoints, bias=True)

    def forward(self, levels: list[Tensor], base: Tensor) -> Outputs:
        """The levels whose locations answer for people, and P3 -> `Outputs`; dense maps at stride 4, F_kp at 8."""
        logits, controller, coarse = [], [], []
        for x in levels:
            offsets = wide(self.kpt_offset(self.kpt_convs(x)))
            towers = self.cls_convs(x), self.ctrl_convs(x)
            # The towers learn from where the star reads, the coarse joints a tenth of it; the value is their own.
            places = self.star_places(offsets.detach() + 0.1 * (offsets - offsets.detach()))
            stars = star(towers, (self.cls_star_conv.weight, self.ctr_star_conv.weight), places)
            cls_star, ctr_star = F.relu(self.cls_star_gn(stars[0])), F.relu(self.ctr_star_gn(stars[1]))
            logits.append(wide(self.conv_cls(torch.cat([towers[0], cls_star], 1))))
            controller.append(torch.cat([towers[1], ctr_star], 1))
            coarse.append(offsets)
        dense = self.hm_convs[:2](base)
        dense = self.hm_convs[2](F.interpolate(dense, scale_factor=2, mode="bilinear", align_corners=False))
        heatmaps = wide(self.hm_pred(dense)) if self.training else None
        tags = wide(self.ae_pred(dense)) if self.training else None
        features = wide(self.shared_convs(base))
        return Outputs(logits, controller, features, wide(self.hm_offset(dense)), heatmaps, coarse, tags)

    def star_places(self, coarse: Tensor) -> Tensor:
        """Coarse joints f[B,2K,h,w] from each location, in cells -> f[B,9,h,w,2], the cells (x, y) the star reads."""
        height, width = coarse.shape[2:]
        joints = coarse.unflatten(1, (-1, 2))[:, self.star_joints].permute(0, 1, 3, 4, 2)
        x = torch.arange(width, dtype=coarse.dtype, device=coarse.device).expand(height, width)
        y = torch.arange(height, dtype=coarse.dtype, device=coarse.device)[:, None].expand(height, width)
        return joints + torch.stack([x, y], -1)


def star(maps: tuple[Tensor, ...], weights: tuple[Tensor, ...], places: Tensor) -> list[Tensor]:
    """3x3 convolutions f[D,C,3,3] whose nine taps read their maps f[B,C,h,w] at `places` f[B,9,h,w,2], (x, y) in cells.

    Between cells the reading is bilinear, outside of the map 0 (a deformable convolution, whose offsets say it all).
    """
    batch, taps, height, width = places.shape[:4]
    # `grid_sample` wants the map to span [-1, 1], from edge to edge.
    grid = (2 * places + 1) / places.new_tensor([width, height]) - 1
    every = wide(torch.cat(maps, 1)) if len(maps) > 1 else wide(maps[0])
    read = F.grid_sample(every, grid.reshape(batch, taps * height, width, 2).to(every.dtype), align_corners=False)
    results = []
    for x, weight in zip(read.split([x.shape[1] for x in maps], 1), weights, strict=True):
        columns = x.reshape(batch, -1, height, width).to(weight.dtype)  # channel by channel, nine taps each
        results.append(F.conv2d(columns, weight.flatten(1)[:, :, None, None]))
    return results


# --- people ---------------------------------------------------------------------------------------------------------


def paper_people(model: InsPose, outputs: Outputs, size: tuple[int, int], scale: Tensor) -> dict[str, Tensor]:
    """The paper's decoding (Sec. 3.4) for one image, whose real part has `size`; `scale` leads back to the original."""
    rules = model.config["model"]["decoding"]
    where, stride = every_location(outputs.logits), 2**model.map_level
    is_inside = (model.centres(where) < where.new_tensor([size[1], size[0]])).all(1)
    scores = torch.cat([x[0].flatten() for x in outputs.logits]).sigmoid() * is_inside
    scores, best = scores.sort(descending=True, stable=True)
    best = best[: rules["num_candidates"]][scores[: rules["num_candidates"]] > rules["score_threshold"]]
    scores, where = scores[: len(best)], where[best]

    # Cells in the padding take no part: they lie to the right and at the bottom, and are cut off.
    real = math.ceil(size[0] / stride), math.ceil(size[1] / stride)
    peaks = [peaks_of(maps) for maps in keypoint_maps(model, outputs, where, real)]
    cells, keypoint_scores = (torch.cat(values) for values in zip(*peaks, strict=True))
    if outputs.offsets is None:
        keypoints = (cells + 0.5) * stride
    else:
        keypoints = (cells + read_offsets(outputs.offsets[0], cells)) * stride  # Eq. 3
    if rules["pose_score"] == "class_times_peak":
        scores = scores * keypoint_scores.mean(1)
    scores, order = scores.sort(descending=True, stable=True)
    low, high = keypoints[order].amin(1), keypoints[order].amax(1)
    boxes = torch.cat([low, torch.maximum(high, low + 1)], 1)  # a pixel at least, so that a collapsed pose has an area
    is_kept = suppress(boxes, rules["nms_threshold"])
    kept = order[is_kept][: rules["num_poses"]]
    keypoints = keypoints[kept] / scale
    return {
        "keypoints": keypoints,
        "keypoint_scores": keypoint_scores[kept],
        "scores": scores[is_kept][: rules["num_poses"]],
        "boxes": torch.cat([keypoints.amin(1), keypoints.amax(1)], 1),
        "locations": where[kept],
    }


def released_people(model: InsPose, outputs: Outputs, size: tuple[int, int], scale: Tensor) -> dict[str, Tensor]:
    """The released decoding for one image: soft-NMS with boxes of coarse joints, then KP-Nets for who is left."""
    rules = model.config["model"]["decoding"]
    chosen = []
    for level, (logits, coarse) in enumerate(zip(outputs.logits, outputs.coarse or [], strict=True)):
        scores = logits[0].flatten().sigmoid()
        best = torch.arange(len(scores), device=scores.device)
        if len(best) > rules["num_candidates"]:
            best = scores.sort(descending=True, stable=True).indices[: rules["num_candidates"]]
        where = every_location([logits])[best]
        where[:, 0] = level
        chosen.append((scores[best], where, coarse[0].flatten(1).T[best].unflatten(1, (-1, 2))))
    scores, where, joints = (torch.cat(values) for values in zip(*chosen, strict=True))
    joints = joints * model.strides(where)[:, None, None] + model.centres(where)[:, None]
    joints = torch.minimum(joints.clamp(min=0), joints.new_tensor([size[1], size[0]])) / scale
    boxes = torch.cat([joints.amin(1), joints.amax(1)], 1)
    passing = (scores > rules["score_threshold"]).nonzero()[:, 0]
    order, scores = soft_suppress(boxes[passing], scores[passing], rules["nms_threshold"], rules["num_poses"])
    kept = passing[order]

    found = []
    for maps in keypoint_maps(model, outputs, where[kept]):
        finer = F.interpolate(maps, scale_factor=2, mode="bicubic", align_corners=False)  # to stride 4
        found.append((peaks_of(finer)[0], peaks_of(maps)[1]))
    cells, keypoint_scores = (torch.cat(values) for values in zip(*found, strict=True))
    assert outputs.offsets is not None
    stride = 2 ** (model.map_level - 1)
    return {
        "keypoints": (cells + read_offsets(outputs.offsets[0], cells)) * stride / scale,
        "keypoint_scores": keypoint_scores,
        "scores": scores,
        "boxes": boxes[kept],
        "locations": where[kept],
    }


def every_location(maps: list[Tensor]) -> Tensor:
    """i64[L,3]: index of the map, row and column of every cell of some maps f[..,h,w], row by row."""
    grids = [torch.ones(x.shape[-2:], dtype=torch.bool, device=x.device).nonzero() for x in maps]
    return torch.cat([F.pad(grid, (1, 0), value=level) for level, grid in enumerate(grids)])


def theta_at(features: list[Tensor], layer: nn.Conv2d, where: Tensor) -> Tensor:
    """The controller's last layer at some locations i64[N,3] of the first image only -> theta f[N,P]."""
    weight, steps = wide(layer.weight), torch.arange(layer.kernel_size[0], device=where.device)
    before = (len(steps) - 1) // 2
    theta = weight.new_zeros(len(where), len(weight))
    for level, x in enumerate(features):
        here = (where[:, 0] == level).nonzero()[:, 0]
        padded = F.pad(wide(x[0]), (before, len(steps) - 1 - before) * 2)
        rows, columns = where[here, 1, None, None] + steps[:, None], where[here, 2, None, None] + steps
        theta[here] = torch.einsum("cnij,pcij->np", padded[:, rows, columns], weight)
    return theta + wide(layer.bias)


def keypoint_maps(
    model: InsPose, outputs: Outputs, where: Tensor, real: tuple[int, int] | None = None
) -> Iterator[Tensor]:
    """The KP-Nets of the people at `where` i64[N,3]: logits f[n,K,h,w] of a few people at a time; at least one chunk.

    `real` crops the maps to (height, width) cells.
    """
    features = outputs.features[0]
    features = features if real is None else features[:, : real[0], : real[1]]
    channels, height, width = features.shape
    stride = 2**model.map_level
    places = [(torch.arange(n, dtype=features.dtype, device=where.device) + 0.5) * stride for n in (width, height)]
    scales = model.config["model"]["kp_net"]["relative_scale"] / 8 * model.strides(where).to(features.dtype)
    x, y = (
        (axis - centre[:, None]) / scales[:, None] for axis, centre in zip(places, model.centres(where).T, strict=True)
    )
    theta = theta_at(outputs.controller, model.bbox_head.controller, where)
    for first in range(0, max(len(where), 1), PEOPLE_AT_ONCE):
        few = slice(first, first + PEOPLE_AT_ONCE)
        relative = torch.stack(torch.broadcast_tensors(x[few, None, :], y[few, :, None]), 1).flatten(2)
        (weight, bias), *rest = split_theta(theta[few], model.kp_net_sizes)
        maps = weight[:, :, :channels] @ features.flatten(1) + weight[:, :, channels:] @ relative + bias
        for weight, bias in rest:
            maps = weight @ F.relu(maps) + bias
        yield maps.unflatten(2, (height, width))


def split_theta(theta: Tensor, sizes: list[tuple[int, int]]) -> list[tuple[Tensor, Tensor]]:
    """f[N,P] -> weight f[N,out,in] and bias f[N,out,1] of each 1x1 convolution; in that order, layer by layer."""
    parts = theta.split([number for inputs, outputs in sizes for number in (inputs * outputs, outputs)], 1)
    return [
        (weight.reshape(-1, outputs, inputs), bias[:, :, None])
        for weight, bias, (inputs, outputs) in zip(parts[::2], parts[1::2], sizes, strict=True)
    ]


def peaks_of(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Logits f[N,K,h,w] -> the cell (x, y) i64[N,K,2] of each map's first maximum, and the softmax there f[N,K]."""
    logit, index = maps.flatten(2).max(2)
    width = maps.shape[3]
    cells = torch.stack([index % width, index.div(width, rounding_mode="floor")], -1)
    return cells, (logit - maps.flatten(2).logsumexp(2)).exp()


def read_offsets(offsets: Tensor, cells: Tensor) -> Tensor:
    """Each joint's offset (x, y) f[N,K,2], read from the map f[2K,h,w] at the joint's own cell (x, y) i64[N,K,2]."""
    joints = torch.arange(cells.shape[1], device=cells.device)
    return offsets.unflatten(0, (-1, 2))[joints, :, cells[..., 1], cells[..., 0]]


def overlaps(box: Tensor, boxes: Tensor) -> Tensor:
    """Intersection over union of boxes f[..,4] (x0, y0, x1, y1) that broadcast; NaN where the union is empty."""
    sides = (torch.minimum(box[..., 2:], boxes[..., 2:]) - torch.maximum(box[..., :2], boxes[..., :2])).clamp(min=0)
    shared = sides.prod(-1)
    areas = [(one[..., 2] - one[..., 0]) * (one[..., 3] - one[..., 1]) for one in (box, boxes)]
    return shared / (areas[0] + areas[1] - shared)


def suppress(boxes: Tensor, threshold: float) -> Tensor:
    """Non-maximum suppression of boxes f[N,4], best first -> bool[N], whether no better box that is kept overlaps."""
    boxes = boxes.cpu()  # a loop of small steps
    is_kept = torch.ones(len(boxes), dtype=torch.bool)
    too_close = overlaps(boxes[:, None], boxes) > threshold
    for i in range(len(boxes)):
        if is_kept[i]:
            is_kept[i + 1 :] &= ~too_close[i, i + 1 :]
    return is_kept


def soft_suppress(boxes: Tensor, scores: Tensor, threshold: float, most: int) -> tuple[Tensor, Tensor]:
    """Soft-NMS, linear: the indices of at most `most` boxes in the order of their picking, and their lowered scores.

    The best box lowers the scores of those that overlap it by `threshold` or more; a box below .001 is dropped, and the
    last of the list takes its place, which decides between equal scores later.
    """
    device = scores.device
    boxes, scores, left, picked = boxes.cpu(), scores.cpu().clone(), list(range(len(boxes))), []
    while left and len(picked) < most:
        best = int(scores[left].argmax())
        left[0], left[best] = left[best], left[0]
        one = left[0]
        picked.append(one)
        # The list without its first, but in its order.
        left = left[1:]
        overlap = overlaps(boxes[one], boxes[left])
        scores[left] = torch.where(overlap >= threshold, scores[left] * (1 - overlap), scores[left])
        low, position = set(torch.tensor(left)[scores[left] < 0.001].tolist()), 0
        while low and position < len(left):
            if left[position] in low:
                left[position] = left[-1]
                left.pop()
            else:
                position += 1
    index = torch.tensor(picked, dtype=torch.int64)
    return index.to(device), scores[index].to(device)

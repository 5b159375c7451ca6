"""InsPose in PyTorch, in one file that needs only torch: the network, its weights, and the people in images.

    model = load("folder")  # with model.safetensors and config.json; or load("released.pth")
    for people in model.detect([image]):  # u8[H,W,3] RGB, numpy arrays or tensors
        people["keypoints"]  # f32[N,K,2] (x, y) in pixels of the image, best person first

It has both variants: the paper's model, of any size and skeleton, and the model that the authors released.  Copy the
file to wherever it is needed.  It only finds people: training goes on in JAX, with the package inspose_jax.
`model.cuda()`, `model.bfloat16()` and `model.compile()` work as usual; so does `InsPose.from_pretrained("owner/name")`
where huggingface_hub is installed.

Pixels are continuous: pixel i spans [i, i + 1).  The released model was trained on joints that are indices of pixels.

Names of the weights: those of the released checkpoint wherever the paper's model has the same layer.  N counts from 0.

    layer                                       paper's model                        released model
    backbone as in torchvision (HRNet: mmdet)   backbone.conv1, .layer1.0.conv1, ..  the same
    pyramid: lateral layers, finest first       neck.lateral_convs.N.conv            the same
    its output layers, finest first, P6, P7     neck.fpn_convs.N.conv                the same
    class tower, logits                         bbox_head.cls_convs.N, .conv_cls     the same
    controller tower, theta                     bbox_head.ctrl_convs.N, .controller  the same
    box head                                    bbox_head.conv_reg                   -
    F_kp: tower, and the last layer             bbox_head.shared_convs.N             the same; the last has a norm too
    disk offset tower                           bbox_head.offset_convs.N             the heatmap tower, hm_convs.N
    disk offsets                                bbox_head.hm_offset                  the same
    heatmap tower, heatmaps (training only)     bbox_head.hm_convs.N, .hm_pred       the same
    tags (training only)                        -                                    bbox_head.ae_pred
    coarse joints: tower, offsets               -                                    bbox_head.kpt_convs.N, .kpt_offset
    star convolutions, norms: class tower       -                                    bbox_head.cls_star_conv, _star_gn
    star convolutions, norms: controller tower  -                                    bbox_head.ctr_star_conv, _star_gn

Layer N of a tower consists of `N.conv.weight`, without bias, and `N.gn.weight`, `N.gn.bias`.

Axes: B images, C D channels, H W the padded image, h w a map, L locations of all levels, N people, K joints,
P parameters of a KP-Net.  Sizes are (height, width); points are (x, y), boxes x0 y0 x1 y1.
"""

import json
import math
from collections.abc import Iterator
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]

try:
    from huggingface_hub import PyTorchModelHubMixin as Hub  # pyright: ignore[reportMissingImports]
except ImportError:
    Hub = object

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's, RGB
RESNETS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}  # blocks of each stage
PEOPLE_AT_ONCE = 16  # whose keypoint maps are in memory together
COCO = (  # noqa: SIM905
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
).split()
STAR = (  # noqa: SIM905
    "nose left_shoulder right_shoulder left_wrist right_wrist left_hip right_hip left_ankle right_ankle"
).split()


class Outputs(NamedTuple):
    """The network's outputs, at least float32 but for the controller's features; lists hold a map for each level."""

    logits: list[Tensor]  # f[B,1,h,w] of "is a person"
    controller: list[Tensor]  # f[B,C,h,w] from which `bbox_head.controller` makes theta
    features: Tensor  # f[B,C,h,w] F_kp
    offsets: Tensor | None  # f[B,2K,h,w] in cells of this map; channel 2k is x, 2k+1 is y of joint k
    heatmaps: Tensor | None  # f[B,K,h,w] logits; None at test time
    coarse: list[Tensor] | None = None  # released: f[B,2K,h,w] from a location to its joints, in cells of the level
    tags: Tensor | None = None  # released: f[B,K,h,w]; None at test time
    sides: list[Tensor] | None = None  # f[B,4,h,w] pixels to a box's left, top, right, bottom, of a box head


class InsPose(nn.Module, Hub):  # pyright: ignore[reportGeneralTypeIssues]
    """The model of a config, the content of `config.json`, whose method is "inspose" (the paper's) or "released".

    The module maps images f[B,3,H,W], normalised and padded to multiples of 32, to `Outputs`.
    """

    def __init__(self, config: dict):
        super().__init__()
        self.config = config
        model, network, kp_net = config["model"], config["model"]["network"], config["model"]["kp_net"]
        self.is_released: bool = config["method"] == "released"
        self.levels: list[int] = list(network.get("levels", (3, 4, 5, 6, 7)))
        self.map_level: int = network.get("map_level", 3)
        self.map_ratio: float = network.get("map_ratio", 1.0)  # of the maps' sides to those of the level's map
        self.map_stride = round(2**self.map_level / self.map_ratio)
        self.keypoint_names: list[str] = model["skeleton"]["keypoint_names"]
        hidden = [kp_net["width"]] * (kp_net["depth"] - 1)
        self.kp_net_sizes = list(pairwise([kp_net["feature_channels"] + 2, *hidden, len(self.keypoint_names)]))
        num_parameters = sum(inputs * outputs + outputs for inputs, outputs in self.kp_net_sizes)
        self.backbone = make_backbone(network["backbone"], network["backbone_widths"])
        levels = range(min(self.map_level, *self.levels), max(self.levels) + 1)
        self.neck = FPN(self.backbone.channels, network["fpn_channels"], levels)
        kind = ReleasedHead if self.is_released else PaperHead
        self.bbox_head = kind(model, len(self.keypoint_names), num_parameters)

    def forward(self, images: Tensor) -> Outputs:
        pyramid = self.neck(self.backbone(images))
        base = at_ratio(pyramid[self.map_level], self.map_ratio)
        return self.bbox_head([pyramid[level] for level in self.levels], base)

    def bfloat16(self) -> "InsPose":
        """Convert the convolutions to bfloat16; norms, KP-Nets, softmax and decoding stay float32."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.to(torch.bfloat16)
        return self

    @torch.no_grad()
    def detect(self, images: Any, threshold: float = 0.3) -> list[dict[str, Tensor]]:
        """Find the people in an image u8[H,W,3] RGB or a list of them: one dict for each image, best person first.

        keypoints f32[N,K,2] (x, y) in pixels of the image, keypoint_scores f32[N,K] (softmax peaks of the keypoint
        maps), scores f32[N], of at least `threshold`, boxes f32[N,4] (those of a box head, else around the joints; in
        the released model around its coarse joints) and locations i64[N,3], which generated the people: index of the
        level, row, column.  For
        COCO's metrics take a threshold of 0.  Images go through the network one at a time.
        """
        self.eval()
        decode, found = released_people if self.is_released else paper_people, []
        for image in images if isinstance(images, list | tuple) else [images]:
            padded, size, scale = self.preprocess(image)
            people = decode(self, self(padded[None]), size, scale)
            is_kept = people["scores"] >= threshold
            found.append({name: values[is_kept].cpu() for name, values in people.items()})
        return found

    def preprocess(self, image: Any) -> tuple[Tensor, tuple[int, int], Tensor]:
        """u8[h,w,3] -> f[3,H,W], the size of its part without padding, and new / old sides in x and y f32[2]."""
        weight = next(self.parameters())
        image = torch.as_tensor(image, device=weight.device)
        if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.numel():
            raise ValueError(f"an image is RGB u8[height, width, 3]; this is {image.dtype} {tuple(image.shape)}")
        height, width = image.shape[:2]
        size, shape = test_size(self.config["data"], height, width)
        x = resize(image, size).to(torch.promote_types(weight.dtype, torch.float32))
        x = ((x - x.new_tensor(MEAN)) / x.new_tensor(STD)).permute(2, 0, 1)
        x = F.pad(x, (0, shape[1] - size[1], 0, shape[0] - size[0])).to(weight.dtype)
        return x, size, torch.tensor([size[1] / width, size[0] / height], device=weight.device)

    def places(self, where: Tensor) -> tuple[Tensor, Tensor]:
        """Locations i64[N,3] -> their (x, y) i64[N,2] in pixels of the padded image, and strides i64[N,1]."""
        strides = where.new_tensor([2**level for level in self.levels])[where[:, :1]]
        return where[:, [2, 1]] * strides + strides // 2, strides


# --- weights and images -----------------------------------------------------------------------------------------------


def load(path: str | Path) -> InsPose:
    """The model in a folder or a .safetensors or .pth file, beside `config.json`, which released weights do without."""
    path = Path(path)
    if path.is_dir():
        files = [*sorted(path.glob("*.safetensors")), *sorted(path.glob("*.pth"))]
        if not files:
            raise FileNotFoundError(f"{path} holds no .safetensors and no .pth file")
        path = files[0]
    is_safe = path.suffix == ".safetensors"
    tensors: Any = read_safetensors(path) if is_safe else torch.load(path, map_location="cpu", weights_only=True)
    for level in ("state_dict", "model"):
        tensors = tensors.get(level, tensors)
    tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    about = path.with_name("config.json")
    if about.exists():
        config = json.loads(about.read_text())
    elif "bbox_head.kpt_offset.weight" in tensors:
        config = released_config(tensors)
    else:
        raise FileNotFoundError(f"{about} is missing; it says which model the weights belong to")
    with torch.device("meta"):  # takes no memory and no random numbers
        model = InsPose(config)
    model.load_state_dict(tensors, assign=True)
    return model.eval()


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, which holds the length of a JSON header in 8 bytes, the header, then all the numbers."""
    types = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64"}
    data = bytearray(path.stat().st_size)
    with path.open("rb") as file:
        file.readinto(data)
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            dtype, (first, end) = getattr(torch, types[entry["dtype"]]), entry["data_offsets"]
            numbers = torch.frombuffer(data, dtype=dtype, count=(end - first) // dtype.itemsize, offset=start + first)
            tensors[name] = numbers.reshape(entry["shape"])
    return tensors


def released_config(tensors: dict[str, Tensor]) -> dict:
    """The config of a released checkpoint: the sizes of its tensors, and for the rest the released recipe."""
    sizes = {name.removesuffix(".weight"): tensor.shape[0] for name, tensor in tensors.items() if tensor.ndim == 4}
    stages = [f"backbone.layer{i}" for i in range(1, 5)]
    depths = tuple(sum(f"{stage}.{i}.conv1" in sizes for i in range(99)) for stage in stages)
    number = sizes["bbox_head.hm_pred"]
    names = COCO if number == len(COCO) else [f"joint_{k}" for k in range(number)]
    network = {
        "backbone": next(name for name, one in RESNETS.items() if one == depths),
        "backbone_widths": [sizes[f"{stage}.0.conv1"] for stage in stages],
        "fpn_channels": sizes["neck.lateral_convs.0.conv"],
        "head_channels": sizes["bbox_head.cls_convs.0.conv"],
        "coarse_channels": sizes["bbox_head.kpt_convs.0.conv"],
        "keypoint_channels": sizes["bbox_head.shared_convs.0.conv"],
        "dense_channels": sizes["bbox_head.hm_convs.0.conv"],
        **{"head_depth": 4, "keypoint_depth": 4},
    }
    kp_net = {"feature_channels": 8, "width": 8, "depth": 3, "relative_scale": 64.0}
    limits = {"score_threshold": 0.05, "nms_threshold": 0.3, "least_score": 0.001}
    decoding = {**limits, "num_per_level": 1000, "num_poses": 100}
    parts = {"network": network, "kp_net": kp_net, "decoding": decoding, "star_joints": []}
    model = {"skeleton": {"keypoint_names": names}, **parts}
    data = {"test_short_side": 800, "long_side": 1333, "test_padding": "own"}
    return {"method": "released", "model": model, "data": data}


def test_size(data: dict, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The size that an image is resized to, and the one that it is then padded to at the right and bottom.

    That is the smallest of the config's shapes that holds it, or with its "own" padding the next multiples of 32.
    """
    factor = min(data["test_short_side"] / min(height, width), data["long_side"] / max(height, width))
    size = max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)
    if data["test_padding"] == "own":
        return size, (-(-size[0] // 32) * 32, -(-size[1] // 32) * 32)
    if not any(size[0] <= h and size[1] <= w for h, w in data["shapes"]):
        factor = max(min(h / height, w / width) for h, w in data["shapes"])
        size = max(int(height * factor), 1), max(int(width * factor), 1)
    return size, min(((h, w) for h, w in data["shapes"] if size[0] <= h and size[1] <= w), key=math.prod)


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """u8[h,w,3] -> u8[H,W,3] with the bytes of OpenCV's bilinear interpolation, which computes in whole numbers."""
    height, width = image.shape[:2]
    if size == (height, width):
        return image
    x = image.to(torch.int32)
    if (height, width) == (2 * size[0], 2 * size[1]):  # OpenCV averages four pixels then
        return ((x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2] + 2) >> 2).to(torch.uint8)
    left, right, left_weight, right_weight = neighbours(width, size[1], x.device)
    x = (x[:, left] * left_weight[:, None] + x[:, right] * right_weight[:, None]) >> 4
    top, bottom, top_weight, bottom_weight = neighbours(height, size[0], x.device)
    x = ((x[top] * top_weight[:, None, None]) >> 16) + ((x[bottom] * bottom_weight[:, None, None]) >> 16)
    return ((x + 2) >> 2).to(torch.uint8)


def neighbours(old: int, new: int, device: Any) -> tuple[Tensor, ...]:
    """Between which two of an axis's `old` pixels each of `new` ones lies: indices i64[n] and weights i32[n] / 2048."""
    place = ((torch.arange(new, dtype=torch.float64) + 0.5) * (1 / (new / old)) - 0.5).float()  # rounds as OpenCV does
    first, part = place.floor().long(), place - place.floor()
    indices = [(first + i).clamp(0, old - 1).to(device) for i in (0, 1)]
    return *indices, *((weight * 2048).round().to(device, torch.int32) for weight in (1 - part, part))


# --- the network ------------------------------------------------------------------------------------------------------


def wide(x: Tensor) -> Tensor:
    """Convert half precision to float32; float32 and float64 stay."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """A convolution that pads so that the map keeps its size at stride 1."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)


class GroupNorm(nn.GroupNorm):
    """f[B,C,h,w] -> the same shape and type; computes in at least float32."""

    def forward(self, x: Tensor) -> Tensor:
        # Not `super().forward`, which refuses groups of a single number; they become 0 and then the bias.
        return torch.group_norm(wide(x), self.num_groups, self.weight, self.bias, self.eps).to(x.dtype)


class Unit(nn.Module):
    """f[B,C,h,w] -> f[B,D,h / stride,w / stride]: convolution, group norm and ReLU; without groups, only the first."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 0):
        super().__init__()
        self.conv = convolution(inputs, outputs, kernel, stride, bias=not groups)
        self.gn = GroupNorm(groups, outputs) if groups else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x if self.gn is None else F.relu(self.gn(x))


def tower(inputs: int, channels: int, depth: int) -> tuple[nn.Sequential, int]:
    """`depth` units in a row, and the number of channels that they end with."""
    widths, groups = [inputs, *[channels] * depth], math.gcd(32, channels)
    return nn.Sequential(*(Unit(before, after, groups=groups) for before, after in pairwise(widths))), widths[-1]


def make_backbone(name: str, widths: list[int]) -> "ResNet | HRNet":
    """f[B,3,H,W] -> [C2, C3, C4, C5] with the numbers of `channels`; no `widths` stands for the published ones."""
    if name in RESNETS:
        return ResNet(RESNETS[name], widths or [64, 128, 256, 512], is_deep=name != "resnet18")
    return HRNet(widths or [int(name.removeprefix("hrnet_w")) * 2**i for i in range(4)])


class Block(nn.Module):
    """Two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1, with a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int, is_bottleneck: bool):
        super().__init__()
        outputs = 4 * width if is_bottleneck else width
        if is_bottleneck:
            self.conv1, self.bn1 = convolution(inputs, width, 1), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = convolution(width, width, 3, stride), nn.BatchNorm2d(width)
            self.conv3, self.bn3 = convolution(width, outputs, 1), nn.BatchNorm2d(outputs)
        else:
            self.conv1, self.bn1 = convolution(inputs, width, 3, stride), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = convolution(width, outputs), nn.BatchNorm2d(outputs)
        self.is_bottleneck, self.downsample = is_bottleneck, None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.is_bottleneck:
            y = self.bn3(self.conv3(F.relu(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def blocks(inputs: int, width: int, number: int, stride: int, is_bottleneck: bool) -> nn.Sequential:
    """Blocks at one resolution; the first may halve the map."""
    outputs = 4 * width if is_bottleneck else width
    rest = [Block(outputs, width, 1, is_bottleneck) for _ in range(number - 1)]
    return nn.Sequential(Block(inputs, width, stride, is_bottleneck), *rest)


class ResNet(nn.Module):
    """Torchvision's ResNet without its classifier."""

    def __init__(self, depths: tuple[int, ...], widths: list[int], is_deep: bool):
        super().__init__()
        self.channels = [4 * width if is_deep else width for width in widths]
        self.conv1, self.bn1 = convolution(3, widths[0], 7, 2), nn.BatchNorm2d(widths[0])
        self.layer1 = blocks(widths[0], widths[0], depths[0], 1, is_deep)
        self.layer2 = blocks(self.channels[0], widths[1], depths[1], 2, is_deep)
        self.layer3 = blocks(self.channels[1], widths[2], depths[2], 2, is_deep)
        self.layer4 = blocks(self.channels[2], widths[3], depths[3], 2, is_deep)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        maps = [self.layer1(x)]
        for layer in (self.layer2, self.layer3, self.layer4):
            maps.append(layer(maps[-1]))
        return maps


class HRNet(nn.Module):
    """Maps of four resolutions side by side, of `channels` channels, which exchange what they have found."""

    def __init__(self, channels: list[int]):
        super().__init__()
        self.channels = channels
        self.conv1, self.bn1 = convolution(3, 64, stride=2), nn.BatchNorm2d(64)
        self.conv2, self.bn2 = convolution(64, 64, stride=2), nn.BatchNorm2d(64)
        self.layer1 = blocks(64, 64, 4, 1, is_bottleneck=True)
        halve = [nn.Sequential(step(a, b, 2)) for a, b in pairwise([256, *channels[1:]])]  # the new, coarsest map
        self.transition1 = nn.ModuleList([step(256, channels[0]), halve[0]])
        self.stage2 = nn.Sequential(Exchange(channels[:2]))
        self.transition2 = nn.ModuleList([nn.Identity(), nn.Identity(), halve[1]])
        self.stage3 = nn.Sequential(*(Exchange(channels[:3]) for _ in range(4)))
        self.transition3 = nn.ModuleList([*(nn.Identity() for _ in range(3)), halve[2]])
        self.stage4 = nn.Sequential(*(Exchange(channels) for _ in range(3)))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer1(F.relu(self.bn2(self.conv2(x))))
        maps = self.stage2([transition(x) for transition in self.transition1])
        maps = self.stage3([*maps, self.transition2[2](maps[-1])])
        return self.stage4([*maps, self.transition3[3](maps[-1])])


class Exchange(nn.Module):
    """Four blocks at each resolution; then each map becomes the sum of all, brought to its resolution."""

    def __init__(self, channels: list[int]):
        super().__init__()
        every = range(len(channels))
        self.branches = nn.ModuleList([blocks(width, width, 4, 1, is_bottleneck=False) for width in channels])
        self.fuse_layers: Any = nn.ModuleList(
            [nn.ModuleList([bring(channels, source, to) for source in every]) for to in every]
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        parts = ([layer(x) for layer, x in zip(layers, maps, strict=True)] for layers in self.fuse_layers)
        return [F.relu(reduce(torch.add, one)) for one in parts]


def bring(channels: list[int], source: int, to: int) -> nn.Module:
    """From the resolution and channels of one map to those of another."""
    inputs, outputs = channels[source], channels[to]
    if source > to:
        repeat = nn.Upsample(scale_factor=2 ** (source - to), mode="nearest")
        return nn.Sequential(convolution(inputs, outputs, 1), nn.BatchNorm2d(outputs), repeat)
    halvings = [step(inputs, outputs if i + 1 == to else inputs, 2) for i in range(source, to)]
    return nn.Sequential(*halvings[:-1], *(last[:2] for last in halvings[-1:]))  # no ReLU before the sum


def step(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution, batch norm and ReLU."""
    return nn.Sequential(convolution(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs), nn.ReLU())


class FPN(nn.Module):
    """[C2, C3, C4, C5] -> {level: f[B,C,H / 2^level,W / 2^level]} (FPN as in FCOS)."""

    def __init__(self, inputs: list[int], channels: int, levels: range):
        super().__init__()
        self.levels = levels
        self.lateral_convs = nn.ModuleList([Unit(inputs[level - 2], channels, 1) for level in range(levels[0], 6)])
        self.fpn_convs = nn.ModuleList([Unit(channels, channels, stride=1 + (level > 5)) for level in levels])

    def forward(self, maps: list[Tensor]) -> dict[int, Tensor]:
        sums = [lateral(x) for lateral, x in zip(self.lateral_convs, maps[self.levels[0] - 2 :], strict=True)]
        for i in range(len(sums) - 1, 0, -1):
            sums[i - 1] = sums[i - 1] + F.interpolate(sums[i], size=sums[i - 1].shape[2:], mode="nearest")
        pyramid: dict[int, Tensor] = {}
        for level, layer in zip(self.levels, self.fpn_convs, strict=True):
            if level <= 5:
                pyramid[level] = layer(sums[level - self.levels[0]])
            else:
                pyramid[level] = layer(pyramid[5] if level == 6 else F.relu(pyramid[level - 1]))
        return pyramid


class PaperHead(nn.Module):
    """The heads and branches of the paper's Figure 3: maps of the levels, map that the branches read -> `Outputs`."""

    def __init__(self, model: dict, num_keypoints: int, num_parameters: int):
        super().__init__()
        network, inputs = model["network"], model["network"]["fpn_channels"]
        self.cls_convs, width = tower(inputs, network["head_channels"], network["head_depth"])
        self.ctrl_convs, width = tower(inputs, network["head_channels"], network["head_depth"])
        self.shared_convs, shared = tower(inputs, network["keypoint_channels"], network["keypoint_depth"])
        self.shared_convs.append(Unit(shared, model["kp_net"]["feature_channels"]))
        self.conv_cls = convolution(width, 1, bias=True)
        self.controller = convolution(width, num_parameters, network["controller_kernel"], bias=True)
        if network.get("box_head"):
            self.conv_reg = convolution(width, 4, bias=True)
        self.parts = network
        inputs, depth = (shared, 0) if network["shared_trunk"] else (inputs, 2)
        if network["disk_offset"]:
            self.offset_convs, width = tower(inputs, network["dense_channels"], depth)
            self.hm_offset = convolution(width, 2 * num_keypoints, bias=True)
        if network["heatmap"]:
            self.hm_convs, width = tower(inputs, network["dense_channels"], depth)
            self.hm_pred = convolution(width, num_keypoints, bias=True)

    def forward(self, levels: list[Tensor], base: Tensor) -> Outputs:
        logits = [wide(self.conv_cls(self.cls_convs(x))) for x in levels]
        controller = [self.ctrl_convs(x) for x in levels]
        trunk = self.shared_convs[:-1](base)
        dense, offsets, heatmaps = trunk if self.parts["shared_trunk"] else base, None, None
        if self.parts["disk_offset"]:
            offsets = wide(self.hm_offset(self.offset_convs(dense)))
        if self.parts["heatmap"] and self.training:
            heatmaps = wide(self.hm_pred(self.hm_convs(dense)))
        sides = None
        if self.parts.get("box_head"):
            strides = [2**level for level in self.parts["levels"]]
            pairs = zip(controller, strides, strict=True)
            sides = [stride * wide(self.conv_reg(x)).clamp(max=8).exp() for x, stride in pairs]
        return Outputs(logits, controller, wide(self.shared_convs[-1](trunk)), offsets, heatmaps, sides=sides)


class ReleasedHead(nn.Module):
    """The released model's head: maps of the levels, P3 -> `Outputs`, whose offsets have stride 4.

    Every location predicts its person's joints coarsely; class and controller also see what lies at nine of them.
    """

    def __init__(self, model: dict, num_keypoints: int, num_parameters: int):
        super().__init__()
        network, inputs = model["network"], model["network"]["fpn_channels"]
        depth, names = network["head_depth"], list(model["skeleton"]["keypoint_names"])
        spread = [tap * num_keypoints // len(STAR) for tap in range(len(STAR))]  # for a skeleton that lacks some
        usual = [names.index(name) for name in STAR] if set(STAR) <= set(names) else spread
        self.star_joints: list[int] = list(model["star_joints"]) or usual
        self.cls_convs, width = tower(inputs, network["head_channels"], depth)
        self.ctrl_convs, width = tower(inputs, network["head_channels"], depth)
        self.shared_convs, shared = tower(inputs, network["keypoint_channels"], network["keypoint_depth"])
        self.shared_convs.append(Unit(shared, model["kp_net"]["feature_channels"], groups=2))
        self.kpt_convs, coarse = tower(inputs, network["coarse_channels"], depth)
        self.conv_cls = convolution(2 * width, 1, bias=True)
        self.controller = convolution(2 * width, num_parameters, bias=True)
        self.kpt_offset = convolution(coarse, 2 * num_keypoints, bias=True)
        self.cls_star_conv, self.cls_star_gn = convolution(width, width), GroupNorm(math.gcd(32, width), width)
        self.ctr_star_conv, self.ctr_star_gn = convolution(width, width), GroupNorm(math.gcd(32, width), width)
        self.hm_convs, dense = tower(inputs, network["dense_channels"], 3)
        self.hm_pred = convolution(dense, num_keypoints, bias=True)
        self.ae_pred = convolution(dense, num_keypoints, bias=True)
        self.hm_offset = convolution(dense, 2 * num_keypoints, bias=True)

    def forward(self, levels: list[Tensor], base: Tensor) -> Outputs:
        logits, controller = [], []
        coarse = [wide(self.kpt_offset(self.kpt_convs(x))) for x in levels]
        for x, offsets in zip(levels, coarse, strict=True):
            cls_tower, ctrl_tower = self.cls_convs(x), self.ctrl_convs(x)
            # The offsets' own values, with a tenth of the gradient.
            places = self.star_places(offsets.detach() + 0.1 * (offsets - offsets.detach()))
            cls_star = F.relu(self.cls_star_gn(star_convolution(cls_tower, places, self.cls_star_conv.weight)))
            ctrl_star = F.relu(self.ctr_star_gn(star_convolution(ctrl_tower, places, self.ctr_star_conv.weight)))
            logits.append(wide(self.conv_cls(torch.cat([cls_tower, cls_star], 1))))
            controller.append(torch.cat([ctrl_tower, ctrl_star], 1))
        dense = F.interpolate(self.hm_convs[:2](base), scale_factor=2, mode="bilinear", align_corners=False)
        dense = self.hm_convs[2](dense)
        heatmaps, tags = (wide(layer(dense)) if self.training else None for layer in (self.hm_pred, self.ae_pred))
        features, offsets = wide(self.shared_convs(base)), wide(self.hm_offset(dense))
        return Outputs(logits, controller, features, offsets, heatmaps, coarse, tags)

    def star_places(self, coarse: Tensor) -> Tensor:
        """Where the nine taps of every location read: coarse offsets f[B,2K,h,w] -> cells (x, y) f[B,9,h,w,2]."""
        y, x = (torch.arange(n, dtype=coarse.dtype, device=coarse.device) for n in coarse.shape[2:])
        cells = torch.stack(torch.broadcast_tensors(x, y[:, None]), -1)
        return coarse.unflatten(1, (-1, 2))[:, self.star_joints].permute(0, 1, 3, 4, 2) + cells


def star_convolution(x: Tensor, places: Tensor, kernel: Tensor) -> Tensor:
    """f[B,C,h,w] -> f[B,D,h,w]: a convolution with a 3x3 kernel f[D,C,3,3] whose taps read at `places` f[B,9,h,w,2].

    Places are (x, y) in cells, read bilinearly, with zeros outside of the map: a deformable convolution.
    """
    batch, taps, height, width = places.shape[:4]
    x_and_y = zip(places.unbind(-1), (width, height), strict=True)
    grid = torch.stack([(2 * place + 1) / side - 1 for place, side in x_and_y], -1)  # the map spans [-1, 1]
    read = F.grid_sample(wide(x), grid.reshape(batch, taps * height, width, 2), align_corners=False)
    read = read.reshape(batch, -1, height, width).to(x.dtype)  # channel by channel, the nine taps of each together
    return F.conv2d(read, kernel.flatten(1)[:, :, None, None])


# --- people ---------------------------------------------------------------------------------------------------------


def paper_people(model: InsPose, outputs: Outputs, size: tuple[int, int], scale: Tensor) -> dict[str, Tensor]:
    """The people in one image (Sec. 3.4); `size` is that of the part without padding, `scale` as in `preprocess`."""
    rules, stride = model.config["model"]["decoding"], model.map_stride
    where = every_location(outputs.logits)
    is_inside = (model.places(where)[0] < where.new_tensor([size[1], size[0]])).all(1)
    scores = torch.cat([x[0].flatten() for x in outputs.logits]).sigmoid() * is_inside
    scores, best = (values[: rules["num_candidates"]] for values in scores.sort(descending=True, stable=True))
    number = int((scores > rules["score_threshold"]).sum())
    scores, where = scores[:number], where[best[:number]]

    real = -(-size[0] // stride), -(-size[1] // stride)  # cells in the padding, right and below, take no part
    peaks = [peaks_of(maps) for maps in keypoint_maps(model, outputs, where, real)]
    cells, keypoint_scores = (torch.cat(parts) for parts in zip(*peaks, strict=True))
    offsets = 0.5 if outputs.offsets is None else read_offsets(outputs.offsets[0], cells)
    keypoints = (cells + offsets) * stride  # Eq. 3
    if rules["pose_score"] == "class_times_peak":
        scores = scores * keypoint_scores.mean(1)
    scores, order = scores.sort(descending=True, stable=True)
    if outputs.sides is None:
        extents = rectangles(keypoints)
        extents[:, 2:] = torch.maximum(extents[:, 2:], extents[:, :2] + 1)  # a collapsed pose overlaps itself too
    else:
        sides = torch.cat([x[0].flatten(1) for x in outputs.sides], 1)[:, best[:number]].T
        points = model.places(where)[0]
        extents = torch.cat([points - sides[:, :2], points + sides[:, 2:]], 1)
    kept, scores = suppressed(model.config["model"], keypoints[order], extents[order], scores)
    kept = order[kept]
    keypoints = keypoints[kept] / scale
    boxes = rectangles(keypoints) if outputs.sides is None else extents[kept] / scale.tile(2)
    named = {"keypoints": keypoints, "keypoint_scores": keypoint_scores[kept], "scores": scores}
    return {**named, "boxes": boxes, "locations": where[kept]}


def suppressed(settings: dict, keypoints: Tensor, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Who is left of the people in one image, best first: their indices i64[n], and their scores f32[n].

    `settings` are those of the model in the config.
    """
    rules = settings["decoding"]
    threshold, kind, most = rules["nms_threshold"], rules.get("suppression", "boxes"), rules["num_poses"]
    if kind == "soft":
        return soft_suppress(boxes, scores, threshold, rules["least_score"], most)
    if kind == "oks":
        overlaps = pose_oks(keypoints, settings["skeleton"]["oks_sigmas"])
    else:
        overlaps = overlap(boxes[:, None], boxes)
    kept = suppress(overlaps, threshold).to(scores.device).nonzero()[:most, 0]
    return kept, scores[kept]


def released_people(model: InsPose, outputs: Outputs, size: tuple[int, int], scale: Tensor) -> dict[str, Tensor]:
    """The people in one image as in the released code: soft-NMS of coarse joints, then KP-Nets for who is left."""
    rules, chosen = model.config["model"]["decoding"], []
    assert outputs.coarse is not None
    assert outputs.offsets is not None
    for level, (logits, coarse) in enumerate(zip(outputs.logits, outputs.coarse, strict=True)):
        scores, where = logits[0].flatten().sigmoid(), every_location([logits], level)
        joints = coarse[0].flatten(1).T.unflatten(1, (-1, 2))
        if len(scores) > rules["num_per_level"]:
            best = scores.sort(descending=True, stable=True).indices[: rules["num_per_level"]]
            scores, where, joints = scores[best], where[best], joints[best]
        chosen.append((scores, where, joints))
    scores, where, joints = (torch.cat(parts) for parts in zip(*chosen, strict=True))
    centres, strides = model.places(where)
    joints = joints * strides[:, None] + centres[:, None]
    boxes = rectangles(torch.minimum(joints.clamp(min=0), joints.new_tensor([size[1], size[0]])) / scale)
    is_candidate = scores > rules["score_threshold"]
    boxes, scores, where = boxes[is_candidate], scores[is_candidate], where[is_candidate]
    kept, scores = soft_suppress(boxes, scores, rules["nms_threshold"], rules["least_score"], rules["num_poses"])

    peaks = []
    for maps in keypoint_maps(model, outputs, where[kept]):
        enlarged = F.interpolate(maps, scale_factor=2, mode="bicubic", align_corners=False)
        peaks.append((peaks_of(enlarged)[0], peaks_of(maps)[1]))
    cells, keypoint_scores = (torch.cat(parts) for parts in zip(*peaks, strict=True))
    keypoints = (cells + read_offsets(outputs.offsets[0], cells)) * (model.map_stride / 2) / scale
    named = {"keypoints": keypoints, "keypoint_scores": keypoint_scores, "scores": scores}
    return {**named, "boxes": boxes[kept], "locations": where[kept]}


def every_location(maps: list[Tensor], first: int = 0) -> Tensor:
    """Index of the level, row and column i64[L,3] of every cell of the levels' maps f[..,h,w]."""
    cells = [torch.ones(x.shape[-2:], dtype=torch.bool, device=x.device).nonzero() for x in maps]
    return torch.cat([F.pad(one, (1, 0), value=level) for level, one in enumerate(cells, first)])


def theta_at(features: list[Tensor], layer: Any, where: Tensor) -> Tensor:
    """Theta f[N,P] of locations i64[N,3] in the first image: the controller's last layer, applied only there."""
    steps = torch.arange(layer.kernel_size[0], device=where.device)
    before, weight = (len(steps) - 1) // 2, wide(layer.weight)  # as in JAX, even kernels reach further ahead
    theta = weight.new_zeros(len(where), len(weight))
    for level, x in enumerate(features):
        here = (where[:, 0] == level).nonzero()[:, 0]
        x = F.pad(wide(x[0]), (before, len(steps) - 1 - before) * 2)
        rows, columns = where[here, 1, None, None] + steps[:, None], where[here, 2, None, None] + steps
        theta[here] = torch.einsum("cnij,pcij->np", x[:, rows, columns], weight)
    return theta + wide(layer.bias)


def keypoint_maps(model: InsPose, outputs: Outputs, where: Tensor, size: Any = None) -> Iterator[Tensor]:
    """Logits f[n,K,h,w] of the people from locations i64[N,3], a few at a time; `size` crops to (height, width)."""
    height, width = size or outputs.features.shape[2:]
    features, stride = outputs.features[0, :, :height, :width].flatten(1), model.map_stride
    centres, strides = model.places(where)
    scales = strides * (model.config["model"]["kp_net"]["relative_scale"] / 8)
    cells = [(torch.arange(n, dtype=features.dtype, device=where.device) + 0.5) * stride for n in (width, height)]
    x, y = ((cells[i] - centres[:, i, None]) / scales for i in (0, 1))
    theta = theta_at(outputs.controller, model.bbox_head.controller, where)
    for first in range(0, max(len(where), 1), PEOPLE_AT_ONCE):
        few = slice(first, first + PEOPLE_AT_ONCE)
        relative = torch.stack(torch.broadcast_tensors(x[few, None, :], y[few, :, None]), 1).flatten(2)
        (weight, bias), *rest = split_theta(theta[few], model.kp_net_sizes)
        maps = weight[:, :, : len(features)] @ features + weight[:, :, len(features) :] @ relative + bias
        for weight, bias in rest:
            maps = weight @ F.relu(maps) + bias
        yield maps.unflatten(2, (height, width))


def split_theta(theta: Tensor, sizes: list[tuple[int, int]]) -> list[tuple[Tensor, Tensor]]:
    """f[N,P] -> weight f[N,out,in] and bias f[N,out,1] of each 1x1 convolution, which follow each other in theta."""
    parts = theta.split([number for inputs, outputs in sizes for number in (inputs * outputs, outputs)], 1)
    weights = [part.unflatten(1, (outputs, inputs)) for part, (inputs, outputs) in zip(parts[::2], sizes, strict=True)]
    return [(weight, bias[:, :, None]) for weight, bias in zip(weights, parts[1::2], strict=True)]


def peaks_of(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The cell (x, y) i64[N,K,2] of the first maximum of each map f[N,K,h,w], and the map's softmax there f[N,K]."""
    logit, index = maps.flatten(2).max(2)
    cells = torch.stack([index % maps.shape[3], index // maps.shape[3]], -1)
    return cells, (logit - maps.flatten(2).logsumexp(2)).exp()


def at_ratio(maps: Tensor, ratio: float) -> Tensor:
    """Maps f[B,C,h,w] with `ratio` times as many rows and columns: bilinear, or means of squares of cells."""
    if ratio < 1:
        return F.avg_pool2d(maps, round(1 / ratio), ceil_mode=True, count_include_pad=False)
    return maps if ratio == 1 else F.interpolate(maps, scale_factor=ratio, mode="bilinear", align_corners=False)


def read_offsets(offsets: Tensor, cells: Tensor) -> Tensor:
    """The offset (x, y) f[N,K,2] that the map f[2K,h,w] has for each joint at its cell (x, y) i64[N,K,2]."""
    joints = torch.arange(cells.shape[1], device=cells.device)
    return offsets.unflatten(0, (-1, 2))[joints, :, cells[..., 1], cells[..., 0]]


def rectangles(keypoints: Tensor) -> Tensor:
    """The smallest box f[N,4] around each person's joints f[N,K,2]."""
    return torch.cat([keypoints.amin(1), keypoints.amax(1)], 1)


def overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of boxes f[..,4] and others, which are broadcast; NaN where the union is empty."""
    low, high = torch.maximum(boxes[..., :2], others[..., :2]), torch.minimum(boxes[..., 2:], others[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (boxes, others)]
    return shared / (areas[0] + areas[1] - shared)


def pose_oks(keypoints: Tensor, sigmas: Any) -> Tensor:
    """COCO's OKS f[N,N] of every pose j f[N,K,2] with pose i, whose area is that of the rectangle around its joints."""
    sides = (keypoints.amax(1) - keypoints.amin(1)).clamp(min=1)
    squares = (keypoints[:, None] - keypoints).square().sum(-1)
    return (-squares / (2 * sides.prod(1)[:, None, None] * (2 * keypoints.new_tensor(sigmas)) ** 2)).exp().mean(-1)


def suppress(overlaps: Tensor, threshold: float) -> Tensor:
    """Non-maximum suppression by overlaps f[N,N], best first: bool[N], False where a kept one overlaps too much."""
    is_too_much = overlaps.cpu() > threshold  # the steps of the loop are tiny
    is_kept = torch.ones(len(overlaps), dtype=torch.bool)
    for i in range(len(overlaps)):
        if is_kept[i]:
            is_kept[i + 1 :] &= ~is_too_much[i, i + 1 :]
    return is_kept


def soft_suppress(boxes: Tensor, scores: Tensor, threshold: float, least: float, most: int) -> tuple[Tensor, Tensor]:
    """Linear soft-NMS: indices i64[n] of at most `most` boxes f[N,4] as they are picked, and their decayed scores f[n].

    The best box multiplies the scores of those that overlap it by `threshold` or more by 1 - IoU.  Where a score falls
    below `least`, the last box takes the place of that one; the order decides which of equal scores is the first.
    """
    device, boxes, scores = scores.device, boxes.cpu(), scores.cpu().clone()
    left, picked = torch.arange(len(scores)), []
    while len(left) and len(picked) < most:
        best = int(scores[left].argmax())
        left[[0, best]] = left[[best, 0]]
        picked.append(int(left[0]))
        shared = overlap(boxes[left[0]], boxes[left[1:]])
        left = left[1:]
        scores[left] = torch.where(shared >= threshold, scores[left] * (1 - shared), scores[left])
        order, is_low, i = left.tolist(), (scores < least).tolist(), 0
        while i < len(order):
            if is_low[order[i]]:
                order[i] = order[-1]
                order.pop()
            else:
                i += 1
        left = torch.tensor(order, dtype=torch.int64)
    kept = torch.tensor(picked, dtype=torch.int64)
    return kept.to(device), scores[kept].to(device)

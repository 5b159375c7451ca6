"""Everything that an experiment may vary, as frozen dataclasses: Config ⊃ Model ⊃ KPNet, Data ⊃ Scene, Schedule.

A recipe (`configs/*.py`) is a function that returns a `Config`; the command line overrides single fields with
`--config.model.backbone resnet18`.  The defaults are the paper's model and its 36-epoch recipe; each value that the
paper leaves open says so and gives its reason.
"""

import dataclasses
import json
import operator
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from inspose_jax.errors import UserError


class OtherFields(UserError):
    """A stored config that has other fields than this version's: it was written by another one."""


@dataclass(frozen=True)
class KPNet:
    """The tiny network of every person (Sec. 3.2, Table 2)."""

    feature_channels: int = 8
    """Channels of F_kp, the features shared by all people."""
    width: int = 8
    """Channels of the hidden layers."""
    depth: int = 3
    """Number of 1x1 convolutions."""
    relative_scale: float = 64.0
    """Relative coordinates of a location on level l are divided by this times 2^(l - 3); the released model's 64."""


@dataclass(frozen=True)
class Model:
    """The network, whom its locations answer for, and how its outputs become poses."""

    skeleton: Literal["coco"] = "coco"
    """The joints (`skeletons.py`)."""
    backbone: Literal["resnet18", "resnet50", "resnet101"] = "resnet50"
    """The residual network that sees the picture."""
    backbone_widths: tuple[int, ...] = (64, 128, 256, 512)
    """Channels of the four stages (times 4 at the end of a bottleneck); the stem has the first number."""
    batch_norm: Literal["frozen", "trained"] = "frozen"
    """Frozen needs pretrained weights (`--init`); trained uses the statistics of the global batch."""
    frozen_stages: int = 1
    """0: all trains; 1: the stem and the first stage stay as they are, as in FCOS; up to 4."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Of convolutions and the maps between them.  Parameters, statistics of norms, KP-Nets, softmax and losses stay
    float32."""
    levels: tuple[int, ...] = (3, 4, 5, 6, 7)
    """Pyramid levels whose locations answer for people; level l has stride 2^l.  Small pictures need fewer."""
    level_limits: tuple[float, ...] = (64.0, 128.0, 256.0, 512.0)
    """Pixels: a person whose farthest box side is beyond limit i belongs to a level above levels[i] (FCOS)."""
    map_level: int = 3
    """The level of keypoint maps, disk offsets and heatmaps: 3 is the paper's stride 8, 2 is stride 4 (from C2)."""
    fpn_channels: int = 256
    """Channels of every pyramid level."""
    head_channels: int = 256
    """Channels of the classification and controller towers."""
    head_depth: int = 4
    """3x3 convolutions in each tower (FCOS)."""
    controller_kernel: int = 3
    """Size of the last convolution of the controller; 1 saves a fifth of a small network's work."""
    keypoint_channels: int = 128
    """Channels of the keypoint feature branch."""
    keypoint_depth: int = 4
    """3x3 convolutions of the keypoint feature branch before its last layer."""
    dense_channels: int = 256
    """Hidden channels of the disk offset and the heatmap branch."""
    shared_trunk: bool = False
    """Disk offsets and heatmaps read the keypoint branch's features instead of towers of their own (small models)."""
    disk_offset: bool = True
    """With the disk offset branch (Table 1)."""
    heatmap: bool = True
    """With the auxiliary heatmap branch in training (Table 1)."""
    kp_net: KPNet = field(default_factory=KPNet)
    centre_radius: float = 1.5
    """Half side of the centre region, in strides (Sec. 3.1)."""
    disk_radius: float = 2.0
    """R of Sec. 3.3 in map cells; the paper gives no number."""
    heatmap_overlap: float = 0.7
    """CornerNet's overlap that sets the radius of the Gaussians."""
    ignore_unlabelled: bool = True
    """Locations inside the box of a crowd or of a person without joints are no negatives."""
    num_people: int = 32
    """People of a picture that can be targets; the smallest beyond it become ignore regions."""
    num_slots: int = 256
    """Positive locations of a picture that are trained; every person keeps its nearest ones."""
    score_threshold: float = 0.1
    """Locations of lower class score are dropped (Sec. 3.4)."""
    num_candidates: int = 500
    """Locations whose pose is computed (Sec. 3.4)."""
    nms_threshold: float = 0.6
    """Poses whose rectangles overlap a better one by more (IoU) are dropped; the paper gives no number."""
    num_poses: int = 100
    """Poses kept of a picture (Sec. 3.4)."""
    pose_score: Literal["class", "class_times_peak"] = "class"
    """Poses are ranked by their class score, or by that times the mean softmax peak of their maps."""


@dataclass(frozen=True)
class Scene:
    """How difficult drawn pictures are."""

    size: int = 128
    """Pixels of the square picture."""
    num_people: tuple[int, int] = (0, 4)
    """Fewest and most people, uniform."""
    height: tuple[float, float] = (0.4, 1.0)
    """Extent of the posed body as a fraction of the picture before the frame cuts it, log-uniform."""
    clutter: float = 1.0
    """Amount of things in the background and in front."""


@dataclass(frozen=True)
class Data:
    """Where pictures come from and how they become batches."""

    source: Literal["coco", "drawn"] = "coco"
    """A COCO folder with its JSON, or people drawn on the fly."""
    scene: Scene = field(default_factory=Scene)
    num_drawn: int = 10_000
    """Drawn pictures in an epoch."""
    short_side: tuple[int, int] = (640, 800)
    """Shorter side in training, drawn uniformly, in pixels (Sec. 4)."""
    long_side: int = 1333
    """The longer side never exceeds it, in pixels."""
    test_short_side: int = 800
    """Shorter side in evaluation and prediction, in pixels."""
    shapes: tuple[tuple[int, int], ...] = ((800, 1344), (1344, 800))
    """The fixed (height, width) that pictures are padded to, multiples of 32; the smallest that holds it is taken."""
    flip: float = 0.5
    """Probability of a mirrored picture in training."""
    only_labelled: bool = True
    """Train on pictures with at least one labelled joint (the paper's 57 k)."""
    joint_pixel_offset: float = 0.5
    """Added to COCO's joints, which are indices of pixels; the released model adds 0."""
    num_ignore: int = 32
    """Ignore regions of a picture that a batch can hold; the largest stay."""
    num_threads: int = 2
    """Threads that read and resize."""


@dataclass(frozen=True)
class Schedule:
    """How the network is trained (Sec. 4)."""

    batch_size: int = 16
    """Pictures of a step, over all devices."""
    accumulate: int = 1
    """Work a batch off in so many parts, one after another: for batches that do not fit.  The same step to rounding,
    but for trained batch norm: its statistics are those of a part, and its running average moves once a part."""
    epochs: int = 36
    """Length of the run; `--steps` replaces it."""
    optimizer: Literal["sgd", "adamw", "muon"] = "sgd"
    """The paper's SGD with momentum; AdamW or Muon for small runs from random weights."""
    learning_rate: float = 0.01
    """Peak rate, for `batch_size` pictures."""
    momentum: float = 0.9
    """Of SGD; Adam's decay of the first moment, also beside Muon, whose own momentum is 0.95."""
    weight_decay: float = 1e-4
    """On everything that trains."""
    decay: Literal["step", "cosine"] = "step"
    """Divide by 10 at `drop_at`, or follow half a cosine to 0."""
    drop_at: tuple[float, ...] = (27 / 36, 33 / 36)
    """Fractions of the run, so that a short run has its drops too."""
    warmup_steps: int = 1000
    """Linear from a third of the rate; at most a tenth of the run."""
    clip_norm: float = 35.0
    """Global norm of the gradient."""
    weight_cls: float = 1.0
    """Of the person-or-not term of Eq. 5; the paper's plain sum gives all four terms 1."""
    weight_keypoint: float = 1.0
    """Of the keypoint maps' term (Eq. 4)."""
    weight_offset: float = 1.0
    """Of the disk offsets' term."""
    weight_heatmap: float = 1.0
    """Of the heatmaps' term."""
    ema: float = 0.0
    """Decay of the running average of the parameters that is evaluated and saved beside them; 0 is without."""
    save_every: int = 1000
    """Steps between checkpoints; one more is saved after step 50, and one at the end."""
    seed: int = 0
    """Of initialisation and data order."""


@dataclass(frozen=True)
class Config:
    """A whole experiment."""

    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    schedule: Schedule = field(default_factory=Schedule)


def check(config: Config) -> None:
    """Raise ValueError with one line for values of a wrong type, and for combinations that cannot work."""
    _build(Config, dataclasses.asdict(config), "config", tuple)
    model, data = config.model, config.data
    if len(model.level_limits) != len(model.levels) - 1:
        raise UserError(
            f"model.level_limits has {len(model.level_limits)} numbers for {len(model.levels)} levels; "
            f"give one fewer than levels"
        )
    if (
        not model.levels
        or list(model.levels) != list(range(model.levels[0], model.levels[0] + len(model.levels)))
        or model.levels[0] < model.map_level
        or model.levels[-1] > 12
    ):
        raise UserError(
            f"model.levels {model.levels} must count up by one, start at map_level {model.map_level} or above, and end "
            f"at 12 (stride 4096) or below"
        )
    if len(model.backbone_widths) != 4 or min(model.backbone_widths) < 1:
        raise UserError(f"model.backbone_widths is {model.backbone_widths}; a ResNet has 4 stages of 1 or more")
    for name, values in (("model.level_limits", model.level_limits), ("schedule.drop_at", config.schedule.drop_at)):
        if list(values) != sorted(values) or min(values, default=0) < 0:
            raise UserError(f"{name} is {values}; it must rise, from 0 or above")
    bad = [shape for shape in data.shapes if shape[0] % 32 or shape[1] % 32 or min(shape) < 32 or max(shape) > 32_768]
    if bad or not data.shapes:
        raise UserError(f"data.shapes {bad or data.shapes}: each side must be a multiple of 32, from 32 to 32768")
    for name, (low, high), least in (
        ("data.short_side", data.short_side, "above"),
        ("data.scene.height", data.scene.height, "above"),
        ("data.scene.num_people", data.scene.num_people, "not below"),
    ):
        if not 0 <= low <= high or (low == 0 and least == "above"):
            raise UserError(f"{name} is {low}, {high}; it must be its low and its high end, {least} 0")
    for names, holds, what in RANGES:
        for name in names.split():
            value = operator.attrgetter(name)(config)
            if not holds(value):
                raise UserError(f"{name} is {value}; it must {what}")


# Every single number of a config stands in one of these.
RANGES: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    (
        """model.fpn_channels model.head_channels model.keypoint_channels model.dense_channels model.controller_kernel
        model.kp_net.feature_channels model.kp_net.width model.kp_net.depth model.kp_net.relative_scale
        model.disk_radius model.num_slots model.num_candidates model.num_poses
        data.num_drawn data.num_threads data.long_side data.test_short_side
        schedule.accumulate schedule.epochs schedule.learning_rate schedule.clip_norm
        schedule.save_every""",
        lambda value: value > 0,
        "be above 0",
    ),
    (
        """model.head_depth model.keypoint_depth data.scene.clutter schedule.weight_decay schedule.warmup_steps
        schedule.weight_cls schedule.weight_keypoint schedule.weight_offset schedule.weight_heatmap schedule.seed""",
        lambda value: value >= 0,
        "not be below 0",
    ),
    (
        """model.score_threshold model.nms_threshold model.heatmap_overlap data.flip data.joint_pixel_offset
        schedule.momentum schedule.ema""",
        lambda value: 0 <= value <= 1,
        "lie between 0 and 1",
    ),
    # What decides the size of an array on the host: beyond these, numpy refuses even to ask for the memory.
    ("model.num_people data.num_ignore", lambda value: 0 < value <= 10_000, "be 1 to 10,000"),
    ("schedule.batch_size", lambda value: 0 < value <= 1_000_000, "be 1 to 1,000,000"),
    ("model.centre_radius", lambda value: 0 < value <= 100, "be above 0 and at most 100 strides"),
    ("model.frozen_stages", lambda value: 0 <= value <= 4, "count from 0 (all trains) to 4"),
    ("model.map_level", lambda value: value in (2, 3), "be 3 (stride 8) or 2 (stride 4)"),
    ("data.scene.size", lambda value: 32 <= value <= 4096, "be 32 to 4096 pixels"),
)


def to_json(config: Config) -> str:
    """The config as JSON text, every field written out."""
    return json.dumps(dataclasses.asdict(config), indent=2)


def from_json(text: str) -> Config:
    """The config of a JSON text.

    Raises `OtherFields` with all that are missing or unknown, UserError with a value that cannot be.
    """
    stored = json.loads(text)
    if other := other_fields(Config, stored, "config"):
        raise OtherFields("; ".join(other))
    config = _build(Config, stored, "config", list)
    check(config)
    return config


def other_fields(kind: Any, value: Any, where: str) -> list[str]:
    """`config.model: missing fields ['a']` for every dataclass in a stored one that has other fields than today's."""
    if not dataclasses.is_dataclass(kind) or not isinstance(value, dict):
        return []
    hints = typing.get_type_hints(kind)
    sides = (("missing", hints.keys() - value.keys()), ("unknown", value.keys() - hints.keys()))
    found = [f"{where}: {fault} fields {sorted(names)}" for fault, names in sides if names]
    for name in hints.keys() & value.keys():
        found += other_fields(hints[name], value[name], f"{where}.{name}")
    return sorted(found)


def _build(kind: Any, value: Any, where: str, sequence: type) -> Any:
    """`value` as `kind`, with dicts for dataclasses and, in JSON, a list as the `sequence` for tuples.

    ValueError for whatever is not of its type.
    """
    inner = typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        parts = {name: _build(hints[name], value[name], f"{where}.{name}", sequence) for name in hints}
        return typing.cast(Any, kind)(**parts)
    if typing.get_origin(kind) is tuple and isinstance(value, sequence):
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        if len(value) == len(kinds):
            return tuple(_build(kind, item, where, sequence) for kind, item in zip(kinds, value, strict=True))
    if typing.get_origin(kind) is Literal and value in inner:
        return value
    if kind is float and type(value) in (int, float) and abs(value) < 1e38:  # which an f32 holds
        return value
    if kind is int and type(value) is int and abs(value) < 2**31:
        return value
    if kind in (bool, str) and type(value) is kind:
        return value
    if typing.get_origin(kind) is Literal:
        wanted = f"one of {', '.join(map(str, inner))}"
    else:
        wanted = KINDS.get(kind) or (f"a {kind.__name__}" if isinstance(kind, type) else f"a {kind}")
    raise UserError(f"{where} is {value!r:.40}; it must be {wanted}")


# How a message calls a type.
KINDS = {int: "a whole number below 2^31", float: "a finite number", bool: "True or False", str: "text"}

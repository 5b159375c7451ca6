"""All the settings of an experiment, as frozen dataclasses, one for each part.

    Config > Model      > Network, KPNet, Assignment, Weights, Decoding     what is computed
           > Data       > Scene, Augmentation, Passes                      where images come from
           > Schedule                                                      how the network is trained
           > Machine                                                       what does not affect the results

A recipe (`configs/*.py`) is a function that returns a `Config`; the command line overrides single fields with
`--config.model.backbone resnet18`.  The defaults are the paper's model and its 36-epoch recipe; each value that the
paper leaves unspecified says so and gives its reason.  Each field states its type, default, range and meaning.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from inspose_jax import skeletons
from inspose_jax.skeletons import Skeleton

Value = TypeVar("Value")
Kind = TypeVar("Kind")


class Range(NamedTuple):
    """The values that a field may have."""

    holds: Callable[[Any], bool]
    words: str  # completes an error message: "it must .."


ANY = Range(lambda value: True, "be anything")  # any value of the field's type
ABOVE_0 = Range(lambda value: value > 0, "be above 0")
NOT_BELOW_0 = Range(lambda value: value >= 0, "not be below 0")
VALID_SKELETON = Range(
    lambda skeleton: skeleton == skeletons.FROM_DATA or not skeletons.fault(skeleton),
    "have joints of different names, one sigma per joint, and pairs of joints",
)
FRACTION = Range(lambda value: 0 <= value <= 1, "lie between 0 and 1")
# Limits for the fields that set the sizes of arrays on the host: beyond them numpy refuses even to request the memory.
PEOPLE = Range(lambda value: 0 < value <= 10_000, "be 1 to 10,000")
BATCH = Range(lambda value: 0 < value <= 1_000_000, "be 1 to 1,000,000")
RISING = Range(
    lambda values: list(values) == sorted(set(values)) and min(values, default=0) >= 0,
    "increase, starting at 0 or above",
)
RISING_FRACTIONS = Range(
    lambda values: list(values) == sorted(set(values)) and all(0 < value < 1 for value in values),
    "increase, between 0 and 1",
)
STAGES = Range(
    lambda values: not values or (len(values) == 4 and min(values) >= 1), "be 4 numbers of at least 1, one per stage"
)
ENDS_ABOVE_0 = Range(lambda ends: 0 < ends[0] <= ends[1], "be a low and a high end, above 0")
ENDS = Range(lambda ends: 0 <= ends[0] <= ends[1], "be a low and a high end, not below 0")
SCALES = Range(
    lambda sides: all(side > 0 for side in sides) and len(set(sides)) == len(sides),
    "be numbers of pixels above 0, none of them twice",
)
SHAPES = Range(
    lambda shapes: all(side % 32 == 0 and 32 <= side <= 32_768 for shape in shapes for side in shape),
    "hold shapes whose sides are multiples of 32, from 32 to 32768",
)


def setting(default: Value, allowed: Range, meaning: str, *, test_time: bool = False) -> Value:
    """A field of a config; with `test_time` it affects what a trained model finds, but not its training."""
    return field(default=default, metadata={"allowed": allowed, "meaning": meaning, "test_time": test_time})


def part(kind: type[Value], *, is_flat: bool = False, test_time: bool = False) -> Value:
    """A field that holds a dataclass; on the command line, a flat part's fields appear as if they were its owner's."""
    return field(default_factory=kind, metadata={"is_flat": is_flat, "test_time": test_time})


@dataclass(frozen=True)
class Network:
    """Figure 3: the backbone, the feature pyramid, and the heads and branches that read it."""

    backbone: Literal["resnet18", "resnet50", "resnet101", "hrnet_w32", "hrnet_w48"] = setting(
        "resnet50", ANY, "The network that reads the image."
    )
    backbone_widths: tuple[int, ...] = setting(
        (),
        STAGES,
        "Channels of the four stages (times 4 at the end of a bottleneck; the stem has as many as the first), or of "
        "an HRNet's four branches; empty for those of the published network.",
    )
    batch_norm: Literal["frozen", "trained"] = setting(
        "frozen", ANY, "Frozen needs pretrained weights (`--init`); trained uses the statistics of the global batch."
    )
    frozen_stages: int = setting(
        1,
        Range(lambda value: 0 <= value <= 4, "be from 0 (all stages train) to 4"),
        "0: all stages train; 1: the stem and the first stage are frozen, as in FCOS; up to 4.",
    )
    compute_dtype: Literal["float32", "bfloat16"] = setting(
        "float32",
        ANY,
        "Data type of convolutions and of the maps between them.  Parameters, statistics of norms, KP-Nets, softmax "
        "and losses stay "
        "float32.",
    )
    levels: tuple[int, ...] = setting(
        (3, 4, 5, 6, 7),
        Range(
            lambda levels: levels and list(levels) == [*range(levels[0], levels[0] + len(levels))] and levels[-1] < 13,
            "be consecutive, and end at 12 (stride 4096) or below",
        ),
        "Pyramid levels whose locations predict people; level l has stride 2^l.  Small images need fewer.",
    )
    map_level: int = setting(
        3,
        Range(lambda value: value in (2, 3), "be 3 (stride 8) or 2 (stride 4)"),
        "The level of keypoint maps, disk offsets and heatmaps: 3 is the paper's stride 8, 2 is stride 4 (from C2).",
    )
    map_ratio: float = setting(
        1.0,
        Range(lambda value: value in (0.5, 1.0, 2.0, 4.0), "be 0.5, 1, 2 or 4"),
        "Sides of those maps beside the level's: 0.5 averages its cells, 2 and 4 enlarge it bilinearly (Table 3's "
        "1/16, 1/4 and 1/2 of the image).",
    )
    fpn_channels: int = setting(256, ABOVE_0, "Channels of every pyramid level.")
    head_channels: int = setting(256, ABOVE_0, "Channels of the classification and controller towers.")
    head_depth: int = setting(4, NOT_BELOW_0, "3x3 convolutions in each tower (FCOS).")
    controller_kernel: int = setting(
        3,
        ABOVE_0,
        "Kernel size of the controller's last convolution; 1 saves a fifth of a small network's computation.",
    )
    keypoint_channels: int = setting(128, ABOVE_0, "Channels of the keypoint feature branch.")
    keypoint_depth: int = setting(
        4, NOT_BELOW_0, "3x3 convolutions of the keypoint feature branch before its last layer."
    )
    dense_channels: int = setting(256, ABOVE_0, "Hidden channels of the disk offset and the heatmap branch.")
    shared_trunk: bool = setting(
        False,
        ANY,
        "Disk offsets and heatmaps read the keypoint branch's features instead of towers of their own (small models).",
    )
    disk_offset: bool = setting(True, ANY, "Whether there is a disk offset branch (Table 1).")
    heatmap: bool = setting(True, ANY, "Whether training uses the auxiliary heatmap branch (Table 1).")
    box_head: bool = setting(
        False, ANY, "Whether the controller's tower also predicts a box for each location (Table 4), used for NMS."
    )


@dataclass(frozen=True)
class KPNet:
    """The tiny network of every person (Sec. 3.2, Table 2)."""

    feature_channels: int = setting(8, ABOVE_0, "Channels of F_kp, the features shared by all people.")
    width: int = setting(8, ABOVE_0, "Channels of the hidden layers.")
    depth: int = setting(3, ABOVE_0, "Number of 1x1 convolutions.")
    relative_scale: float = setting(
        64.0,
        ABOVE_0,
        "Relative coordinates of a location on level l are divided by this times 2^(l - 3); the released model's 64.",
    )


@dataclass(frozen=True)
class Assignment:
    """Which locations are assigned to which person, and what class scores and the dense branches learn (Sec. 3)."""

    level_limits: tuple[float, ...] = setting(
        (64.0, 128.0, 256.0, 512.0),
        RISING,
        "Pixels: a location farther than limit i from a side of its person's box is on a level above levels[i] (FCOS).",
    )
    assigned_boxes: Literal["pseudo", "annotated"] = setting(
        "pseudo",
        ANY,
        "The boxes by which locations are assigned: around the labelled joints (Sec. 3.1), or those of the file, as "
        "detectors do.",
    )
    centre_radius: float = setting(
        1.5,
        Range(lambda value: 0 < value <= 100, "be above 0 and at most 100 strides"),
        "Half side of the centre region, in strides (Sec. 3.1).",
    )
    classification_loss: Literal["focal", "varifocal"] = setting(
        "focal",
        ANY,
        "Class scores learn that somebody is there (Sec. 3.4), or with varifocal how good the pose is: its OKS with "
        "the person.",
    )
    # Measured in experiments/decided/disk_radius.
    disk_radius: float = setting(1.0, ABOVE_0, "R of Sec. 3.3 in map cells; the paper gives no number.")
    heatmap_overlap: float = setting(0.7, FRACTION, "CornerNet's overlap that sets the radius of the Gaussians.")
    num_slots: int = setting(
        256, ABOVE_0, "Positive locations per image that are trained, at most; people take turns, the nearest first."
    )


@dataclass(frozen=True)
class Weights:
    """Weights of the loss's terms, Eq. 5 and a box head's; all are 1 in the paper, which adds them up."""

    cls: float = setting(1.0, NOT_BELOW_0, "Weight of the classification term.")
    keypoint: float = setting(1.0, NOT_BELOW_0, "Weight of the keypoint maps' term (Eq. 4).")
    offset: float = setting(1.0, NOT_BELOW_0, "Weight of the disk offsets' term.")
    heatmap: float = setting(1.0, NOT_BELOW_0, "Weight of the heatmaps' term.")
    box: float = setting(1.0, NOT_BELOW_0, "Weight of the box head's term (GIoU).")


@dataclass(frozen=True)
class Decoding:
    """How outputs become poses (Sec. 3.4)."""

    score_threshold: float = setting(0.1, FRACTION, "Locations whose class score is not above it are dropped.")
    num_candidates: int = setting(500, ABOVE_0, "Maximum number of locations per image whose pose is computed.")
    suppression: Literal["boxes", "oks", "soft"] = setting(
        "boxes",
        ANY,
        "Non-maximum suppression by the IoU of rectangles (Sec. 3.4); by OKS, with the area of the better pose's "
        "rectangle; or soft: the rectangles' IoU lowers the scores of worse poses instead (linear soft-NMS).",
    )
    nms_threshold: float = setting(
        0.6,
        FRACTION,
        "Poses that overlap a better one by more than this IoU, or OKS, are dropped; in soft-NMS scores decay from "
        "this IoU on.  The paper gives no number.",
    )
    least_score: float = setting(0.001, FRACTION, "Soft-NMS drops a pose whose score has decayed below.")
    num_poses: int = setting(100, ABOVE_0, "Maximum number of poses per image.")
    pose_score: Literal["class", "class_times_peak"] = setting(
        "class", ANY, "Poses are ranked by their class score, or by that times the mean softmax peak of their maps."
    )


@dataclass(frozen=True)
class Model:
    """InsPose as in the paper.  The config of every method has `skeleton`, `num_people` and `ignore_unlabelled`."""

    skeleton: Skeleton = setting(
        skeletons.COCO, VALID_SKELETON, "The joints: the name of a preset, a JSON file, or `data` for the data's own."
    )
    num_people: int = setting(
        32, PEOPLE, "Maximum number of people per image that are targets; of more, the smallest become ignore regions."
    )
    ignore_unlabelled: bool = setting(
        True, ANY, "Locations inside the box of a crowd or of a person without joints are not negatives."
    )
    network: Network = part(Network, is_flat=True)
    kp_net: KPNet = part(KPNet)
    assignment: Assignment = part(Assignment, is_flat=True)
    weights: Weights = part(Weights)
    decoding: Decoding = part(Decoding, is_flat=True, test_time=True)


@dataclass(frozen=True)
class Scene:
    """How difficult drawn images are."""

    size: int = setting(
        128, Range(lambda value: 32 <= value <= 4096, "be 32 to 4096 pixels"), "Pixels of the square image."
    )
    num_people: tuple[int, int] = setting((0, 4), ENDS, "Smallest and largest number of people, drawn uniformly.")
    height: tuple[float, float] = setting(
        (0.4, 1.0),
        ENDS_ABOVE_0,
        "Extent of the posed body as a fraction of the image before the frame cuts it, log-uniform.",
    )
    clutter: float = setting(1.0, NOT_BELOW_0, "Amount of clutter in the background and in front.")


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images beyond the paper's, whose recipes use none; several may be combined."""

    rotation: float = setting(
        0.0,
        Range(lambda value: 0 <= value <= 180, "be 0 to 180 degrees"),
        "Images turn about their centre by up to these degrees, either way; their frame stays.",
    )
    scale: tuple[float, float] = setting(
        (1.0, 1.0),
        ENDS_ABOVE_0,
        "Images grow or shrink about their centre by a factor between these, drawn log-uniformly; their frame stays.",
    )
    translation: float = setting(
        0.0, FRACTION, "Images are shifted by up to this fraction of their width and of their height, either way."
    )
    large_scale_jitter: tuple[float, float] = setting(
        (1.0, 1.0),
        ENDS_ABOVE_0,
        "After `short_side`, images are resized by one more factor between these, drawn uniformly; what becomes larger "
        "than before is cropped to its former size, at a random place.",
    )
    brightness: float = setting(0.0, FRACTION, "Up to this fraction of white is added or taken away.")
    contrast: float = setting(
        0.0, FRACTION, "Differences from grey are multiplied by a factor of 1 plus or minus up to this."
    )
    saturation: float = setting(
        0.0,
        FRACTION,
        "Differences from a pixel's luminance are multiplied by a factor that differs from 1 by up to this.",
    )
    hue: float = setting(
        0.0,
        Range(lambda value: 0 <= value <= 180, "be 0 to 180 degrees"),
        "Colours turn about the axis of greys by up to these degrees, either way.",
    )


@dataclass(frozen=True)
class Passes:
    """How often a test image is looked at, and how the people of all passes become one list (Table 5)."""

    test_scales: tuple[int, ...] = setting(
        (),
        SCALES,
        "Shorter sides, in pixels, at each of which a test image is looked at (multi-scale testing); empty: only at "
        "`test_short_side`.  `long_side` grows or shrinks along.",
    )
    test_flip: bool = setting(False, ANY, "Whether a test image is looked at mirrored, too.")
    test_merge: Literal["boxes", "oks", "maps"] = setting(
        "maps",
        ANY,
        "People of several passes become one list by non-maximum suppression, by the IoU of boxes or by OKS.  `maps` "
        "is OKS, and keypoint maps and scores of an image and its mirror image are averaged, so that a person who is "
        "found in one of them alone has half the score; the paper's model only.",
    )
    test_merge_threshold: float = setting(
        0.6, FRACTION, "IoU, or OKS, above which people of two passes are the same person."
    )


@dataclass(frozen=True)
class Data:
    """Where images come from and how they become batches."""

    source: Literal["coco", "drawn"] = setting("coco", ANY, "A COCO folder with its JSON, or people drawn on the fly.")
    scene: Scene = part(Scene)
    num_drawn: int = setting(10_000, ABOVE_0, "Drawn images per epoch.")
    short_side: tuple[int, int] = setting(
        (640, 800), ENDS_ABOVE_0, "Shorter side in training, drawn uniformly, in pixels (Sec. 4)."
    )
    short_side_step: int = setting(
        1, ABOVE_0, "Distance of the shorter sides that are drawn; 32 is the released model's: 640, 672, .. 800."
    )
    long_side: int = setting(1333, ABOVE_0, "The longer side never exceeds this, in pixels.")
    test_short_side: int = setting(
        800, ABOVE_0, "Shorter side in evaluation and prediction, in pixels.", test_time=True
    )
    shapes: tuple[tuple[int, int], ...] = setting(
        ((800, 1344), (1344, 800)),
        SHAPES,
        "The fixed (height, width) that images are padded to, multiples of 32; the smallest one that fits is used.  "
        "Empty: a run finds five from the sizes of its images when it starts, and keeps them; evaluation and "
        "prediction find five for theirs.",
    )
    flip: float = setting(0.5, FRACTION, "Probability that a training image is mirrored.")
    augmentation: Augmentation = part(Augmentation, is_flat=True)
    train_images: Literal["labelled", "people", "all"] = setting(
        "labelled",
        ANY,
        "Train on images with at least one labelled joint (the paper's 57 k), on those with anybody annotated (the "
        "released model's), or on all.",
    )
    test_padding: Literal["shapes", "own"] = setting(
        "shapes",
        ANY,
        "In evaluation and prediction pad images to `shapes`, or each just to its own size in multiples of 32, as the "
        "released model does; each new size compiles anew.",
        test_time=True,
    )
    passes: Passes = part(Passes, is_flat=True, test_time=True)
    joint_pixel_offset: float = setting(
        0.5, FRACTION, "Added to COCO's joints, which are indices of pixels; the released model adds 0."
    )
    num_ignore: int = setting(32, PEOPLE, "Maximum number of ignore regions per image; of more, the largest are kept.")


@dataclass(frozen=True)
class Schedule:
    """How the network is trained (Sec. 4)."""

    batch_size: int = setting(16, BATCH, "Images per step, over all devices.")
    accumulate: int = setting(
        1,
        ABOVE_0,
        "Parts in which a batch is processed one after another, if it does not fit into memory.  The step is the "
        "same to rounding, except for trained batch norm: its statistics are those of a part, and its running "
        "average is updated once per part.",
    )
    epochs: int = setting(36, ABOVE_0, "Length of the run; `--steps` overrides it.")
    optimizer: Literal["sgd", "adamw", "muon"] = setting(
        "sgd", ANY, "The paper's SGD with momentum; AdamW or Muon for small runs from random weights."
    )
    learning_rate: float = setting(0.01, ABOVE_0, "Peak learning rate, for `batch_size` images.")
    momentum: float = setting(
        0.9,
        FRACTION,
        "Momentum of SGD; Adam's decay of the first moment, also beside Muon, whose own momentum is 0.95.",
    )
    weight_decay: float = setting(1e-4, NOT_BELOW_0, "Weight decay of everything that trains.")
    decay: Literal["step", "cosine"] = setting(
        "step", ANY, "Divide the rate by 10 at `drop_at`, or let it follow half a cosine to 0."
    )
    drop_at: tuple[float, ...] = setting(
        (27 / 36, 33 / 36), RISING_FRACTIONS, "Fractions of the run, so that a short run has its drops too."
    )
    warmup_steps: int = setting(1000, NOT_BELOW_0, "Steps of linear warm-up; at most a tenth of the run.")
    warmup_from: float = setting(1 / 3, FRACTION, "Fraction of the rate with which the warm-up starts.")
    clip_norm: float = setting(35.0, ABOVE_0, "Largest global norm of the gradient; a larger gradient is scaled down.")
    ema: float = setting(
        0.0,
        FRACTION,
        "Decay of the running average of the parameters that is evaluated and saved beside them; 0 for no average.",
    )
    seed: int = setting(0, NOT_BELOW_0, "Seed of initialisation and data order.")


@dataclass(frozen=True)
class Machine:
    """Settings for the machine; a run may resume with other values, since they do not affect its results."""

    num_threads: int = setting(2, ABOVE_0, "Threads that read and resize images.")
    save_every: int = setting(
        1000, ABOVE_0, "Steps between checkpoints; one more is saved after step 50, and one at the end."
    )


@dataclass(frozen=True)
class Config(Generic[Kind]):
    """A complete experiment; `model` is the config of its method, by default the paper's."""

    model: Kind = field(default_factory=Model)  # pyright: ignore[reportAssignmentType]
    data: Data = part(Data)
    schedule: Schedule = part(Schedule)
    machine: Machine = part(Machine)


def replace(part: Value, **fields: Any) -> Value:
    """`dataclasses.replace` that also reaches into flat parts: `replace(model, levels=(3, 4), num_slots=16)`."""
    own: Any = part
    given = dict(fields)
    for one in dataclasses.fields(own):
        if one.metadata.get("is_flat"):
            inner = getattr(own, one.name)
            names = {field.name for field in dataclasses.fields(inner)} & given.keys()
            if names:
                given[one.name] = replace(inner, **{name: given.pop(name) for name in names})
    return dataclasses.replace(own, **given)


class Place(NamedTuple):
    """A single field in a config."""

    path: tuple[str, ...]  # of attributes: ("model", "network", "backbone")
    typed: tuple[str, ...]  # its name on the command line: ("model", "backbone")
    field: dataclasses.Field
    value: Any
    test_time: bool  # whether the field, or a part that contains it, is marked `test_time`


def places(
    config: Any, path: tuple[str, ...] = (), typed: tuple[str, ...] = (), test_time: bool = False
) -> Iterator[Place]:
    """Every field of a config, part by part, in order of definition; a skeleton counts as a single field."""
    for one in dataclasses.fields(config):
        value, is_of_test = getattr(config, one.name), test_time or one.metadata.get("test_time", False)
        here = (*path, one.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, Skeleton):
            yield from places(value, here, typed if one.metadata.get("is_flat") else (*typed, one.name), is_of_test)
        else:
            yield Place(here, (*typed, one.name), one, value, is_of_test)

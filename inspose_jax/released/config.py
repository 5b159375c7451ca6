"""The settings of the released model, as frozen dataclasses; `inspose_jax/config.py` explains them and has the rest.

The defaults are those of the released code's only recipe, ResNet-50 on COCO.
"""

from dataclasses import dataclass
from typing import Literal

from inspose_jax import skeletons
from inspose_jax.config import (
    ABOVE_0,
    ANY,
    FRACTION,
    NOT_BELOW_0,
    PEOPLE,
    STAGES,
    VALID_SKELETON,
    KPNet,
    Range,
    part,
    setting,
)
from inspose_jax.errors import UserError
from inspose_jax.skeletons import Skeleton

NUM_TAPS = 9  # of the star-shaped convolution
STAR = (
    "nose", "left_shoulder", "right_shoulder", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_ankle",
    "right_ankle",
)  # fmt: skip
TAPS = Range(
    lambda joints: len(joints) in (0, NUM_TAPS) and min(joints, default=0) >= 0, "be empty or name nine joints by index"
)


@dataclass(frozen=True)
class Network:
    """The backbone, the feature pyramid P3 to P7, and the heads and branches that read it."""

    backbone: Literal["resnet18", "resnet50", "resnet101"] = setting(
        "resnet50", ANY, "The residual network that sees the image."
    )
    backbone_widths: tuple[int, ...] = setting(
        (64, 128, 256, 512),
        STAGES,
        "Channels of the four stages (times 4 at the end of a bottleneck; the stem has as many as the first); empty "
        "for those of the published network.",
    )
    batch_norm: Literal["frozen", "trained"] = setting(
        "trained", ANY, "Trained uses the statistics of the global batch in the stages that are not frozen."
    )
    frozen_stages: int = setting(
        1,
        Range(lambda value: 0 <= value <= 4, "count from 0 (all trains) to 4"),
        "0: all trains; 1: the stem and the first stage stay as they are; up to 4.",
    )
    compute_dtype: Literal["float32", "bfloat16"] = setting(
        "float32",
        ANY,
        "Of convolutions and the maps between them.  Parameters, statistics of norms, joints, KP-Nets and losses stay "
        "float32.",
    )
    fpn_channels: int = setting(256, ABOVE_0, "Channels of every pyramid level.")
    head_channels: int = setting(256, ABOVE_0, "Channels of the classification and controller towers.")
    head_depth: int = setting(4, NOT_BELOW_0, "3x3 convolutions in each tower.")
    coarse_channels: int = setting(512, ABOVE_0, "Channels of the tower that predicts coarse joints.")
    keypoint_channels: int = setting(128, ABOVE_0, "Channels of the keypoint feature branch.")
    keypoint_depth: int = setting(
        4, NOT_BELOW_0, "3x3 convolutions of the keypoint feature branch before its last layer."
    )
    dense_channels: int = setting(512, ABOVE_0, "Channels of the branch of heatmaps, tags and offsets at stride 4.")


@dataclass(frozen=True)
class Assignment:
    """Which locations are assigned to which person, and the windows around joints at stride 4."""

    centre_radius: float = setting(
        1.5,
        Range(lambda value: 0 < value <= 100, "be above 0 and at most 100 strides"),
        "Half side of the centre region, in strides; the person's box cuts it.",
    )
    overlap: float = setting(0.9, FRACTION, "CornerNet's overlap that sets the half-width of the windows.")
    largest_radius: int = setting(3, NOT_BELOW_0, "No window has a larger half-width, in cells.")
    num_slots: int = setting(
        512, ABOVE_0, "Positive locations of an image that are trained; the released code has no limit."
    )


@dataclass(frozen=True)
class Weights:
    """Weights of the seven terms of the loss."""

    cls: float = setting(1.0, NOT_BELOW_0, "Of the person-or-not term.")
    keypoint: float = setting(1.0, NOT_BELOW_0, "Of the keypoint maps' term.")
    coarse: float = setting(1.0, NOT_BELOW_0, "Of the coarse joints' term.")
    heatmap: float = setting(1.0, NOT_BELOW_0, "Of the heatmaps' term.")
    offset: float = setting(1.0, NOT_BELOW_0, "Of the offsets' term.")
    pull: float = setting(1.0, NOT_BELOW_0, "Of the tags' term that pulls those of a person together.")
    push: float = setting(1.0, NOT_BELOW_0, "Of the tags' term that pushes people apart.")


@dataclass(frozen=True)
class Decoding:
    """How outputs become poses."""

    score_threshold: float = setting(0.05, FRACTION, "Locations of this class score or a lower one are dropped.")
    num_per_level: int = setting(1000, ABOVE_0, "Locations of a pyramid level that are looked at, the best ones.")
    nms_threshold: float = setting(
        0.3, FRACTION, "The score of a pose whose coarse box overlaps a better one by at least this IoU decays."
    )
    least_score: float = setting(0.001, FRACTION, "A pose whose score has decayed below is dropped.")
    num_poses: int = setting(100, ABOVE_0, "Poses kept of an image.")


@dataclass(frozen=True)
class Model:
    """InsPose as released."""

    skeleton: Skeleton = setting(
        skeletons.COCO, VALID_SKELETON, "The joints: the name of a preset, a JSON file, or `data` for the data's own."
    )
    num_people: int = setting(
        100, PEOPLE, "People of an image that can be targets; the smallest beyond it become ignore regions."
    )
    ignore_unlabelled: bool = setting(
        False, ANY, "Whether a crowd and a person without joints are no negatives; the released code has them as such."
    )
    keep_unlabelled: bool = setting(
        True, ANY, "People without a labelled joint are targets too, by their annotated box."
    )
    star_joints: tuple[int, ...] = setting(
        (),
        TAPS,
        "The joints, counted from 0, at which the nine taps of the star read.  Empty: nose, shoulders, wrists, hips "
        "and ankles where the skeleton names them (0 5 6 9 10 11 12 15 16 of COCO), else spread over all joints.",
    )
    strict_parity: bool = setting(
        True, ANY, "Keep the slips of the released code (`released/targets.py`, `released/losses.py`) in training."
    )
    network: Network = part(Network, is_flat=True)
    kp_net: KPNet = part(KPNet)
    assignment: Assignment = part(Assignment, is_flat=True)
    weights: Weights = part(Weights)
    decoding: Decoding = part(Decoding, is_flat=True, test_time=True)


def star_joints(model: Model) -> tuple[int, ...]:
    """The joint of each tap of the star; raises UserError if the field names one that the skeleton lacks."""
    names = model.skeleton.keypoint_names
    if not model.star_joints:
        if set(STAR) <= set(names):
            return tuple(names.index(name) for name in STAR)
        return tuple(tap * len(names) // NUM_TAPS for tap in range(NUM_TAPS))
    if max(model.star_joints) >= len(names):
        raise UserError(
            f"model.star_joints is {model.star_joints}; the skeleton {model.skeleton.name} has the joints 0 to "
            f"{len(names) - 1}"
        )
    return model.star_joints

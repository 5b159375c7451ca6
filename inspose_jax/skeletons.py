"""Skeletons as data: the names of the joints, the limbs between them, their left-right pairs and OKS sigmas."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from inspose_jax import paths
from inspose_jax.errors import NotFound, UserError


@dataclass(frozen=True)
class Skeleton:
    """A dataset's definition of the body's joints.

    `oks_sigmas` are the per-joint constants of OKS as COCO defines them, as fractions of the square root of the
    person's area.  `limbs` are pairs of joint indices, for drawing.  `flip_pairs` are the pairs of joints that change
    places in a mirrored image.
    """

    name: str
    keypoint_names: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    flip_pairs: tuple[tuple[int, int], ...]
    oks_sigmas: tuple[float, ...]

    @property
    def num_keypoints(self) -> int:
        """K, the number of joints."""
        return len(self.keypoint_names)

    @cached_property
    def flip_order(self) -> tuple[int, ...]:
        """For each joint, the index of the joint that takes its place in a mirrored image."""
        order = list(range(self.num_keypoints))
        for left, right in self.flip_pairs:
            order[left], order[right] = right, left
        return tuple(order)

    def names_of(self, chosen: Iterable[Any]) -> str:
        """The names of the joints that are true in `chosen`, one value a joint or none at all, as text."""
        return ", ".join(name for name, is_chosen in zip(self.keypoint_names, chosen, strict=False) if is_chosen)

    def subset(self, *names: str) -> "Skeleton":
        """The skeleton of the named joints, in that order, with the limbs and pairs among them.

        Raises UserError if a name is not a joint of this skeleton.
        """
        if unknown := [name for name in names if name not in self.keypoint_names]:
            raise UserError(
                f"{', '.join(unknown)}: not a joint of {self.name}, which has {', '.join(self.keypoint_names)}"
            )
        place = {self.keypoint_names.index(name): number for number, name in enumerate(names)}

        def among(pairs: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
            return tuple((place[a], place[b]) for a, b in pairs if a in place and b in place)

        sigmas = tuple(self.oks_sigmas[joint] for joint in place)
        return Skeleton(f"{self.name}_{len(names)}", names, among(self.limbs), among(self.flip_pairs), sigmas)


def preset_with(keypoint_names: Iterable[str]) -> Skeleton | None:
    """The preset whose joints have these names, in any order and spelling, or None."""
    names = tuple(keypoint_names)
    return next((preset for preset in PRESETS.values() if is_named_as(names, preset)), None)


def is_named_as(keypoint_names: Iterable[str], skeleton: Skeleton) -> bool:
    """Whether these are the names of exactly the joints of a skeleton, in any order and spelling."""
    return sorted(map(simplified, keypoint_names)) == sorted(map(simplified, skeleton.keypoint_names))


def simplified(name: str) -> str:
    """A joint's name without the details that tools write differently: letter case, spaces, `_` and `-`."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def fault(skeleton: Skeleton) -> str:
    """The reason why a skeleton is invalid, as text; empty for a valid one."""
    number = skeleton.num_keypoints
    if not number or len(set(skeleton.keypoint_names)) < number:
        return "keypoint_names must name at least one joint, and none of them twice"
    if len(skeleton.oks_sigmas) != number or min(skeleton.oks_sigmas) <= 0:
        return f"oks_sigmas must be {number} numbers above 0, one per joint"
    for what, pairs in (("limbs", skeleton.limbs), ("flip_pairs", skeleton.flip_pairs)):
        if any(len({*pair}) < 2 or not all(0 <= joint < number for joint in pair) for pair in pairs):
            return f"{what} must be pairs of two joints, each from 0 to {number - 1}"
    mirrored = [joint for pair in skeleton.flip_pairs for joint in pair]
    if len(set(mirrored)) < len(mirrored):
        return "flip_pairs must hold no joint twice"
    return ""


def read(preset_or_file: str) -> Skeleton:
    """The preset of a name, or the skeleton in a JSON file, which holds an object with the fields of `Skeleton`.

    `data` gives `FROM_DATA`.  Raises NotFound, a UserError, if there is neither, and UserError if the file holds no
    valid skeleton.
    """
    if preset_or_file == FROM_DATA.name:
        return FROM_DATA
    if preset_or_file in PRESETS:
        return PRESETS[preset_or_file]
    path = paths.expanded(preset_or_file)
    if not path.is_file():
        raise NotFound(f"{preset_or_file}: no such skeleton; give {', '.join(PRESETS)}, or a JSON file")
    try:
        content = json.loads(path.read_text())
        skeleton = from_json(content, path)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{path}: not a skeleton ({type(error).__name__}: {error}); it must be an object with name, "
            f"keypoint_names, "
            f"limbs, flip_pairs (pairs of joints, counted from 0) and oks_sigmas"
        ) from None
    return skeleton


def from_json(content: Any, path: Path) -> Skeleton:
    """Build a skeleton from the content of a JSON file.

    Raises KeyError, TypeError, ValueError or OverflowError if the content has another layout, and UserError if the
    skeleton is invalid.
    """
    pairs = {
        name: tuple((int(first), int(second)) for first, second in content[name]) for name in ("limbs", "flip_pairs")
    }
    names = content["keypoint_names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError("keypoint_names must be a list of text")
    skeleton = Skeleton(
        name=str(content.get("name", path.stem)),
        keypoint_names=tuple(names),
        oks_sigmas=tuple(float(sigma) for sigma in content["oks_sigmas"]),
        **pairs,
    )
    if wrong := fault(skeleton):
        raise UserError(f"{path}: {wrong}")
    return skeleton


# fmt: off
COCO = Skeleton(
    name="coco",
    keypoint_names=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
        "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
        "right_ankle",
    ),
    limbs=(
        (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
        (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
    ),
    flip_pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    oks_sigmas=(
        .026, .025, .025, .035, .035, .079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089, .089,
    ),
)
CROWDPOSE = Skeleton(
    name="crowdpose",
    keypoint_names=(
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
        "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "top_head", "neck",
    ),
    limbs=(
        (10, 8), (8, 6), (11, 9), (9, 7), (6, 7), (0, 6), (1, 7), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (12, 13),
        (1, 13), (0, 13),
    ),
    flip_pairs=((0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11)),
    oks_sigmas=(.079, .079, .072, .072, .062, .062, .107, .107, .087, .087, .089, .089, .079, .079),
)
# fmt: on

FROM_DATA = Skeleton("data", (), (), (), ())  # stands in a recipe for the skeleton of whatever data it is given
# The rest is data without a name in the code.
OTHERS = Path(__file__).with_name("skeleton_presets.json")
PRESETS = {skeleton.name: skeleton for skeleton in (COCO, CROWDPOSE)} | {
    name: from_json({"name": name, **content}, OTHERS) for name, content in json.loads(OTHERS.read_text()).items()
}

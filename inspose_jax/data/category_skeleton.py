"""The skeleton that a COCO category defines: joints, limbs, left-right pairs by name, and sigmas.

COCO's format states the names of the joints and perhaps the limbs, but neither what a mirrored image exchanges nor how
precisely each joint can be placed; `docs/data.md` says what is assumed for both.  A file may state them too, as
`flip_pairs` of joints counted from 0 and as `sigmas`; so does a reader of another kind of files that knows the pairs.
"""

import re
from collections import Counter
from typing import Any, NamedTuple

from inspose_jax.data.values import is_number
from inspose_jax.errors import UserError
from inspose_jax.skeletons import COCO, Skeleton, preset_with, simplified

# The mean of COCO's sigmas: OKS then is as strict, on average, as on COCO's joints, and no joint counts more than
# another.  Sigmas that are measured are the standard deviations of several people's labels of the same images.
SIGMA = round(sum(COCO.oks_sigmas) / COCO.num_keypoints, 3)
OTHER_SIDE = {"left": "right", "right": "left", "l": "r", "r": "l"}
SWAPPED = str.maketrans("lr", "rl")
NO_FLIP = "--config.data.flip 0"  # the remedy where joints have no pairs


class Found(NamedTuple):
    """A category's skeleton, and what the user should know about it, one line each."""

    skeleton: Skeleton
    remarks: tuple[str, ...]


def check_flip_pairs(category: dict[str, Any], where: str) -> None:
    """Raise UserError if a category's `flip_pairs` are not pairs of its joints, each joint at most once."""
    pairs = category.get("flip_pairs", [])
    listed = list | tuple
    are_pairs = isinstance(pairs, listed) and all(isinstance(pair, listed) and len(pair) == 2 for pair in pairs)
    joints = [joint for pair in pairs for joint in pair] if are_pairs else []
    number = len(category["keypoints"])
    are_joints = all(type(joint) is int and 0 <= joint < number for joint in joints)
    if not are_pairs or not are_joints or len(set(joints)) < len(joints):
        raise UserError(
            f"{where}: flip_pairs must be pairs of joints, counted from 0 to {number - 1}, such as [[1, 2]], and no "
            f"joint twice; correct them, or leave them out"
        )


def check_sigmas(category: dict[str, Any], where: str) -> None:
    """Raise UserError if a category has `sigmas`, but not a positive number for each joint."""
    sigmas, number = category.get("sigmas"), len(category["keypoints"])
    are_numbers = isinstance(sigmas, list) and all(is_number(sigma) and sigma > 0 for sigma in sigmas)
    if sigmas not in (None, []) and not (are_numbers and len(sigmas) == number):
        raise UserError(
            f"{where}: sigmas must be {number} positive numbers, one a joint; correct them, or leave them out"
        )


def preset_of(category: dict[str, Any]) -> Skeleton | None:
    """The preset with a category's joints, in any order; None too if it contradicts the category's `flip_pairs`."""
    names = category["keypoints"]
    preset = preset_with(names)
    return None if preset is None or contradicts_pairs(category, preset) else preset


def contradicts_pairs(category: dict[str, Any], skeleton: Skeleton) -> bool:
    """Whether a category states `flip_pairs`, and others than `skeleton` among the joints that both have."""
    if "flip_pairs" not in category:
        return False
    names, known = category["keypoints"], set(map(simplified, skeleton.keypoint_names))
    ours = {frozenset(simplified(skeleton.keypoint_names[joint]) for joint in pair) for pair in skeleton.flip_pairs}
    theirs = {frozenset(simplified(names[joint]) for joint in pair) for pair in category["flip_pairs"]}
    return ours != {pair for pair in theirs if pair <= known}


def not_used(category: dict[str, Any], skeleton: Skeleton) -> list[str]:
    """What a category with the joints of `skeleton` says otherwise of them, although the skeleton counts."""
    remarks = []
    if contradicts_pairs(category, skeleton):
        remarks.append(f"its `flip_pairs` are not those of {skeleton.name}, which are used")
    sigmas = dict(zip(map(simplified, category["keypoints"]), sigmas_of(category), strict=False))
    ours = dict(zip(map(simplified, skeleton.keypoint_names), skeleton.oks_sigmas, strict=True))
    if any(abs(sigma - ours[name]) > 1e-4 for name, sigma in sigmas.items() if name in ours):
        remarks.append(f"its `sigmas` are not those of {skeleton.name}, which are used")
    return remarks


def skeleton_of(category: dict[str, Any], where: str) -> Found:
    """The skeleton of a category that names its joints; raises UserError if it names one of them twice.

    `where` begins an error message.
    """
    names = tuple(category["keypoints"])
    again = [name for name, times in Counter(names).items() if times > 1]
    if again:
        raise UserError(f'{where} names the joint "{again[0]}" twice; give each joint its own name')
    given = category.get("flip_pairs")
    pairs = flip_pairs(names) if given is None else tuple((first, second) for first, second in given)
    limbs, remarks = limbs_of(category.get("skeleton"), len(names))
    if pairs:
        joined = ", ".join(f"{names[a]} and {names[b]}" for a, b in pairs[:3])
        paired = {joint for pair in pairs for joint in pair}
        alone = [name for joint, name in enumerate(names) if joint not in paired]
        others = f", but not {', '.join(alone[:3])}{', ..' * (len(alone) > 3)}" if alone else ""
        remarks.append(f"in a mirrored image {joined}{', ..' * (len(pairs) > 3)} change places{others}")
    elif given is None:
        remarks.append("no joint has a name with left or right, so that none change places in a mirrored image")
    else:
        remarks.append("none of them change places in a mirrored image")
    sigmas = sigmas_of(category)
    taken = "the file's own sigmas" if sigmas else f"{SIGMA}, the mean of COCO's sigmas, for every joint"
    remarks.append(f"OKS takes {taken}")
    name = str(category.get("name") or "data")
    return Found(Skeleton(name, names, limbs, pairs, sigmas or (SIGMA,) * len(names)), tuple(remarks))


def sigmas_of(category: dict[str, Any]) -> tuple[float, ...]:
    """A category's own `sigmas`, which `check_sigmas` has passed; empty without any."""
    return tuple(map(float, category.get("sigmas") or ()))


def numbered(num_keypoints: int) -> Skeleton:
    """The skeleton of joints without names: `joint_0`, `joint_1`, .., counted as flip pairs are in any file."""
    names = tuple(f"joint_{number}" for number in range(num_keypoints))
    return Skeleton("data", names, (), (), (SIGMA,) * num_keypoints)


def flip_pairs(names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """The pairs of joints whose names differ only in their side: `left_eye` and `right_eye`, `LEye`, `eye-l`, `EyeL`.

    A joint takes part only if exactly one other has the name of its other side.
    """
    words = [words_of(name) for name in names]
    count = Counter(words)
    found = []
    for i, own in enumerate(words):
        other = tuple(map(other_side, own))
        if other != own and count[own] == count[other] == 1 and i < (j := words.index(other)):
            found.append((i, j))
    return tuple(found)


def other_side(word: str) -> str:
    """The word for the other side: also `rf` for `lf` (left front), `tr` for `tl` (top left); other words stay."""
    has_side = len(word) == 2 and sum(letter in "lr" for letter in word) == 1
    return word.translate(SWAPPED) if has_side else OTHER_SIDE.get(word, word)


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name in lower case; the side is a word of its own even where it is not set off: `lefteye`."""
    words = re.findall(r"[A-Z](?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_a-zA-Z]+", name)
    parted = (re.fullmatch(r"(left|right)(\w+)", word.lower()) for word in words)
    return tuple(
        part for word, pair in zip(words, parted, strict=True) for part in (pair.groups() if pair else (word.lower(),))
    )


def limbs_of(listed: Any, num_keypoints: int) -> tuple[tuple[tuple[int, int], ...], list[str]]:
    """Pairs of joints counted from 0, from a category's `skeleton`, which counts from 1; and what was wrong with it.

    Limbs are only for drawing, so that pairs that name no two joints are left out instead of refused.
    """
    if not listed:
        return (), []
    pairs = [pair for pair in listed if is_pair(pair)] if isinstance(listed, list) else []
    first = 1
    remarks = []
    if any(0 in pair for pair in pairs) and all(max(pair) < num_keypoints for pair in pairs):
        first = 0
        remarks.append("`skeleton` counts joints from 0, not from 1 as COCO does, and is read so")
    limbs = tuple(
        (a - first, b - first)
        for a, b in pairs
        if a != b and 0 <= a - first < num_keypoints and 0 <= b - first < num_keypoints
    )
    left_out = (len(listed) if isinstance(listed, list) else 1) - len(limbs)
    if left_out:
        remarks.append(f"{left_out} entries of `skeleton` name no two of the joints and are left out")
    return limbs, remarks


def is_pair(value: Any) -> bool:
    """Whether the value is a list of two whole numbers."""
    return isinstance(value, list) and len(value) == 2 and all(type(joint) is int for joint in value)

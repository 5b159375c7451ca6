"""What the entries of a COCO file must be before anything can be done with them; reading and checking both ask here."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inspose_jax.skeletons import Skeleton

Rule = tuple[Callable[[Any], bool], str]


def is_whole(value: Any) -> bool:
    """A whole number that an i32 holds."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def is_finite(value: Any) -> bool:
    """A number that is neither infinite nor none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_box(value: Any) -> bool:
    """x, y, width, height."""
    return isinstance(value, list) and len(value) == 4 and all(map(is_finite, value)) and min(value[2:]) >= 0


IMAGE: dict[str, Rule] = {
    "id": (is_whole, "a whole number below 2^31"),
    "file_name": (lambda value: isinstance(value, str) and value != "", "a file's name"),
    "height": (lambda value: is_whole(value) and value > 0, "a number of pixels"),
    "width": (lambda value: is_whole(value) and value > 0, "a number of pixels"),
}
PERSON: dict[str, Rule] = {
    "id": (lambda value: isinstance(value, int | str), "a number"),
    "image_id": (is_whole, "an image's id"),
    "category_id": (lambda value: value == 1, "1, which is COCO's person"),
    "bbox": (is_box, "x, y, width, height"),
    "area": (is_finite, "a number of pixels; OKS divides by it"),
}


def image_faults(entry: Any) -> list[str]:
    """What is wrong with an entry of `images`, by itself."""
    return broken_rules(entry, IMAGE)


def person_faults(entry: Any, skeleton: Skeleton) -> list[str]:
    """What is wrong with an entry of `annotations`, by itself; a person without joints has no or empty `keypoints`."""
    found = broken_rules(entry, PERSON)
    if isinstance(entry, dict) and "keypoints" in entry:
        joints, needed = entry["keypoints"], 3 * skeleton.num_keypoints
        if not isinstance(joints, list) or not all(isinstance(number, int | float) for number in joints):
            found.append(f"keypoints are {str(joints)[:40]}, not a list of numbers")
        elif len(joints) not in (0, needed):
            found.append(f"{len(joints)} numbers for keypoints; {skeleton.name} needs {needed} (x, y, visibility each)")
        elif not all(map(is_finite, joints)):
            found.append("keypoints are not all finite")
    return found


def broken_rules(entry: Any, rules: dict[str, Rule]) -> list[str]:
    """One line for the fields that an entry lacks, one for each that is not what its rule says."""
    if not isinstance(entry, dict):
        return [f"{str(entry)[:40]} is not an object with fields"]
    missing = [field for field in rules if field not in entry]
    found = [f"no {', '.join(missing)}"] if missing else []
    return found + [
        f"{field} is {str(entry[field])[:40]}, not {what}"
        for field, (holds, what) in rules.items()
        if field in entry and not holds(entry[field])
    ]


def name_of(kind: str, entry: Any) -> str:
    """`image 3`, `annotation 7`: how a fault names its entry."""
    return f"{kind} {entry.get('id') if isinstance(entry, dict) else '?'}"


def read_json(path: Path) -> dict[str, Any]:
    """The content of an annotation file; its lists `images` and `annotations` exist."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such annotation file; check the path")
    try:
        content = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON ({error}); is it damaged or cut off?") from None
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise ValueError(f"{path}: no list `images`; is it a COCO annotation file?")
    if not isinstance(content.get("annotations"), list):
        raise ValueError(f"{path}: no list `annotations`; is it a COCO annotation file with labels?")
    return content

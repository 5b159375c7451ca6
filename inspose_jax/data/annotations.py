"""What the entries of a COCO file must be before anything can be done with them; reading and checking both ask here."""

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from inspose_jax.data import categories
from inspose_jax.data.categories import is_id
from inspose_jax.errors import NotFound, UserError
from inspose_jax.skeletons import Skeleton

Rule = tuple[Callable[[Any], bool], str]
LARGEST = 1e9  # no picture is so large; its square is an area that an f32 holds


def is_whole(value: Any) -> bool:
    """A whole number that an i32 holds."""
    return is_id(value) and value < 2**31


def is_number(value: Any) -> bool:
    """A number of an ordinary size: JSON knows NaN, infinity and whole numbers that no float holds."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST


def is_box(value: Any) -> bool:
    """x, y, width, height."""
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value)) and min(value[2:]) >= 0


def is_inside(value: Any) -> bool:
    """The name of a file in the folder of pictures or in one below it."""
    if not isinstance(value, str) or value == "" or "\0" in value:
        return False
    path = PurePosixPath(value)
    return not path.is_absolute() and ".." not in path.parts


IMAGE: dict[str, Rule] = {
    "id": (is_id, "a whole number below 2^63"),
    "file_name": (is_inside, "a file's name in the folder of pictures"),
    "height": (lambda value: is_whole(value) and value > 0, "a number of pixels"),
    "width": (lambda value: is_whole(value) and value > 0, "a number of pixels"),
}
PERSON: dict[str, Rule] = {
    "id": (lambda value: isinstance(value, int | str), "a whole number"),
    "image_id": (is_id, "an image's id"),
    "category_id": (is_id, "a category's id"),
    "bbox": (is_box, "x, y, width, height"),
    "area": (lambda value: is_number(value) and value >= 0, "a number of pixels"),
}
OPTIONAL: dict[str, Rule] = {
    "iscrowd": (lambda value: isinstance(value, int) and value in (0, 1), "0 or 1"),
    "num_keypoints": (is_whole, "a number of labelled joints"),
}


def examined(content: dict[str, Any], skeleton: Skeleton) -> Iterator[tuple[str, Any, list[str]]]:
    """Every entry of what `read` gave: `image` or `annotation`, the entry, and what is wrong with it.

    An entry may be wrong by itself or beside the others: an id that is taken, an image that is not in the list.
    """
    image_ids: set[int] = set()
    for entry in content["images"]:
        faults = broken_rules(entry, IMAGE)
        if isinstance(entry, dict) and is_id(entry.get("id")):  # whatever else is wrong with it
            if entry["id"] in image_ids:
                faults.append("its id is another image's too")
            image_ids.add(entry["id"])
        yield "image", entry, faults
    person_id = content["categories"][0]["id"]
    annotation_ids: set[int | str] = set()
    for entry in content["annotations"]:
        faults = person_faults(entry, skeleton)
        if not faults:
            if entry["category_id"] != person_id:
                faults.append(f"category_id is {entry['category_id']}, not {person_id}, the person category")
            if entry["id"] in annotation_ids:
                faults.append("its id is another annotation's too")
            annotation_ids.add(entry["id"])
            if entry["image_id"] not in image_ids:
                faults.append(f"its image {entry['image_id']} is not in the list")
        yield "annotation", entry, faults


def person_faults(entry: Any, skeleton: Skeleton) -> list[str]:
    """What is wrong with an entry of `annotations`, by itself; a person without joints has no or empty `keypoints`."""
    found = broken_rules(entry, PERSON, OPTIONAL)
    if isinstance(entry, dict) and "keypoints" in entry:
        joints, needed = entry["keypoints"], 3 * skeleton.num_keypoints
        if not isinstance(joints, list) or not all(isinstance(number, int | float) for number in joints):
            found.append(f"keypoints are {short(joints)}, not a list of numbers")
        elif len(joints) not in (0, needed):
            found.append(f"{len(joints)} numbers for keypoints; {skeleton.name} needs {needed} (x, y, visibility each)")
        elif not all(map(is_number, joints)):
            found.append("keypoints are not all finite and below 1e9")
        elif any(v > 0 for v in joints[2::3]) and entry.get("area") == 0:
            found.append("area is 0; OKS divides by it")
    return found


def broken_rules(entry: Any, needed: dict[str, Rule], optional: dict[str, Rule] | None = None) -> list[str]:
    """One line for the fields that an entry lacks, one for each that is not what its rule says."""
    if not isinstance(entry, dict):
        return [f"{short(entry)} is not an object with fields"]
    missing = [field for field in needed if field not in entry]
    found = [f"no {', '.join(missing)}"] if missing else []
    return found + [
        f"{field} is {short(entry[field])}, not {what}"
        for field, (holds, what) in {**needed, **(optional or {})}.items()
        if field in entry and not holds(entry[field])
    ]


def short(value: Any) -> str:
    """The beginning of a value as JSON writes it: on one line, and never a number of a thousand digits."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def name_of(kind: str, entry: Any) -> str:
    """`image 3`, `annotation 7`: how a fault names its entry."""
    return f"{kind} {short(entry['id']) if isinstance(entry, dict) and 'id' in entry else '?'}"


def read(images: Path, annotations: Path, skeleton: Skeleton) -> dict[str, Any]:
    """The content of an annotation file, whose lists `images` and `annotations` exist, beside its folder of pictures.

    Joints are sorted into the order of the skeleton, annotations of other categories are left out, `categories` holds
    the person category alone; a warning names each of these changes that the file needed.  FileNotFoundError or
    ValueError where there is nothing to look at, or where the joints are not those of the skeleton.
    """
    for path, is_it, what in (
        (annotations, annotations.is_file(), "annotation file; give the COCO keypoint JSON"),
        (images, images.is_dir(), f"folder of pictures; give the one that {annotations} lists"),
    ):
        if not is_it:
            raise NotFound(f"{path}: {'is no' if path.exists() else 'no such'} {what}")
    try:
        content = json.loads(annotations.read_text("utf-8-sig"))  # some editors begin with a byte order mark
    except (ValueError, RecursionError) as error:  # of the text, of its letters, of a number; nested without end
        raise UserError(f"{annotations}: not JSON ({error}); is it damaged or cut off?") from None
    for name in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise UserError(f"{annotations}: no list `{name}`; is it a COCO annotation file with labels?")
    person = categories.person_of(content, annotations, skeleton)
    for remark in person.remarks + categories.settle(content, person, skeleton.num_keypoints, annotations):
        warnings.warn(remark, stacklevel=2)
    content["categories"] = [{"id": person.category_id, "name": "person"}]
    return content

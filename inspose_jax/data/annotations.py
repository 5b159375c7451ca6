"""Reading a COCO annotation file and validating its entries; both loading and `inspose data check` use these rules."""

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from inspose_jax.data import categories, coco_dialects, garbage, missing_fields
from inspose_jax.data.values import (
    NOT_READ,
    READ_FROM,
    is_box,
    is_id,
    is_inside,
    is_number,
    is_side,
    is_whole_number,
    whole,
)
from inspose_jax.errors import Note, NotFound, UserError
from inspose_jax.skeletons import Skeleton

LABEL_STUDIO = "Label Studio's own JSON; make it a COCO file with inspose data import"
EXPORT = "export it as COCO keypoints from the tool that wrote it"  # the remedy for labels of another kind
Rule = tuple[Callable[[Any], bool], str]
IMAGE: dict[str, Rule] = {
    "id": (is_id, "a whole number below 2^63"),
    "file_name": (is_inside, "a file's name in the folder of images"),
    "height": (is_side, "a number of pixels"),
    "width": (is_side, "a number of pixels"),
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
    "num_keypoints": (is_whole_number, "a number of labelled joints"),
}


def check_entries(content: dict[str, Any], skeleton: Skeleton) -> Iterator[tuple[str, Any, list[str]]]:
    """Yield every entry of what `read` returned: its kind (`image` or `annotation`), the entry and its faults.

    A fault may lie in the entry itself or in its relation to others: a duplicate id, or an image that is not listed.
    """
    image_ids: set[int] = set()
    for entry in content["images"]:
        faults = field_faults(entry, IMAGE)
        if isinstance(entry, dict) and is_id(entry.get("id")):  # the id counts even if the entry has other faults
            if entry["id"] in image_ids:
                faults.append("another image has the same id")
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
                faults.append("another annotation has the same id")
            annotation_ids.add(entry["id"])
            if entry["image_id"] not in image_ids:
                faults.append(f"its image {entry['image_id']} is not listed in `images`")
        yield "annotation", entry, faults


def person_faults(entry: Any, skeleton: Skeleton) -> list[str]:
    """The faults of a single entry of `annotations`; missing or empty `keypoints` mean a person without joints."""
    found = field_faults(entry, PERSON, OPTIONAL)
    if isinstance(entry, dict) and "keypoints" in entry and NOT_READ not in entry:
        joints, needed = entry["keypoints"], 3 * skeleton.num_keypoints
        if not isinstance(joints, list) or not all(isinstance(number, int | float) for number in joints):
            found.append(f"keypoints are {shortened(joints)}, not a list of numbers")
        elif len(joints) not in (0, needed):
            found.append(f"{len(joints)} numbers for keypoints; {skeleton.name} needs {needed} (x, y, visibility each)")
        elif not all(map(is_number, joints)):
            found.append("keypoints are not all finite numbers below 1e9")
        elif any(v > 0 for v in joints[2::3]) and entry.get("area") == 0:
            found.append("area is 0; OKS divides by it")
    return found


def field_faults(entry: Any, needed: dict[str, Rule], optional: dict[str, Rule] | None = None) -> list[str]:
    """The faults of an entry: one line for all missing fields, and one for each field that breaks its rule.

    An entry that its reader could not read has no other fault.
    """
    if not isinstance(entry, dict):
        return [f"{shortened(entry)} is not an object with fields"]
    if NOT_READ in entry:
        return [entry[NOT_READ]]
    missing = [field for field in needed if field not in entry]
    found = [f"no {', '.join(missing)}"] if missing else []
    return found + [
        f"{field} is {shortened(entry[field])}, not {what}"
        for field, (holds, what) in {**needed, **(optional or {})}.items()
        if field in entry and not holds(entry[field])
    ]


def shortened(value: Any) -> str:
    """A value as JSON on one line, cut to 40 characters, since even a number may have a thousand digits."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def entry_name(kind: str, entry: Any) -> str:
    """How a fault names its entry: `image 3`, `annotation 7`, or the file and line that it was read from."""
    if isinstance(entry, dict) and READ_FROM in entry:
        return str(entry[READ_FROM])
    return f"{kind} {shortened(entry['id']) if isinstance(entry, dict) and 'id' in entry else '?'}"


class Dataset(NamedTuple):
    """What a reader of any kind of files returns: the content of a COCO file, where its images are, its joints."""

    content: dict[str, Any]  # `images`, `annotations` of one category with joints in the skeleton's order, `categories`
    images: Path  # the folder that file names start from
    skeleton: Skeleton
    tool: str = ""  # or the dataset whose file it is, as `coco_dialects` recognises it


def read(images: Path, annotations: Path, skeleton: Skeleton | None, category: str = "") -> Dataset:
    """Read an annotation file; its image folder and its lists `images` and `annotations` must exist.

    Without a `skeleton` it is the data's own.  Raises NotFound if the file or the folder is missing, and UserError if
    the file cannot be parsed, if its joints are not the skeleton's, or if there is no clear category.
    """
    check_places(images, annotations)
    return prepared(parsed(annotations), images, annotations, skeleton, category)


def read_images(images: Path, annotations: Path) -> dict[str, Any]:
    """The content of a file that lists images without labels, as COCO's test-dev does, with no people in it.

    Labels, if there are any, are left out.  Raises as `read`.
    """
    check_places(images, annotations)
    content = parsed(annotations, ("images",))
    nobody = {"images": content["images"], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    whole_ids(nobody)
    return nobody


def check_places(images: Path, annotations: Path) -> None:
    """Raise NotFound if the annotation file or the folder of images is missing."""
    if not annotations.is_file():
        fault = "not a file" if annotations.exists() else "no such annotation file"
        raise NotFound(f"{annotations}: {fault}; give the COCO keypoint JSON")
    if not images.is_dir():
        fault = "not a folder" if images.exists() else "no such folder of images"
        raise NotFound(f"{images}: {fault}; give the folder of images that {annotations} lists")


@garbage.paused()
def parsed(annotations: Path, lists: tuple[str, ...] = ("images", "annotations")) -> dict[str, Any]:
    """The content of a JSON file, if it has the lists of an annotation file; otherwise raises UserError."""
    data = annotations.read_bytes()
    try:
        content = msgspec.json.decode(data)  # in less than half the time of json, in no more memory
    except (ValueError, RecursionError):  # a fault, which json words; or what json takes: NaN, a byte order mark
        try:
            content = json.loads(data.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:  # bad JSON or UTF-8, a number too long, nesting too deep
            raise UserError(f"{annotations}: not JSON ({error}); is it damaged or cut off?") from None
    for name in lists:
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            if words := looks_like(content):
                raise UserError(f"{annotations}: looks like {words}")
            raise UserError(f"{annotations}: no list `{name}`; is it a COCO annotation file with labels?")
    for image in content["images"]:
        if isinstance(image, dict) and isinstance(name := image.get("file_name"), str) and "\\" in name:
            image["file_name"] = name.replace("\\", "/")  # written on Windows
    return content


def looks_like(content: Any) -> str:
    """What JSON of another kind looks like, and what to do; empty if that is unknown."""
    first = content[0] if isinstance(content, list) and content else None
    if isinstance(first, dict):
        results = "results, people that were found in images; give the labels of the images"
        return results if "image_id" in first else LABEL_STUDIO
    if not isinstance(content, dict):
        return ""
    images = content.get("images")
    if isinstance(images, list) and images and isinstance(images[0], dict) and "annotations" in images[0]:
        return "OCHuman's own JSON; give one of its files in COCO's format, ochuman_coco_format_.."
    if isinstance(images, dict) and isinstance(content.get("annotations"), list):
        return "AnimalPose's own JSON; give one of MMPose's files of it in COCO's format, animalpose_train.json"
    tool = tool_of(content)
    return f"{tool}'s JSON; {EXPORT}" if tool else ""


def tool_of(content: dict[str, Any]) -> str:
    """The tool that writes JSON of another kind like this: LabelMe, Datumaro, or VIA; empty if it is none of them."""
    if {"shapes", "imagePath"} <= content.keys():
        return "LabelMe"
    if {"categories", "items"} <= content.keys():
        return "Datumaro"
    images = content.get("_via_img_metadata", content)  # a project, or its exported annotations alone
    first = next(iter(images.values()), None) if isinstance(images, dict) else None
    is_image = isinstance(first, dict) and {"filename", "regions"} <= first.keys()
    return "VIA" if is_image or "_via_settings" in content else ""


@garbage.paused()
def prepared(
    content: dict[str, Any],
    images: Path,
    name: Path,
    skeleton: Skeleton | None,
    category: str = "",
) -> Dataset:
    """The content of a COCO file, changed in place, with the people of one category and all fields that are needed.

    What datasets and tools write otherwise than COCO is rewritten, joints are sorted into the order of the skeleton,
    annotations of other categories are dropped, `categories` is reduced to the one that is left, with `flip_pairs` only
    if it states them, and missing fields are filled in; a `Note`, which begins with `name`, names each change.  Raises
    UserError as `read` does.
    """
    tool = coco_dialects.rewritten(content, str(name))
    whole_ids(content)
    person = categories.find_person(content, name, skeleton, category)
    left_out = categories.keep_people(content, person, is_chosen=bool(category))
    filled = missing_fields.fill_in(content)
    for remark in (*person.remarks, *left_out, *filled):
        warnings.warn(f"{name}: {remark}", Note, stacklevel=2)
    stated = {"flip_pairs": [list(pair) for pair in person.skeleton.flip_pairs]} if person.states_pairs else {}
    content["categories"] = [{"id": person.category_id, "name": "person"} | stated]
    return Dataset(content, images, person.skeleton, tool)


def whole_ids(content: dict[str, Any]) -> None:
    """Replace ids that stand as `12.0` or `"12"`, and sizes and flags that stand as `12.0`, by whole numbers."""
    listed = content.get("categories")
    for entries, ids, others in (
        (listed if isinstance(listed, list) else [], ("id",), ()),
        (content["images"], ("id",), ("height", "width")),
        (content["annotations"], ("image_id", "category_id"), ("id", "iscrowd", "num_keypoints")),
    ):
        for field in ids + others:
            kinds = (float, str) if field in ids else (float,)
            for entry in entries:
                if isinstance(entry, dict) and isinstance(entry.get(field), kinds):
                    entry[field] = whole(entry[field])

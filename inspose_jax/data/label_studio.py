"""Label Studio's own JSON (a list of tasks) as the content of a COCO file.

Positions are in percent of the image as a browser shows it, and continuous: the middle of a pixel is half a pixel from
its edge.  COCO's joints are indices of pixels, half a pixel less.  The points of a person have a common rectangle: as
parent (the panel of regions writes `parentID`), or by a relation.  In an image with one rectangle or none, all points
are one person.  Everything else is refused, since it would be a guess.
"""

import json
import math
import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from inspose_jax import skeletons
from inspose_jax.data import image_files, orientation
from inspose_jax.data.image_files import SUFFIXES
from inspose_jax.data.values import is_number
from inspose_jax.errors import NotFound, UserError
from inspose_jax.skeletons import Skeleton

POINT, RECTANGLES, RELATION = "keypointlabels", ("rectanglelabels", "rectangle"), "relation"
NO_REGIONS = (
    "choices",
    "textarea",
    "rating",
    "number",
    "taxonomy",
    "datetime",
    "pairwise",
)  # they say nothing on joints
UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the name of an uploaded file


class Person(NamedTuple):
    """A person of a task."""

    joints: dict[str, tuple[float, float]]  # the label of each point; x, y in continuous pixels
    rectangle: dict[str, Any] | None  # its result


class Task(NamedTuple):
    """An annotated image."""

    file_name: str
    size: tuple[int, int]  # height, width
    people: list[Person]


class Imported(NamedTuple):
    """The content of a COCO file, and what the user should know, one line each."""

    content: dict[str, Any]
    remarks: tuple[str, ...]


def is_kind(path: Path) -> bool:
    """Whether a JSON file holds a list, as Label Studio's does, and not an object as COCO's, or a list of results."""
    if not path.is_file() or path.suffix.lower() != ".json":
        return False
    with path.open("rb") as file:
        begin = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    return begin.startswith(b"[") and not begin[1:].lstrip().startswith(b"]") and b'"image_id"' not in begin


def read(path: Path, images: Path | None, skeleton: Skeleton | None = None) -> Imported:
    """Convert an export; `images` is the folder where the images lie, without which names are taken as they are.

    The joints are those of `skeleton`, or else all labels of points that occur.  Boxes are those of the rectangles;
    there is no `area`.  Raises UserError, or its subclass NotFound, naming the task.
    """
    entries = parsed(path)
    tasks, left_out, unsized = [], 0, 0
    turned: list[Path] = []
    for number, entry in enumerate(entries, start=1):
        where = f"{path}: task {entry.get('id', number)}"
        annotation = chosen_annotation(entry, where)
        if annotation is None:
            left_out += 1
            continue
        results = regions(annotation, where)
        name = file_name(entry, images, where)
        size = size_of(results, where)
        if images:
            # Only where no region tells the size, a bitmap is decoded for it.
            header = orientation.read_header(images / name)
            displayed = orientation.displayed_size(header) if size else image_files.displayed_size(images / name)
            if displayed is None:
                turned.append(images / name)
                continue
            size = size or displayed
        if not size or not all(size):
            unsized += 1
            continue
        tasks.append(Task(name, size, people_of(results, size, where)))
    if again := [name for name, times in Counter(task.file_name for task in tasks).items() if times > 1]:
        raise UserError(f"{path}: {again[0]} is the image of several tasks; keep one of them")
    remarks = [f"left out, since they have no annotation: {left_out} of {len(entries)} tasks"] if left_out else []
    if unsized:
        remarks.append(f"left out, since nothing tells their size without --images: {unsized} without people")
    if turned:
        remarks.append(orientation.left_out(turned))
    content = coco_content(tasks, path, remarks, skeleton)
    return Imported(content, tuple(remarks))


def parsed(path: Path) -> list[dict[str, Any]]:
    """The tasks of an export; raises UserError if it is none."""
    if not path.is_file():
        raise NotFound(f"{path}: {'not a file' if path.exists() else 'no such file'}; give Label Studio's export, JSON")
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}); is it damaged or cut off?") from None
    if isinstance(content, dict) and "annotations" in content and "images" in content:
        raise UserError(f"{path}: is a COCO file already; use it as it is, with --annotations")
    if not isinstance(content, list) or not all(isinstance(task, dict) for task in content):
        raise UserError(f"{path}: not a list of tasks; give what Label Studio exports as JSON")
    if not any("annotations" in task for task in content):
        raise UserError(f"{path}: its tasks have no `annotations`; export as JSON, not as JSON-MIN")
    return content


def chosen_annotation(task: dict[str, Any], where: str) -> dict[str, Any] | None:
    """The one annotation of a task, None if it has none; raises UserError if there are several."""
    listed = task.get("annotations") or []
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise UserError(f"{where}: its annotations are not a list of objects; is the file an export of Label Studio?")
    kept = [one for one in listed if not one.get("was_cancelled")]
    if len(kept) > 1:
        raise UserError(f"{where}: has {len(kept)} annotations; delete all but the right one, and export again")
    return kept[0] if kept else None


def regions(annotation: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """The points, rectangles and relations of an annotation; raises UserError if there is anything else."""
    kept, listed = [], annotation.get("result") or []
    if not isinstance(listed, list):
        raise UserError(f"{where}: its result is not a list; is the file an export of Label Studio?")
    for result in listed:
        kind = result.get("type") if isinstance(result, dict) else None
        if kind in NO_REGIONS:
            continue
        if kind not in (POINT, *RECTANGLES, RELATION):
            raise UserError(
                f"{where}: has a region of type {kind}; only points (keypointlabels) and rectangles are read"
            )
        if kind != RELATION:
            check_region(result, f"{where}: {kind} {result.get('id')}")
        kept.append(result)
    return kept


def check_region(result: dict[str, Any], where: str) -> None:
    """Raise UserError unless a point or rectangle has everything that is read from it."""
    value = result.get("value")
    needed = ("x", "y") if result["type"] == POINT else ("x", "y", "width", "height")
    if not isinstance(value, dict) or not all(is_number(value.get(field)) for field in needed):
        raise UserError(f"{where}: its value has no numbers {', '.join(needed)}; is the file damaged?")
    if not all(is_number(result.get(side)) and result[side] >= 1 for side in ("original_width", "original_height")):
        raise UserError(f"{where}: has no original_width and original_height; is the file damaged?")
    if not is_number(value.get("rotation") or 0):
        raise UserError(f"{where}: its rotation is {value['rotation']}, not a number; is the file damaged?")
    if result.get("image_rotation"):
        raise UserError(f"{where}: was labelled with the image rotated in Label Studio; turn it back")
    labels = value.get(POINT)
    if result["type"] == POINT and not (isinstance(labels, list) and len(labels) == 1 and isinstance(labels[0], str)):
        raise UserError(f"{where}: has the labels {labels}; a point must have one, the name of its joint")


def people_of(results: list[dict[str, Any]], size: tuple[int, int], where: str) -> list[Person]:
    """The people of an image; raises UserError where it is not clear whose a point is."""
    points = [result for result in results if result["type"] == POINT]
    rectangles = {result.get("id"): result for result in results if result["type"] in RECTANGLES}
    related = [(one.get("from_id"), one.get("to_id")) for one in results if one["type"] == RELATION]
    groups: dict[Any, dict[str, tuple[float, float]]] = {name: {} for name in rectangles}
    lonely = next(iter(rectangles)) if len(rectangles) == 1 else None  # whose a point without rectangle is
    for point in points:
        (joint,) = point["value"][POINT]
        ends = [end for pair in related if point.get("id") in pair for end in pair]
        parents = {name for name in (point.get("parentID"), *ends) if name in rectangles}
        if len(parents) > 1 or (not parents and len(rectangles) > 1):
            whose = f"{len(parents)} rectangles" if parents else "no rectangle"
            raise UserError(
                f"{where}: the point {joint} belongs to {whose}, and the image has {len(rectangles)}; move it into its "
                f"person's rectangle in the panel of regions"
            )
        joints = groups.setdefault(parents.pop() if parents else lonely, {})
        if joint in joints:
            remedy = "give it the label that it should have" if rectangles else "draw a rectangle for each person"
            raise UserError(f"{where}: a person has two points {joint}; {remedy}")
        joints[joint] = tuple(point["value"][axis] / 100 * side for axis, side in zip("xy", size[::-1], strict=True))
    return [Person(joints, rectangles.get(name)) for name, joints in groups.items()]


def size_of(results: list[dict[str, Any]], where: str) -> tuple[int, int] | None:
    """Height and width of a task's image, which its regions know; None without a region."""
    sizes = {(int(one["original_height"]), int(one["original_width"])) for one in results if one["type"] != RELATION}
    if len(sizes) > 1:
        raise UserError(f"{where}: its regions are of images of several sizes; a task must have one image")
    return sizes.pop() if sizes else None


def file_name(task: dict[str, Any], images: Path | None, where: str) -> str:
    """The name of a task's image, relative to `images` if given, where it must exist.

    Label Studio knows an image by a path or an address of its own, such as /data/upload/1/0123abcd-horse.jpg; the file
    is looked for by ever shorter ends of that path, and without the eight digits that an upload gets.
    """
    data = task.get("data")
    texts = [text for text in data.values() if isinstance(text, str)] if isinstance(data, dict) else []
    places = [place for place in map(local_path, texts) if place.suffix.lower() in SUFFIXES]
    if len(places) != 1:
        raise UserError(f"{where}: its `data` names {len(places)} images; it must be one")
    (place,) = places
    if images is None:  # /data/upload/.. is a place on the server, a/1.png one in the folder that it was told of
        return place.name if place.is_absolute() else str(place)
    ends = ["/".join(place.parts[first:]) for first in range(len(place.parts))]
    for name in [end for end in ends if not end.startswith("/")] + [UPLOADED.sub("", place.name, count=1)]:
        if ".." not in PurePosixPath(name).parts and (images / name).is_file():
            return name
    raise NotFound(f"{where}: its image {place.name} is not in {images}; give the folder where the images lie")


def local_path(text: str) -> PurePosixPath:
    """The path in an address: of /data/local-files/?d=a/b.jpg it is a/b.jpg."""
    parts = urlsplit(text.replace("\\", "/"))
    queried = parse_qs(parts.query).get("d", [])
    return PurePosixPath(queried[0] if queried else unquote(parts.path))


def coco_content(tasks: list[Task], path: Path, remarks: list[str], skeleton: Skeleton | None) -> dict[str, Any]:
    """The content of a COCO file; adds to `remarks` what the user should know."""
    people = [person for task in tasks for person in task.people]
    used = {joint for person in people for joint in person.joints}
    if not used:
        raise UserError(f"{path}: no task has a point (keypointlabels); there is nothing to import")
    titles = {title(person.rectangle) for person in people if person.joints and person.rectangle} - {""}
    if len(titles) > 1:
        raise UserError(
            f"{path}: points belong to rectangles called {' and '.join(sorted(titles))}; export each kind on its own"
        )
    name = titles.pop() if titles else "person"
    spelt = Counter(map(skeletons.simplified, used))
    if again := sorted(label for label in used if spelt[skeletons.simplified(label)] > 1):
        raise UserError(f'{path}: has points "{again[0]}" and "{again[1]}", which are one joint; use one label')
    if skeleton:
        check_labels(used, skeleton, path)
    known = skeleton or skeletons.preset_with(used)
    called = {skeletons.simplified(label): label for label in used}
    names = list(known.keypoint_names) if known else sorted(used)
    labels = [called.get(skeletons.simplified(joint), "") for joint in names]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    others = Counter()
    for number, task in enumerate(tasks, start=1):
        height, width = task.size
        images.append({"id": number, "file_name": task.file_name, "height": height, "width": width})
        for person in task.people:
            if not person.joints and title(person.rectangle) not in (name, ""):
                others[title(person.rectangle)] += 1
                continue
            one: dict[str, Any] = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0}
            if person.rectangle:
                one["bbox"] = box_of(person.rectangle, task.size)
            one["keypoints"] = [coordinate for label in labels for coordinate in coco_joint(person.joints.get(label))]
            annotations.append(one | {"num_keypoints": len(person.joints)})
    if others:
        remarks.append(f"rectangles without points are left out: {', '.join(f'{n} {t}' for t, n in others.items())}")
    limbs = [[a + 1, b + 1] for a, b in known.limbs] if known else []
    category: dict[str, Any] = {"id": 1, "name": name, "keypoints": names, "skeleton": limbs}
    category |= {"flip_pairs": [list(pair) for pair in skeleton.flip_pairs]} if skeleton else {}
    return {"images": images, "annotations": annotations, "categories": [category]}


def check_labels(used: set[str], skeleton: Skeleton, path: Path) -> None:
    """Raise UserError unless every label of a point names a joint of the skeleton."""
    joints = {skeletons.simplified(joint) for joint in skeleton.keypoint_names}
    if foreign := sorted(label for label in used if skeletons.simplified(label) not in joints):
        raise UserError(
            f'{path}: has points "{foreign[0]}", which is no joint of {skeleton.name} '
            f"({', '.join(skeleton.keypoint_names[:5])}{', ..' * (len(joints) > 5)}); correct the label, or give "
            f"another --skeleton"
        )


def title(rectangle: dict[str, Any] | None) -> str:
    """The label of a rectangle; empty if it has none."""
    labels = (rectangle or {}).get("value", {}).get("rectanglelabels") or [""]
    return str(labels[0])


def coco_joint(place: tuple[float, float] | None) -> tuple[float, float, int]:
    """A joint as COCO writes it: the index of the pixel, with fractions, and its visibility."""
    return (round(place[0] - 0.5, 3), round(place[1] - 0.5, 3), 2) if place else (0.0, 0.0, 0)


def box_of(rectangle: dict[str, Any], size: tuple[int, int]) -> list[float]:
    """The box, in pixels, around a rectangle, which may be rotated about its upper left corner (clockwise, degrees)."""
    value, (height, width) = rectangle["value"], size
    x, y = value["x"] / 100 * width, value["y"] / 100 * height
    w, h = value["width"] / 100 * width, value["height"] / 100 * height
    angle = math.radians(value.get("rotation") or 0)
    xs = [x + u * math.cos(angle) - v * math.sin(angle) for u in (0, w) for v in (0, h)]
    ys = [y + u * math.sin(angle) + v * math.cos(angle) for u in (0, w) for v in (0, h)]
    return [round(number, 3) for number in (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))]

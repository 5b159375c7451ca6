"""Label Studio's own JSON (a list of tasks) as the content of a COCO file.

Positions are in percent of the image as a browser shows it, and continuous: the middle of a pixel is half a pixel from
its edge.  COCO's joints are indices of pixels, half a pixel less.  The points of a person have a common rectangle: as
parent (the panel of regions writes `parentID`), or by a relation.  In an image with one rectangle or none, all points
are one person.  Anything else that is drawn is refused, since it would be a guess.  Of the classifications of a
single region only that a point is hidden is read; a remark counts the others.  Those of the whole image are left out.
"""

import json
import math
import re
from collections import Counter, defaultdict
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
DRAWN = (POINT, *RECTANGLES)
CHOICES = "choices"
# Of the whole image, or of a single region, whose id they have then.
CLASSIFICATIONS = (CHOICES, "textarea", "rating", "number", "taxonomy", "datetime", "pairwise")
HIDDEN = ("occluded", "hidden", "notvisible", "invisible")  # choices, simplified, that give a joint visibility 1
UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # the name of an uploaded file, after what Label Studio puts before it


class Person(NamedTuple):
    """A person of a task."""

    joints: dict[str, tuple[float, float, int]]  # by label; x, y in continuous pixels, visibility (1 hidden, 2 seen)
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
    unused: Counter[str] = Counter()
    uploads = files_by_upload(images) if images else {}
    for number, entry in enumerate(entries, start=1):
        where = f"{path}: task {entry.get('id', number)}"
        annotation = chosen_annotation(entry, where)
        if annotation is None:
            left_out += 1
            continue
        results = regions(annotation, where)
        name = file_name(entry, images, uploads, where)
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
        hidden, others = classified(results)
        unused.update(others)
        tasks.append(Task(name, size, people_of(results, hidden, size, where)))
    if again := [name for name, times in Counter(task.file_name for task in tasks).items() if times > 1]:
        raise UserError(f"{path}: {again[0]} is the image of several tasks; keep one of them")
    remarks = [f"left out, since they have no annotation: {left_out} of {len(entries)} tasks"] if left_out else []
    if unsized:
        remarks.append(f"left out, since nothing tells their size without --images: {unsized} without people")
    if turned:
        remarks.append(orientation.left_out(turned))
    if unused:
        what = "left out, since of the classifications of single regions only hidden points are read"
        remarks.append(f"{what}: {counted(unused)}")
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
    """The points, rectangles, relations and classifications of an annotation; raises UserError at anything else."""
    listed = annotation.get("result") or []
    if not isinstance(listed, list):
        raise UserError(f"{where}: its result is not a list; is the file an export of Label Studio?")
    for result in listed:
        kind = result.get("type") if isinstance(result, dict) else None
        if kind not in (*DRAWN, RELATION, *CLASSIFICATIONS):
            raise UserError(
                f"{where}: has a region of type {kind}; only points (keypointlabels) and rectangles are read"
            )
        for field in ("id", "parentID", "from_id", "to_id"):
            if not isinstance(result.get(field), str | int | None):
                raise UserError(
                    f"{where}: {kind}: its {field} is {result[field]}, not text or a whole number; is the file damaged?"
                )
        if kind in DRAWN:
            check_region(result, f"{where}: {kind} {result.get('id')}")
    return listed


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
    titles = value.get("rectanglelabels") or []
    if not isinstance(titles, list) or not all(isinstance(one, str) for one in titles):
        raise UserError(f"{where}: has the labels {titles}; those of a rectangle must be texts")


def classified(results: list[dict[str, Any]]) -> tuple[set[str | int], list[str]]:
    """The ids of the points that are hidden, and the other classifications of single points and rectangles.

    Those are the words of choices, and the kinds of anything else.
    """
    drawn = {one["id"]: one["type"] for one in results if one["type"] in DRAWN and one.get("id") is not None}
    hidden, others = set(), []
    for one in results:
        if one["type"] not in CLASSIFICATIONS or one.get("id") not in drawn:
            continue
        value = one.get("value")
        listed = value.get(CHOICES) if one["type"] == CHOICES and isinstance(value, dict) else None
        for word in listed if isinstance(listed, list) else [one["type"]]:
            if drawn[one["id"]] == POINT and skeletons.simplified(str(word)) in HIDDEN:
                hidden.add(one["id"])
            else:
                others.append(str(word))
    return hidden, others


def people_of(results: list[dict[str, Any]], hidden: set[str | int], size: tuple[int, int], where: str) -> list[Person]:
    """The people of an image, where `hidden` are the ids of hidden points.

    Raises UserError where it is not clear whose a point is.
    """
    points = [result for result in results if result["type"] == POINT]
    rectangles = {result.get("id"): result for result in results if result["type"] in RECTANGLES}
    related = [(one.get("from_id"), one.get("to_id")) for one in results if one["type"] == RELATION]
    groups: dict[Any, dict[str, tuple[float, float, int]]] = {name: {} for name in rectangles}
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
        x, y = (point["value"][axis] / 100 * side for axis, side in zip("xy", size[::-1], strict=True))
        joints[joint] = (x, y, 1 if point.get("id") in hidden else 2)
    return [Person(joints, rectangles.get(name)) for name, joints in groups.items()]


def size_of(results: list[dict[str, Any]], where: str) -> tuple[int, int] | None:
    """Height and width of a task's image, which its regions know; None without a region."""
    sizes = {(int(one["original_height"]), int(one["original_width"])) for one in results if one["type"] in DRAWN}
    if len(sizes) > 1:
        raise UserError(f"{where}: its regions are of images of several sizes; a task must have one image")
    return sizes.pop() if sizes else None


def file_name(task: dict[str, Any], images: Path | None, uploads: dict[str, list[str]], where: str) -> str:
    """The name of a task's image, relative to `images` if given, where it must exist.

    Label Studio knows an image by a path or an address of its own, such as /data/upload/1/0123abcd-my_horse.jpg; the
    file is looked for by ever shorter ends of that path, and then as what an upload may have been called before, which
    `uploads` tells (`files_by_upload`).
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
    for name in [end for end in ends if not end.startswith("/")]:
        if ".." not in PurePosixPath(name).parts and (images / name).is_file():
            return name
    uploaded = UPLOADED.fullmatch(place.name)
    found = uploads.get(name_of_upload(uploaded[1]), []) if uploaded else []
    if len(found) > 1:
        raise UserError(
            f"{where}: its image {place.name} may be {' or '.join(sorted(found))} of {images}; rename the right one to "
            f"{place.name}"
        )
    if not found:
        raise NotFound(f"{where}: its image {place.name} is not in {images}; give the folder where the images lie")
    return found[0]


def files_by_upload(images: Path) -> dict[str, list[str]]:
    """The names of the files of a folder, by what an upload of them is called."""
    names = defaultdict(list)
    for path in images.glob("*"):
        if path.is_file():
            names[name_of_upload(path.name)].append(path.name)
    return dict(names)


def name_of_upload(name: str) -> str:
    """The name that Django (get_valid_name) gives an uploaded file, without the eight digits of Label Studio.

    Django also strips spaces, but not here: at the beginning they are behind the digits.
    """
    return re.sub(r"[^-\w.]", "", name.replace(" ", "_"))


def local_path(text: str) -> PurePosixPath:
    """The path in an address: of /data/local-files/?d=a/b.jpg it is a/b.jpg."""
    try:
        parts = urlsplit(text)
    except ValueError:  # no address, though it begins like one: http://[
        return PurePosixPath(text)
    queried = parse_qs(parts.query).get("d", [])
    path = queried[0] if queried else unquote(parts.path)
    return PurePosixPath(path.replace("\\", "/"))  # only now: addresses made on Windows have %5C


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
    others: Counter[str] = Counter()
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
        remarks.append(f"rectangles without points are left out: {counted(others)}")
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


def counted(names: Counter[str]) -> str:
    """Each name after the number of times that it occurs, separated by commas."""
    return ", ".join(f"{number} {name}" for name, number in names.items())


def coco_joint(joint: tuple[float, float, int] | None) -> tuple[float, float, int]:
    """A joint as COCO writes it: the index of the pixel, with fractions, and its visibility."""
    return (round(joint[0] - 0.5, 3), round(joint[1] - 0.5, 3), joint[2]) if joint else (0.0, 0.0, 0)


def box_of(rectangle: dict[str, Any], size: tuple[int, int]) -> list[float]:
    """The box, in pixels, around a rectangle, which may be rotated about its upper left corner (clockwise, degrees)."""
    value, (height, width) = rectangle["value"], size
    x, y = value["x"] / 100 * width, value["y"] / 100 * height
    w, h = value["width"] / 100 * width, value["height"] / 100 * height
    angle = math.radians(value.get("rotation") or 0)
    xs = [x + u * math.cos(angle) - v * math.sin(angle) for u in (0, w) for v in (0, h)]
    ys = [y + u * math.sin(angle) + v * math.cos(angle) for u in (0, w) for v in (0, h)]
    return [round(number, 3) for number in (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))]

"""COCO files in the dialects of datasets and labelling tools: rewritten, in place, as COCO itself writes them.

`docs/data.md` says what each of them writes otherwise, and what that means.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

from inspose_jax.data.label_studio import local_path
from inspose_jax.data.values import NOT_READ, is_id, is_number
from inspose_jax.skeletons import CROWDPOSE, PRESETS

WHOLE_BODY = PRESETS["coco_wholebody"]
PARTS = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}  # joints each
Entries = list[dict[str, Any]]


class Dialect(NamedTuple):
    """A way to write a COCO file."""

    name: str
    is_written_in: Callable[[dict[str, Any]], bool]
    rewrite: Callable[[dict[str, Any]], None]


def rewritten(content: dict[str, Any], where: str) -> str:
    """Rewrite the content of a COCO file, in place; returns the tool or dataset whose it is, empty if that is unknown.

    `where` is the file, whose name tells some tools.  Malformed entries stay as they are, for
    `annotations.check_entries`, and a person that the dialect does not tell has the reason in the field
    `values.NOT_READ`.
    """
    for dialect in DIALECTS:
        if dialect.is_written_in(content):
            dialect.rewrite(content)
            return dialect.name
    file_name = where.rpartition("/")[2].lower()
    return next((tool for tool, part in WRITES_AS_COCO.items() if part in file_name), "")


def entries(content: dict[str, Any], kind: str) -> Entries:
    """The entries of a list that are objects."""
    listed = content.get(kind)
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def is_crowdpose(content: dict[str, Any]) -> bool:
    """Whether the images have a crowd index."""
    return any("crowdIndex" in image for image in entries(content, "images"))


def rewrite_crowdpose(content: dict[str, Any]) -> None:
    """Name the joints as the preset does, whose top_head is called head there; its limbs are those of 17 joints."""
    for category in entries(content, "categories"):
        if isinstance(names := category.get("keypoints"), list):
            category["keypoints"] = ["top_head" if name == "head" else name for name in names]
            category["skeleton"] = [[a + 1, b + 1] for a, b in CROWDPOSE.limbs]
    for person in entries(content, "annotations"):
        person.pop("num_keypoints", None)  # counts head and neck out


def crowd_index(content: dict[str, Any]) -> dict[Any, Any]:
    """How crowded each image of CrowdPose is, from 0 to 1, by image id; empty unless all images say it."""
    images = [image for image in entries(content, "images") if is_id(image.get("id"))]
    found = {image["id"]: image.get("crowdIndex") for image in images}
    return found if found and all(map(is_number, found.values())) else {}


def is_whole_body(content: dict[str, Any]) -> bool:
    """Whether somebody has joints of the face and the hands in fields of their own."""
    return any("face_kpts" in person and "lefthand_kpts" in person for person in entries(content, "annotations"))


def rewrite_whole_body(content: dict[str, Any]) -> None:
    """Join the five fields of each person into `keypoints`; a missing one means unlabelled joints."""
    for person in entries(content, "annotations"):
        joined: list[Any] = []
        for field, number in PARTS.items():
            joints = person.get(field) or [0] * (3 * number)
            if not isinstance(joints, list) or len(joints) != 3 * number:
                found = len(joints) if isinstance(joints, list) else "no list of"
                person[NOT_READ] = (
                    f"{found} numbers for {field}, not {3 * number} (x, y, visibility of {number} joints)"
                )
                break
            joined += joints
        person["keypoints"] = None if NOT_READ in person else joined
        for field in (*PARTS, "num_keypoints")[1:]:  # num_keypoints is that of the body alone
            person.pop(field, None)
    for category in entries(content, "categories"):
        if category.get("keypoints"):
            category["keypoints"] = list(WHOLE_BODY.keypoint_names)
            category["skeleton"] = [[a + 1, b + 1] for a, b in WHOLE_BODY.limbs]


def is_label_studio(content: dict[str, Any]) -> bool:
    """Whether Label Studio signed the file."""
    info = content.get("info")
    return isinstance(info, dict) and info.get("contributor") == "Label Studio"


def rewrite_label_studio(content: dict[str, Any]) -> None:
    """Take the box of a person from the image's rectangle, and correct file names.

    All points of an image are joined into one person, who cannot be read where the image has several rectangles.  A
    rectangle that is nobody's box is a person without labelled joints if its label is that of the boxes, or `person`
    if there is no box; others stay, as annotations of another category.
    """
    for image in entries(content, "images"):
        if not isinstance(name := image.get("file_name"), str):
            continue
        if "://" in name:  # the address of an image that it could not download
            image["file_name"] = f"images/{local_path(name).name}"
        elif name.startswith(("../", "/")):
            image["file_name"] = f"images/{name.rsplit('/', 1)[-1]}"
    people: dict[str, Entries] = defaultdict(list)  # by image
    rectangles: dict[str, Entries] = defaultdict(list)
    for one in entries(content, "annotations"):
        if "keypoints" in one or "bbox" in one:
            (people if "keypoints" in one else rectangles)[str(one.get("image_id"))].append(one)
    boxes: Entries = []  # of people with points
    for image_id, of_image in people.items():
        if len(around := rectangles.get(image_id, [])) == 1:
            boxes += rectangles.pop(image_id)
        for person in of_image:
            if len(around) == 1:
                person["bbox"] = around[0]["bbox"]
            elif around:
                person.pop("bbox", None)  # that of all the points
                person["keypoints"] = None
                person[NOT_READ] = (
                    f"its image has {len(around)} rectangles, but Label Studio's COCO export joins all points of an "
                    f"image into one person; export JSON instead, and run `inspose data import`"
                )
    names = {str(category.get("id")): str(category.get("name")) for category in entries(content, "categories")}
    labels = {names.get(str(one.get("category_id"))) for one in boxes} or {"person"}
    ids = [one["id"] for one in entries(content, "annotations") if is_id(one.get("id"))]
    with_points = next((one.get("category_id") for of_image in people.values() for one in of_image), None)
    alone = (one for of_image in rectangles.values() for one in of_image)
    without_points = [one for one in alone if people and names.get(str(one.get("category_id"))) in labels]
    for number, one in enumerate(without_points, start=max(ids, default=0) + 1):  # ids of the export may be there twice
        one |= {"id": number, "category_id": with_points, "keypoints": [], "iscrowd": 0}
    taken = set(map(id, boxes))
    content["annotations"] = [one for one in content["annotations"] if id(one) not in taken]
    without_flat_boxes(content)


def is_cvat(content: dict[str, Any]) -> bool:
    """Whether people have the attribute that CVAT gives everybody."""
    attributes = (person.get("attributes") for person in entries(content, "annotations"))
    return any(isinstance(one, dict) and "occluded" in one for one in attributes)


def rewrite_cvat(content: dict[str, Any]) -> None:
    """Leave out boxes without extent."""
    without_flat_boxes(content)


def without_flat_boxes(content: dict[str, Any]) -> None:
    """Remove box and area of people whose box, that of their joints, is a point or a line.

    Then they are filled in as for any file without them, from the pixels of the joints, which have an extent.
    """
    for person in entries(content, "annotations"):
        box, joints = person.get("bbox"), person.get("keypoints")
        if isinstance(box, list) and len(box) == 4 and 0 in box[2:] and isinstance(joints, list) and any(joints):
            person.pop("bbox")
            person.pop("area", None)


DIALECTS = (
    Dialect("CrowdPose", is_crowdpose, rewrite_crowdpose),
    Dialect("COCO-WholeBody", is_whole_body, rewrite_whole_body),
    Dialect("Label Studio", is_label_studio, rewrite_label_studio),
    Dialect("CVAT", is_cvat, rewrite_cvat),
)
WRITES_AS_COCO = {"Roboflow": "_annotations.coco", "OCHuman": "ochuman"}  # and what the names of their files tell

"""Fill in the boxes and areas that a COCO file lacks.

A box is that of the pixels in which the labelled joints lie, else of the segmentation.  An area is that of the
segmentation, else the box's times `AREA_OF_BOX`.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from inspose_jax.data import masks
from inspose_jax.data.values import NOT_READ, is_box, is_id, is_number, is_side

AREA_OF_BOX = 0.53  # how much of their box people cover; CrowdPose's evaluation takes it too
Person = dict[str, Any]
Size = tuple[int, int] | None  # height and width of a person's image, if they are known


def fill_in(content: dict[str, Any]) -> tuple[str, ...]:
    """Fill in missing `bbox` and `area` in place; returns a line for each that says how many and from what.

    What nothing can be taken from stays missing, which the rules for the entries report.  So does what is missing in
    entries that could not be read.
    """
    people = [entry for entry in content["annotations"] if isinstance(entry, dict) and NOT_READ not in entry]
    lacking = {field: [person for person in people if field not in person] for field in ("bbox", "area")}
    if not any(lacking.values()):
        return ()
    images = [entry for entry in content["images"] if isinstance(entry, dict) and is_id(entry.get("id"))]
    sizes = {
        entry["id"]: (entry["height"], entry["width"])
        for entry in images
        if is_side(entry.get("height")) and is_side(entry.get("width"))
    }
    remarks = []
    for field, what in (("bbox", "box"), ("area", "area")):  # the box first, since the area may be taken from it
        used = Counter()
        for person in lacking[field]:
            image_id = person.get("image_id")
            size = sizes.get(image_id) if is_id(image_id) else None
            if found := taken_from_others(field, person, size):
                person[field], origin = found
                used[origin] += 1
        if used:
            who = "the people" if used.total() == len(people) else f"{used.total()} of {len(people)} people"
            several = len(used) > 1
            origins = " or ".join(origin + f" (for {number})" * several for origin, number in used.items())
            remarks.append(f"{who} have no {what} in the file; {origins} is taken instead")
    return tuple(remarks)


def taken_from_others(field: str, person: Person, size: Size) -> tuple[Any, str] | None:
    """A value for a field of a person, and what it is taken from; None if the other fields give none."""
    for origin, way in WAYS[field].items():
        value = way(person, size)
        if value is not None:
            return value, origin
    return None


def box_of_joints(person: Person, size: Size) -> list[float] | None:
    """The box of the pixels in which the labelled joints lie."""
    joints = person.get("keypoints")
    if not isinstance(joints, list) or len(joints) % 3 or not all(map(is_number, joints)):
        return None
    labelled = [(x, y) for x, y, v in zip(joints[::3], joints[1::3], joints[2::3], strict=True) if v > 0]
    if not labelled:
        return None
    columns = list(zip(*labelled, strict=True))
    (x0, y0), (x1, y1) = map(min, columns), map(max, columns)
    return [
        float(x0),
        float(y0),
        float(x1 - x0 + 1),
        float(y1 - y0 + 1),
    ]  # a joint is the index of a pixel, which is 1 wide


def box_of_mask(person: Person, size: Size) -> list[float] | None:
    """The box of the segmentation."""
    rle = masks.rle_of(person.get("segmentation"), size) if size else None
    return masks.box(rle) if rle else None


def area_of_mask(person: Person, size: Size) -> float | None:
    """The pixels of the segmentation, if there is any."""
    rle = masks.rle_of(person.get("segmentation"), size) if size else None
    return (masks.area(rle) or None) if rle else None


def area_of_box(person: Person, size: Size) -> float | None:
    """A part of the box's area."""
    box = person.get("bbox")
    return AREA_OF_BOX * box[2] * box[3] if is_box(box) else None


WAYS: dict[str, dict[str, Callable[[Person, Size], Any]]] = {  # by field, in the order in which they are tried
    "bbox": {"the box of the labelled joints": box_of_joints, "the box of the segmentation": box_of_mask},
    "area": {"the area of the segmentation": area_of_mask, f"{AREA_OF_BOX} x the area of the box": area_of_box},
}

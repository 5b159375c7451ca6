"""Where a COCO keypoint file and its images lie: what people have, from a file beside its images to COCO's own folders.

FOLDER/labels.json                                  images beside it, in images/ or in data/
FOLDER/annotations/person_keypoints_train2017.json  images in FOLDER/train2017/ or FOLDER/images/train2017/
"""

import contextlib
import mmap
import os
import re
from itertools import islice
from pathlib import Path
from typing import Any

from inspose_jax.data import annotations as annotation_file
from inspose_jax.data import splits
from inspose_jax.data.splits import Split
from inspose_jax.data.values import is_inside
from inspose_jax.errors import NotFound, UserError

LOOKED_FOR = 100  # images, spread over a file, that tell which folder is theirs
LOOKED_INTO = 100  # JSON files of a folder, that tell whether one of them lists images
LIST_OF_IMAGES = re.compile(rb'"images"\s*:\s*\[')
IMAGE_FOLDER = "image_folder"  # a field of `info` in files that this package writes


def is_kind(path: Path) -> bool:
    """Whether the path is a JSON file, or a folder with one in it or in its folder `annotations`."""
    return bool(json_files(path))


def read(path: Path, split: Split, category: str) -> tuple[dict[str, Any], Path]:
    """The content of the file for `split`, and the folder of its images.

    Raises NotFound or UserError if there is no such file, or more than one, or if its images are not found.
    """
    annotations = file_of(path, split)
    content = annotation_file.parsed(annotations)
    return content, image_folder(annotations, content)


def json_files(path: Path) -> list[Path]:
    """The JSON files that may hold annotations; COCO's image_info files of a folder only list images."""
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" else []  # a hidden one too, since it was given
    found = [file for folder in (path, path / "annotations") for file in sorted(filter(is_json, folder.glob("*")))]
    return [file for file in found if not file.name.startswith("image_info_")]


def is_json(path: Path) -> bool:
    """Whether the name is that of a JSON file; hidden files, such as macOS's ._train.json, are none."""
    return path.suffix.lower() == ".json" and not path.name.startswith(".")


def lists_images(path: Path) -> bool:
    """Whether one of the JSON files has a list `images`, as all COCO files have and few others."""
    return any(map(has_list_of_images, islice(json_files(path), LOOKED_INTO)))


def has_list_of_images(file: Path) -> bool:
    """Whether a JSON file has a list `images`, as its text tells: parsing a large one would take seconds."""
    with (
        contextlib.suppress(OSError, ValueError),  # it cannot be read, which the parser reports, or is empty
        file.open("rb") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as text,
    ):
        return LIST_OF_IMAGES.search(text) is not None
    return False


def file_of(path: Path, split: Split) -> Path:
    """The one file with annotations, or of several the one whose name tells that it is for keypoints of the split."""
    found = json_files(path)
    of_split = splits.chosen(found, lambda file: file.stem, split)
    chosen = [file for file in of_split if "keypoints" in file.stem.lower()] or of_split
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(str(file.relative_to(path)) for file in (chosen or found)[:5])
    more = ", .." * (len(chosen or found) > 5)
    fault = f"{len(chosen)} of them are for {split}" if chosen else f"none of them is for {split} by its name"
    raise UserError(f"{path}: holds {len(found)} JSON files, and {fault} ({names}{more}); give the file itself")


def image_folder(annotations: Path, content: dict[str, Any]) -> Path:
    """The folder that the file names of an annotation file start from: the first likely one in which they are found.

    The likeliest is the one that the file names, if `with_image_folder` made it.
    """
    some = content["images"][:: -(-len(content["images"]) // LOOKED_FOR) or 1]
    listed = (entry.get("file_name") for entry in some if isinstance(entry, dict))
    names = [name for name in listed if is_inside(name)]
    if not names:  # nothing to look for; the rules for the entries report it
        return annotations.parent
    last = annotations.stem.rpartition("_")[2]  # train2017 of person_keypoints_train2017, default of CVAT's
    places = ["", "images", "data"]
    if last != annotations.stem or splits.named(last.rstrip("0123456789")):
        # The folder of the split comes first, since those of several splits may have files of the same names.
        places = [f"images/{last}", last, *places]
    likely = [base / place for base in (annotations.parent, annotations.parent.parent) for place in places]
    info = content.get("info")
    if isinstance(info, dict) and isinstance(named := info.get(IMAGE_FOLDER), str):
        likely.insert(0, annotations.parent / named)
    for folder in likely:
        if any((folder / name).is_file() for name in names):
            return folder
    known = ", ".join(filter(None, places))
    raise NotFound(
        f"{annotations}: its images, such as {names[0]}, are neither beside it nor in a folder {known}; give theirs "
        f"with --images FOLDER --annotations {annotations}"
    )


def with_image_folder(content: dict[str, Any], images: Path, annotations: Path) -> dict[str, Any]:
    """The content of a COCO file that will be written to `annotations`, which names the folder of its images.

    The place is relative to the file, so that both may be moved together.
    """
    info = content["info"] if isinstance(content.get("info"), dict) else {}
    place = os.path.relpath(images.resolve(), annotations.resolve().parent)
    return {**content, "info": {**info, IMAGE_FOLDER: Path(place).as_posix()}}

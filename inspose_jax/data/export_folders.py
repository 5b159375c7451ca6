"""Where labelling tools and datasets put a COCO file and its images, and how they name their splits.

Roboflow: a folder for each split, with its images and `_annotations.coco.json`.  CVAT: `annotations/` has
`person_keypoints_SPLIT.json`, `images/` the images, in a folder for each split or without one; since COCO's own tree
may look the same, the images are looked for as in any COCO folder.  Label Studio: `result.json` beside `images/`.
CrowdPose: `json/` or `annotations/` has `crowdpose_SPLIT.json`, `images/` all images.
"""

from pathlib import Path
from typing import Any, NamedTuple

from inspose_jax.data import annotations as annotation_file
from inspose_jax.data import coco_layout, splits
from inspose_jax.data.splits import Split
from inspose_jax.errors import NotFound, UserError


class Export(NamedTuple):
    """A COCO file and its images, as an export has them for one split."""

    annotations: Path
    images: Path | None  # None: where its file names are found


def find(path: Path) -> dict[str, Export]:
    """The exports in a folder by split, named as the folder names them; empty if it looks like none of them."""
    return roboflow(path) or label_studio(path) or crowdpose(path) or cvat(path)


def is_kind(path: Path) -> bool:
    """Whether the folder looks like one of these exports."""
    return bool(find(path))


def file_of(path: Path, split: Split) -> Path:
    """The COCO file of a split; raises UserError as `choose` does."""
    return choose(path, split).annotations


def read(path: Path, split: Split, category: str) -> tuple[dict[str, Any], Path]:
    """The content of the file of a split, and the folder of its images.

    Raises UserError as `choose` does, and NotFound if the images were not exported.
    """
    export = choose(path, split)
    if export.images is None:
        content = annotation_file.parsed(export.annotations)
        return content, coco_layout.image_folder(export.annotations, content)
    if not export.images.is_dir():
        raise NotFound(f"{export.images}: no such folder; the images of {export.annotations} belong there")
    return annotation_file.parsed(export.annotations), export.images


def choose(path: Path, split: Split) -> Export:
    """The export of a split: train, val or test, by whatever word the folder has for it; or the only one there is.

    Raises UserError if there are others.
    """
    exports = find(path)
    found = splits.chosen(list(exports), str, split)
    exact = [name for name in found if splits.named(name.rstrip("0123456789")) == split]
    found = exact or found
    if len(found) != 1:
        known = ", ".join(found or exports)
        which = f"several parts for {split}, {known}" if found else f"no part for {split}, only {known}"
        raise UserError(f"{path}: has {which}; give the folder or the file of that part")
    return exports[found[0]]


def roboflow(path: Path) -> dict[str, Export]:
    """`train/_annotations.coco.json`, `valid/..`, `test/..`; or the folder of a single split."""
    name = "_annotations.coco.json"
    if (path / name).is_file():
        return {path.name: Export(path / name, path)}
    return {file.parent.name: Export(file, file.parent) for file in sorted(path.glob(f"*/{name}"))}


def label_studio(path: Path) -> dict[str, Export]:
    """`result.json`, whose file names begin with `images/`."""
    file = path / "result.json"
    return {"train": Export(file, path)} if file.is_file() and (path / "images").is_dir() else {}


def crowdpose(path: Path) -> dict[str, Export]:
    """`json/crowdpose_train.json`, or `annotations/mmpose_crowdpose_train.json` as MMPose distributes it."""
    files = (
        file for folder in ("json", "annotations", ".") for file in sorted(path.glob(f"{folder}/*crowdpose_*.json"))
    )
    found: dict[str, Export] = {}
    for file in filter(coco_layout.is_json, files):  # where there are both, CrowdPose's own come first
        found.setdefault(file.stem.rsplit("_", 1)[1], Export(file, path / "images"))
    return found


def cvat(path: Path) -> dict[str, Export]:
    """`annotations/person_keypoints_default.json` and `images/`."""
    files = sorted(path.glob("annotations/person_keypoints_*.json")) if (path / "images").is_dir() else []
    return {file.stem.removeprefix("person_keypoints_"): Export(file, None) for file in files}

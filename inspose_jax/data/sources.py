"""What a path given as `--data` is, and the images with people in it.

`KINDS` lists what can be read, the most particular first.  A kind is a file of this folder with three functions:
`is_kind(path)` looks at names, and into YAML files, `file_of(path, split)` is what messages begin with, and `read(path,
split, category)` returns the content of a COCO file and the folder of its images.  Which splits there are is told by
`file_of`, unless one file has them all.  All that follows, from the order of the joints to missing areas, is the same
for all kinds: `annotations.prepared`.
"""

import contextlib
import shlex
from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from inspose_jax import paths
from inspose_jax.data import annotations as annotation_file
from inspose_jax.data import coco_layout, export_folders, image_files, label_studio, yolo_pose
from inspose_jax.data.annotations import EXPORT, LABEL_STUDIO, Dataset
from inspose_jax.data.splits import WORDS, Split
from inspose_jax.errors import NotFound, UserError
from inspose_jax.skeletons import Skeleton


class Kind(NamedTuple):
    """A kind of files that can be read."""

    name: str
    is_kind: Callable[[Path], bool]
    file_of: Callable[[Path, Split], Path]
    read: Callable[[Path, Split, str], tuple[dict[str, Any], Path]]
    splits: Callable[[Path], tuple[Split, ...]]


def by_file(file_of: Callable[[Path, Split], Path]) -> Callable[[Path], tuple[Split, ...]]:
    """The splits of a path that have a file each; the first of those that share one."""

    def splits(path: Path) -> tuple[Split, ...]:
        found: dict[Path, Split] = {}
        for split in WORDS:
            with contextlib.suppress(UserError):
                found.setdefault(file_of(path, split), split)
        return tuple(found.values())

    return splits


COCO_FILE = Kind(
    "COCO keypoints", coco_layout.is_kind, coco_layout.file_of, coco_layout.read, by_file(coco_layout.file_of)
)
KINDS = (
    Kind("YOLO-pose", yolo_pose.is_kind, yolo_pose.file_of, yolo_pose.read, yolo_pose.splits_of),
    Kind(
        "COCO keypoints",
        export_folders.is_kind,
        export_folders.file_of,
        export_folders.read,
        by_file(export_folders.file_of),
    ),
    COCO_FILE,
)
CVAT_XML, CVAT_REMEDY = "annotations.xml", "export it as COCO Keypoints 1.0"
FOLDERS_LOOKED_INTO = 100  # folders below one that is no dataset, that tell whether there is one
READABLE = "a COCO keypoint JSON, a YOLO-pose data.yaml, or a folder with one and its images"


class Found(NamedTuple):
    """A dataset, and what it was found to be."""

    dataset: Dataset
    name: Path  # the file or folder that messages begin with
    kind: str


def read(path: Path, split: Split, category: str = "", skeleton: Skeleton | None = None) -> Found:
    """Read a file or folder of any kind; only the people of `category`, by default the only one with joints.

    Without a `skeleton` it is the data's own.  Raises NotFound or UserError, which says what the path looks like.
    """
    path = paths.expanded(path)
    kind = kind_of(path)
    name = kind.file_of(path, split)
    content, images = kind.read(path, split, category)
    dataset = annotation_file.prepared(content, images, name, skeleton, category)
    return Found(dataset, name, f"{kind.name} of {dataset.tool}" if dataset.tool else kind.name)


def splits(path: Path) -> tuple[Split, ...]:
    """The splits that a file or folder of any kind has; `train` if it has only one, or if they cannot be told apart.

    Raises as `read`.
    """
    path = paths.expanded(path)
    return kind_of(path).splits(path) or ("train",)


def kind_of(path: Path) -> Kind:
    """What a path is; raises NotFound or UserError, which says what it looks like, if it cannot be read."""
    if not path.exists():
        raise NotFound(f"{path}: no such file or folder of data; give {READABLE}")
    if (path / "checkpoints").is_dir():  # before its JSON files are taken for labels
        raise UserError(f"{path}: looks like the folder of a training run, not like data; give {READABLE}")
    if label_studio.is_kind(path):
        raise UserError(f"{path}: looks like {LABEL_STUDIO}")
    kind = kind_by_names(path)
    if kind is None or (path.is_dir() and has_other_json(path, kind) and labels_of(path)):
        raise UserError(f"{path}: {looks_like(path)}")
    return kind


def kind_by_names(path: Path) -> Kind | None:
    """The first kind that the names in a path tell; None if there is none."""
    return next((kind for kind in KINDS if kind.is_kind(path)), None)


def kind_below(path: Path) -> Kind | None:
    """`kind_by_names` of a folder that nobody asked for: None too if something in it cannot be read."""
    with contextlib.suppress(OSError):
        return kind_by_names(path)
    return None


def has_other_json(path: Path, kind: Kind) -> bool:
    """Whether a path is of a kind only by the names of JSON files that are not COCO's, such as notes or settings."""
    return kind is COCO_FILE and not coco_layout.lists_images(path)


def has_file_per_image(path: Path) -> bool:
    """Whether a folder has a JSON beside every image, as LabelMe and VIA write them."""
    if not path.is_dir():
        return False
    found = [file.stem for file in path.iterdir() if coco_layout.is_json(file)]
    images = {file.stem for file in path.iterdir() if file.suffix.lower() in image_files.SUFFIXES}
    return len(found) > 1 and images.issuperset(found)


def looks_like(path: Path) -> str:
    """What a path that cannot be read looks like, and what to do."""
    remedy = f"give {READABLE}"
    if path.is_file():
        if ".array_record" in path.name or ".tfrecord" in path.name:
            return f"looks like one of the files of a built set; give its folder {path.parent}"
        if path.name == CVAT_XML:
            return f"looks like CVAT's XML; {CVAT_REMEDY}"
        if yolo_pose.is_label_file(path):
            return "looks like the labels of one image of a YOLO dataset; give the data.yaml"
        for suffixes, words in FILES.items():
            if path.suffix.lower() in suffixes:
                return f"looks like {words}"
        return f"is a {path.suffix or 'nameless kind of'} file, which is not read as a dataset; {remedy}"
    if words := labels_of(path):
        return words
    if any(file.suffix.lower() in image_files.SUFFIXES for file in path.iterdir()):
        return f"is a folder of images without labels; {remedy}, or find people in them with inspose predict"
    return f"no kind of dataset is recognised in it; {remedy}"


def labels_of(path: Path) -> str:
    """What labels are in a folder that cannot be read, and what to do; empty if none are recognised."""
    if found := datasets_below(path):
        names = ", ".join(str(one.relative_to(path)) for one in found[:5]) + ", .." * (len(found) > 5)
        folders, give = ("folders", "give one of them, as") if len(found) > 1 else ("folder", "give")
        give += f" --data {shlex.quote(str(found[0]))}"
        return f"no kind of dataset is recognised in it, but in its {folders} {names}; {give}"
    if has_file_per_image(path):
        return f"looks like a folder of LabelMe, with a JSON for each image; {EXPORT}"
    if (path / CVAT_XML).is_file():
        return f"looks like CVAT's XML; {CVAT_REMEDY}"
    if any(file.suffix.lower() == ".xml" for file in [*path.iterdir(), *path.glob("Annotations/*.xml")]):
        return f"looks like Pascal VOC, with an XML for each image; {EXPORT}"
    if any(".tfrecord" in file.name for file in path.iterdir()):
        return f"looks like TFRecord files, which only TensorFlow reads; {EXPORT}"
    if yolo_pose.has_label_files(path):
        return (
            "looks like YOLO labels without data.yaml; give the folder that has it, or write one with kpt_shape, "
            "flip_idx, names and train"
        )
    if (path / "labels").is_dir() and (path / "classes.txt").is_file():  # which Label Studio writes for boxes, too
        return f"looks like YOLO labels without joints; {EXPORT}"
    if any(chain(path.glob("ann/*.*.json"), path.glob("*/ann/*.*.json"))):
        return f"looks like a project of Supervisely; {EXPORT}"
    return ""


def datasets_below(path: Path) -> list[Path]:
    """The datasets in the folders of a folder, and in the folders of these, but for those inside another dataset."""
    folders = islice(chain(path.glob("*/"), path.glob("*/*/")), FOLDERS_LOOKED_INTO)
    visible = (one for one in folders if not any(part.startswith(".") for part in one.relative_to(path).parts))
    kinds = {folder: kind_below(folder) for folder in visible}
    found = {folder for folder, kind in kinds.items() if kind and not has_other_json(folder, kind)}
    return sorted(folder for folder in found if folder.parent not in found)


FILES: dict[tuple[str, ...], str] = {
    (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".xz"): "an archive; unpack it, and give the folder",
    image_files.SUFFIXES: "an image; give its labels too: a folder with a COCO keypoint JSON and the images",
    (".csv", ".tsv", ".txt", ".xml", ".mat", ".pkl", ".h5", ".parquet"): "labels of a kind that is not read; export "
    "them as COCO keypoints from the tool that wrote them",
}

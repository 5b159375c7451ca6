"""Read a YOLO-pose folder (`data.yaml` and one text file an image) as the content of a COCO file.

Every row of a text file is a person: class, box (centre and size), then 2 or 3 numbers a joint, all as fractions of the
image as a viewer shows it.  Converters divide COCO's numbers by the image's size, so a joint times the size is again
COCO's index of a pixel, while boxes are continuous in both.
"""

import contextlib
import os
import warnings
from itertools import chain, islice
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

import yaml

from inspose_jax import skeletons
from inspose_jax.data import categories, category_skeleton, image_files, orientation, splits
from inspose_jax.data.image_files import SUFFIXES
from inspose_jax.data.splits import Split
from inspose_jax.data.values import LEFT_OUT, NO_IMAGE, NOT_READ, READ_FROM, whole
from inspose_jax.errors import NotFound, UserError

Pairs = tuple[tuple[int, int], ...]

ROUNDING = 1e-6  # how far above 1 a fraction of a box may lie
OUTSIDE_BY = 0.1  # how far outside the image, in its widths or heights, a joint may lie; farther, it is no fraction
LOOKED_AT = 100  # text files, of which some may be empty, that tell whether they are labels
BOX = 5  # numbers of a row before its joints: class, x, y, width, height


class YoloDataset(NamedTuple):
    """What `data.yaml` says."""

    path: Path  # of the YAML file
    settings: dict[str, Any]
    classes: dict[int, str]
    joints: tuple[str, ...]  # their names
    pairs: Pairs | None  # of joints that `flip_idx` exchanges; None without it
    per_joint: int  # 2 or 3 numbers


class Listed(NamedTuple):
    """An image of a split."""

    path: Path
    fault: str = ""  # why it is not there; empty if it is
    read_from: str = ""  # then the file and line that name it


class Row(NamedTuple):
    """A row of a text file."""

    line: int  # its number, from 1
    numbers: list[float]
    fault: str  # what is wrong with it; empty for a good one


def find(path: Path) -> Path | None:
    """The YAML file of a YOLO-pose dataset: `path` itself, or the one in this folder; None if there is none."""
    if path.is_file():
        return path if path.suffix.lower() in (".yaml", ".yml") else None
    if not path.is_dir():
        return None
    listed = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
    with_joints = [one for one in listed if "kpt_shape" in one.read_text(errors="replace")]
    named = [one for one in with_joints or listed if one.stem == "data"]
    return named[0] if named else with_joints[0] if len(with_joints) == 1 else None


def is_kind(path: Path) -> bool:
    """Whether `path` is a YAML file, or a folder with the one of a YOLO dataset."""
    return find(path) is not None


def file_of(path: Path, split: Split) -> Path:
    """The YAML file, which has all splits; raises NotFound if there is none."""
    file = find(path)
    if file is None:
        raise NotFound(f"{path}: no data.yaml; give the YAML file of a YOLO-pose dataset, or its folder")
    return file


def splits_of(path: Path) -> tuple[Split, ...]:
    """The splits that the YAML file names; raises UserError if it cannot be read.

    A `test` without images does not count: some tools write a line for it, whether there are any or not.
    """
    dataset = read_yaml(file_of(path, "train"))
    named: list[Split] = [split for split in splits.WORDS if named_places(dataset, split)]
    is_empty = not any(located(dataset, place) for place in named_places(dataset, "test"))
    return tuple(split for split in named if not (split == "test" and is_empty))


def read(path: Path, split: Split, category: str) -> tuple[dict[str, Any], Path]:
    """The content of a COCO file, and the folder that its file names start from.

    `split` is one of the YAML file's train, val and test; `category` is needed, and not "", where there are several
    classes.  Images whose text file is missing or empty have no people; nobody has an `area`.  What is wrong with an
    image or a row stands in its entry (`values.NOT_READ`).  Raises UserError, or its subclass NotFound, for what
    concerns the whole.
    """
    dataset = read_yaml(file_of(path, split))
    chosen = choose_class(dataset, category)
    joints = joint_names(dataset.path, dataset.settings, len(dataset.joints), dataset.pairs, chosen)
    dataset = dataset._replace(joints=joints)
    listed = list_images(dataset, split)
    there = [image.path for image in listed if not image.fault]
    if not any(label_file(image).is_file() for image in there):  # a few may lack theirs, having no people
        raise NotFound(
            f"{dataset.path}: none of the {len(there)} images of `{split}` has a text file of labels; the first one's "
            f"was looked for at {label_file(there[0])}"
        )
    images = Path(os.path.commonpath([one.parent for one in there]))
    entries, people, turned = [], [], []
    for image in listed:
        entry, size = image_entry(image, images, len(entries) + 1)
        if size is None and NOT_READ not in entry:
            turned.append(image.path)
            continue
        entries.append(entry)
        labels = label_file(image.path)
        for row in read_rows(labels, dataset):
            is_chosen = bool(row.numbers) and row.numbers[0] == chosen
            if row.fault or (is_chosen and size):  # without a size the image is at fault, and so are its good rows
                one = {"id": len(people) + 1, "image_id": entry["id"], "category_id": 1}
                one[READ_FROM] = f"{labels}, line {row.line}"
                people.append(one | person(row, dataset, size if is_chosen else None))
    if turned and not entries:
        raise UserError(f"{dataset.path}: {orientation.left_out(turned)}; there is no other image")
    if turned:
        warnings.warn(f"{dataset.path}: {orientation.left_out(turned)}", stacklevel=2)
    alone = [str(path) for path in without_image(dataset, split, there)]
    if alone:
        files = f"{len(alone)} text file{'s' * (len(alone) > 1)} of labels"
        warnings.warn(f"{dataset.path}: no image belongs to {files}, such as {alone[0]}", stacklevel=2)
    listing: dict[str, Any] = {"id": 1, "name": dataset.classes[chosen], "keypoints": list(dataset.joints)}
    listing |= {"flip_pairs": dataset.pairs} if dataset.pairs is not None else {}
    content = {"images": entries, "annotations": people, "categories": [listing]}
    return content | {LEFT_OUT: list(map(str, turned)), NO_IMAGE: alone}, images


def read_yaml(file: Path) -> YoloDataset:
    """Read and check `data.yaml`; raises UserError naming the first fault."""
    try:
        settings = yaml.safe_load(file.read_text("utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not YAML ({' '.join(str(error).split())}); correct the file") from None
    if not isinstance(settings, dict):
        raise UserError(f"{file}: not a YOLO dataset; it needs names, kpt_shape, flip_idx and train")
    if "kpt_shape" not in settings:
        raise UserError(f"{file}: no kpt_shape, so its labels have no joints; give a pose dataset, as [17, 3]")
    shape = settings["kpt_shape"]
    if not is_whole_list(shape) or len(shape) != 2 or shape[0] < 1 or shape[1] not in (2, 3):
        raise UserError(f"{file}: kpt_shape is {shape}, not the number of joints and 2 or 3 numbers each, as [17, 3]")
    classes = named(settings.get("names"))
    if not classes:
        raise UserError(f"{file}: no names of classes; write them as `names: [person]`")
    pairs = flip_pairs(file, settings, shape[0])
    names = joint_names(file, settings, shape[0], pairs)
    if pairs is None and not category_skeleton.flip_pairs(names):
        raise UserError(f"{file}: no flip_idx; give each joint's index in a mirrored image, its own if it has no side")
    return YoloDataset(file, settings, classes, names, pairs, shape[1])


def is_whole_list(value: Any) -> bool:
    """Whether the value is a list of whole numbers."""
    return isinstance(value, list) and all(type(number) is int for number in value)


def named(value: Any) -> dict[int, str]:
    """Names by number, from a list or a mapping; empty if the value is neither."""
    pairs = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    listed = [(whole(number), name) for number, name in pairs]
    return {number: str(name) for number, name in listed} if all(type(number) is int for number, _ in listed) else {}


def flip_pairs(file: Path, settings: dict[str, Any], number: int) -> Pairs | None:
    """The pairs of joints that `flip_idx` exchanges; None without it."""
    order = settings.get("flip_idx")
    if order is None:
        return None
    if not is_whole_list(order) or len(order) != number:
        raise UserError(f"{file}: flip_idx is not a list of {number} whole numbers, one for each joint of kpt_shape")
    if outside := [joint for joint in order if not 0 <= joint < number]:
        raise UserError(f"{file}: flip_idx has {outside[0]}; joints are counted from 0 to {number - 1}")
    for joint, other in enumerate(order):
        if order[other] != joint:
            raise UserError(
                f"{file}: flip_idx does not pair: joint {joint} becomes {other}, but {other} becomes {order[other]}"
            )
    return tuple((joint, other) for joint, other in enumerate(order) if joint < other)


def joint_names(
    file: Path, settings: dict[str, Any], number: int, pairs: Pairs | None, chosen: int | None = None
) -> tuple[str, ...]:
    """The joints' names: `kpt_names`, else COCO's if number and pairs are COCO's, else numbers.

    Where `kpt_names` has a list for each class, it is that of the class `chosen`, by default the first one.
    """
    given = settings.get("kpt_names")
    if isinstance(given, dict):
        first = next(iter(given.values()), None)
        given = {whole(number): names for number, names in given.items()}  # some write "0"
        given = given.get(chosen, first) if all(isinstance(one, list) for one in given.values()) else given
        given = list(named(given).values()) if isinstance(given, dict) else given
    if given is not None:
        names = tuple(map(str, given)) if isinstance(given, list) else ()
        if len(set(names)) != number or len(names) != number:
            raise UserError(f"{file}: kpt_names must be {number} different names, one for each joint of kpt_shape")
        return names
    if number == skeletons.COCO.num_keypoints and pairs and set(pairs) == set(skeletons.COCO.flip_pairs):
        return skeletons.COCO.keypoint_names
    return category_skeleton.numbered(number).keypoint_names


def choose_class(dataset: YoloDataset, category: str) -> int:
    """The number of the class called `category`, or of the only one; raises UserError if that is not clear."""
    listed = ", ".join(dataset.classes.values())
    if not category and len(dataset.classes) > 1:
        raise UserError(f"{dataset.path}: {len(dataset.classes)} classes ({listed}); choose one by --category NAME")
    if not category:
        return next(iter(dataset.classes))
    named_classes = [{"id": number, "name": name} for number, name in dataset.classes.items()]
    return categories.named_category(named_classes, category, dataset.path)["id"]


def list_images(dataset: YoloDataset, split: Split) -> list[Listed]:
    """The images of a split, which is a folder, a list file, or several of them; at least one of them is there."""
    named = named_places(dataset, split)
    if not named:
        known = [name for name in splits.WORDS if named_places(dataset, name)]
        raise UserError(f"{dataset.path}: no images are named by `{split}`; it has {', '.join(known) or 'no split'}")
    found: list[Listed] = []
    for place in named:
        where = located(dataset, place)
        if where is None:
            raise NotFound(f"{dataset.path}: {not_there(dataset, place)}; correct the path, or put the images there")
        if where.is_dir():
            found += [Listed(one) for one in sorted(where.rglob("*")) if is_image(one)]
            continue
        try:
            lines = where.read_text("utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise UserError(f"{where}: not a list of images in UTF-8, one a line; save it as UTF-8") from None
        for number, line in enumerate((line.strip().replace("\\", "/") for line in lines), start=1):
            if line:
                image = where.parent / line  # an absolute path stays as it is
                if known := image if image.is_file() else located(dataset, line):
                    found.append(Listed(known))
                else:
                    found.append(Listed(image, not_there(dataset, line), f"{where}, line {number}"))
    if not found:
        raise UserError(f"{dataset.path}: `{split}` names {', '.join(named)}, where there is no image")
    if all(image.fault for image in found):
        raise NotFound(f"{found[0].read_from}: {found[0].fault}")
    paths = (image._replace(path=Path(os.path.abspath(image.path))) for image in found)
    return list({image.path: image for image in paths}.values())


def named_places(dataset: YoloDataset, split: Split) -> list[str]:
    """The folders and list files of a split; none if the YAML file does not name it."""
    value = next((dataset.settings[word] for word in splits.WORDS[split] if dataset.settings.get(word)), [])
    return [str(place).replace("\\", "/") for place in (value if isinstance(value, list) else [value])]


def is_image(path: Path) -> bool:
    """Whether the name is that of an image; hidden files, such as macOS's ._1.jpg, are none."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def places(dataset: YoloDataset, place: str) -> list[Path]:
    """Where the file or folder `place` may lie: below the dataset's `path`, or below the folder of the YAML file.

    A dataset that was moved is found, also by an absolute path of before, whose ends are looked for; and Roboflow's
    `../train/images`, which means a folder beside the YAML file.
    """
    home = dataset.path.parent
    roots = [home / str(dataset.settings.get("path") or ""), home]
    named = PureWindowsPath(place)  # which takes both kinds of slashes
    # Not the last word alone: it is often `images`, of any split.
    ends = ["/".join(named.parts[first:]) for first in range(1, len(named.parts) - 1)] if named.root else []
    return [root / one for root in roots for one in (place, place.removeprefix("../"))] + [home / one for one in ends]


def located(dataset: YoloDataset, place: str) -> Path | None:
    """The file or folder that the dataset calls `place`; None if it is not there."""
    return next((one for one in places(dataset, place) if one.exists()), None)


def not_there(dataset: YoloDataset, place: str) -> str:
    """The message for a `place` that is not there."""
    tries = dict.fromkeys(map(str, (places(dataset, place)[0], dataset.path.parent / place)))
    return f"{place} is not there; tried {' and '.join(tries)}"


def image_entry(image: Listed, images: Path, number: int) -> tuple[dict[str, Any], tuple[int, int] | None]:
    """The COCO entry of an image, with its name below `images`, and its size (height, width).

    Without a size, either the entry says what is wrong with the file, or its orientation is one that cannot be told.
    """
    if image.fault:
        missing = {"id": number, "file_name": image.path.as_posix()}
        return missing | {READ_FROM: image.read_from, NOT_READ: image.fault}, None
    entry: dict[str, Any] = {"id": number, "file_name": image.path.relative_to(images).as_posix()}
    try:
        size = image_files.displayed_size(image.path)
    except (OSError, UserError) as error:
        fault = str(error).removeprefix(f"{image.path}: ")
        return entry | {READ_FROM: str(image.path), NOT_READ: fault}, None
    if size:
        entry["height"], entry["width"] = size
    return entry, size


def label_file(image: Path) -> Path:
    """The text file of an image: the last folder called images becomes labels; without one it is beside the image."""
    parts = list(image.with_suffix(".txt").parts)
    for place in range(len(parts) - 2, 0, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts)


def without_image(dataset: YoloDataset, split: Split, images: list[Path]) -> list[Path]:
    """The text files that belong to none of a split's `images`, though they lie where those of its folders do."""
    known = set(map(label_file, images))
    named = [located(dataset, place) for place in named_places(dataset, split)]
    folders = {label_file(Path(os.path.abspath(where)) / "any").parent for where in named if where and where.is_dir()}
    found = {path for folder in folders for path in folder.rglob("*.txt")} - known
    return sorted(path for path in found if is_label_file(path, fewest=BOX))


def has_label_files(path: Path) -> bool:
    """Whether a folder has text files of labels, in itself, one folder below, or in `labels` as YOLO's folders do."""
    found = chain.from_iterable(map(path.glob, ("*.txt", "*/*.txt", "labels/**/*.txt", "*/labels/*.txt")))
    return any(map(is_label_file, islice(found, LOOKED_AT)))


def is_label_file(path: Path, fewest: int = BOX + 1) -> bool:
    """Whether a file is a text file whose first line may be a row: only numbers, at least `fewest` of them.

    By default they must be more than those of a box.
    """
    if path.suffix.lower() != ".txt" or not path.is_file():
        return False
    with contextlib.suppress(ValueError, OSError), path.open(encoding="utf-8-sig") as file:  # so is what is no UTF-8
        first = next((words for line in file if (words := line.split())), [])
        return len([float(word) for word in first]) >= fewest
    return False


def read_rows(path: Path, dataset: YoloDataset) -> list[Row]:
    """The rows of a text file, each with its fault; none if there is no file."""
    if not path.is_file():
        return []
    rows = []
    for line, text in enumerate(path.read_text("utf-8-sig", errors="replace").splitlines(), start=1):
        try:
            row = Row(line, [float(word) for word in text.split()], "")
        except ValueError as error:
            rows.append(Row(line, [], f"{error}; a row is numbers separated by spaces"))
            continue
        if row.numbers:
            rows.append(row._replace(fault="; ".join(row_faults(row.numbers, dataset))))
    return rows


def row_faults(row: list[float], dataset: YoloDataset) -> list[str]:
    """What is wrong with a row: a text for its box and each kind of fault of its joints, if all are there."""
    if len(row) != length(dataset):
        return [
            f"{len(row)} numbers, not {length(dataset)}: class, x, y, width, height, and {len(dataset.joints)} joints "
            f"of {dataset.per_joint} (kpt_shape)"
        ]
    before_joints = [fault] if (fault := box_fault(row, dataset)) else []
    return before_joints + joint_faults(row, dataset)


def length(dataset: YoloDataset) -> int:
    """How many numbers a row has."""
    return BOX + len(dataset.joints) * dataset.per_joint


def box_fault(row: list[float], dataset: YoloDataset) -> str:
    """What is wrong with the class and the box of a row, as text; empty if nothing is."""
    if row[0] not in dataset.classes:
        return f"class {row[0]:g} is not among the names 0 to {max(dataset.classes)}"
    if outside := [number for number in row[1:BOX] if not is_fraction(number)]:
        return f"{outside[0]:g} in the box is not from 0 to 1; boxes are fractions of the image's size"
    return ""


def joint_faults(row: list[float], dataset: YoloDataset) -> list[str]:
    """What is wrong with the joints of a row of the right length: a text of each kind, naming the first such joint.

    A joint just outside the image is none of it: its row can be read, and `inspose data check` judges it as any other.
    """
    each = dataset.per_joint
    of_visibility, of_place = [], []
    for joint in range(len(dataset.joints)):
        x, y, *visibility = row[BOX + each * joint : BOX + each * (joint + 1)]
        if visibility and visibility[0] not in (0, 1, 2):
            of_visibility.append(f"joint {joint} has visibility {visibility[0]:g}, not 0, 1 or 2")
        elif is_labelled(x, y, visibility) and not (is_fraction(x, OUTSIDE_BY) and is_fraction(y, OUTSIDE_BY)):
            of_place.append(
                f"joint {joint} at {x:g}, {y:g} is not from 0 to 1; joints are fractions of the image's size"
            )
    return [first_of(faults) for faults in (of_visibility, of_place) if faults]


def first_of(faults: list[str]) -> str:
    """The first of several like faults, with the number of the others."""
    more = len(faults) - 1
    return faults[0] + (f" (and {more} more joint{'s' * (more > 1)})" if more else "")


def is_fraction(number: float, beside: float = 0.0) -> bool:
    """Whether a number is from 0 to 1, or `beside` these at most; not if it is NaN."""
    return -beside <= number <= 1 + beside + ROUNDING


def is_labelled(x: float, y: float, visibility: list[float]) -> bool:
    """Whether a joint is labelled; without visibilities, a joint at (0, 0) is not."""
    return visibility[0] > 0 if visibility else bool(x or y)


def has_box(row: Row, dataset: YoloDataset) -> bool:
    """Whether a row has a box that can be used: with all its joints, or none at all, as in a dataset for detection."""
    return not row.fault or (len(row.numbers) in (BOX, length(dataset)) and not box_fault(row.numbers, dataset))


def person(row: Row, dataset: YoloDataset, size: tuple[int, int] | None) -> dict[str, Any]:
    """The fields that the COCO annotation of a row takes from it, in pixels of an image of `size` (height, width).

    They are no area, and for a bad row its fault, and the box only if that can be used.  Without a size, for an image
    that cannot be read or a row of another class, the row must be a bad one.
    """
    height, width = size or (0, 0)
    box = {}
    if size and has_box(row, dataset):
        x, y, w, h = (n * side for n, side in zip(row.numbers[1:BOX], (width, height, width, height), strict=True))
        box = {"bbox": [x - w / 2, y - h / 2, w, h]}
    if row.fault:
        return {NOT_READ: row.fault, "keypoints": None} | box
    keypoints: list[float] = []
    for start in range(BOX, len(row.numbers), dataset.per_joint):
        u, v, *visibility = row.numbers[start : start + dataset.per_joint]
        labelled = is_labelled(u, v, visibility)
        keypoints += [u * width, v * height, int(visibility[0]) if visibility else 2] if labelled else [0, 0, 0]
    return box | {"iscrowd": 0, "num_keypoints": sum(v > 0 for v in keypoints[2::3]), "keypoints": keypoints}

"""A made-up dataset for the readers of every kind of file: black images in which each joint is one lit pixel."""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from inspose_jax.data import annotations
from inspose_jax.data.coco import CocoFolder
from inspose_jax.evaluation import coco_ap

NAMES = ("l_ear", "r_ear", "tail", "l_hoof", "r_hoof")
NAME = Path("labels")  # what messages begin with
OFFSET = 0.5  # of a joint in continuous pixels from COCO's index


class Horse(NamedTuple):
    """One animal: the pixels of its joints (None: not labelled) and its box, x, y, width, height."""

    joints: tuple[tuple[int, int] | None, ...]
    box: tuple[int, int, int, int]


# The images' height and width, and their horses; the sizes differ, so that exchanged x and y do not go unnoticed.
IMAGES = {
    "1.png": ((40, 64), [Horse(((3, 5), (20, 6), (9, 30), (0, 39), None), (0, 2, 30, 38))]),
    "2.png": ((50, 30), [Horse(((29, 0), (1, 2), None, (7, 49), (12, 13)), (0, 0, 30, 50))]),
    "sub/3.png": (
        (32, 96),
        [
            Horse(((40, 8), (50, 9), (60, 10), (45, 30), (55, 31)), (38, 6, 24, 26)),
            Horse(((80, 8), (90, 9), None, None, (95, 31)), (78, 4, 18, 28)),
        ],
    ),
    "4.png": ((20, 20), []),
}


def brightness(joint: int) -> int:
    return 60 + 40 * joint


def write_images(folder: Path, suffix: str = ".png") -> None:
    """Write the images below `folder`, losslessly."""
    for name, ((height, width), horses) in IMAGES.items():
        pixels = np.zeros((height, width, 3), np.uint8)
        for horse in horses:
            for joint, place in enumerate(horse.joints):
                if place is not None:
                    pixels[place[1], place[0]] = brightness(joint)
        path = (folder / name).with_suffix(suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def turn(path: Path, orientation: int) -> None:
    """Store an image otherwise, so that a viewer that follows its EXIF orientation shows it as before."""
    undo = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(path) as image:
        image.transpose(undo).save(path, exif=exif)


def coco_keypoints(horse: Horse, shift: float = 0.0) -> list[float]:
    return [number for place in horse.joints for number in (joint(place, shift) if place else (0, 0, 0))]


def joint(place: tuple[int, int], shift: float) -> tuple[float, float, int]:
    return place[0] + shift, place[1] + shift, 2


def coco(category: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The content of a COCO file of this category, where people have `fields` too."""
    images, annotations = [], []
    for number, (name, ((height, width), horses)) in enumerate(IMAGES.items(), start=1):
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        for horse in horses:
            one = {"id": len(annotations) + 1, "image_id": number, "category_id": category["id"]}
            one |= {"bbox": list(horse.box), "keypoints": coco_keypoints(horse), **fields}
            annotations.append(one)
    return {"images": images, "annotations": annotations, "categories": [category]}


def opened(read: tuple[dict[str, Any], Path]) -> CocoFolder:
    """A source over what a reader returned."""
    content, images = read
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(have no area|joints of its own|left out)")
        return CocoFolder.of(annotations.prepared(content, images, NAME, None), NAME, OFFSET)


def check_lit_pixels(
    source: CocoFolder, num_horses: int = 4, first: int = 0, joints: tuple[int, ...] | None = None
) -> None:
    """Every label lies on the middle of the pixel that is lit for its joint, and no joint is missing.

    The horses' joints are those from `first` on, or `joints`, of the source's skeleton.
    """
    ours = {joint: number for number, joint in enumerate(joints or range(first, first + len(NAMES)))}
    horses = 0
    for index in range(len(source)):
        sample = source[index]
        lit = {}
        for keypoints in sample.keypoints:
            horses += 1
            for k, (x, y, v) in enumerate(keypoints):
                if v > 0:
                    lit[int(y), int(x)] = brightness(ours[k])
                    np.testing.assert_allclose((x % 1, y % 1), 0.5, atol=1e-3)
        shown = {(int(y), int(x)): int(sample.image[y, x, 0]) for y, x in np.argwhere(sample.image[..., 0])}
        assert lit == shown, source.labels.file_names[index]
    assert horses == num_horses


def check_perfect(source: CocoFolder) -> None:
    """The labels, handed in as predictions, have an AP of 1."""
    truth = source.ground_truth()
    results = [
        {"image_id": one["image_id"], "category_id": 1, "keypoints": one["keypoints"], "score": 0.5}
        for one in truth["annotations"]
        if one["num_keypoints"] and not one["iscrowd"]
    ]
    assert len(results) > 0
    statistics = coco_ap.keypoint_ap(truth, results, source.skeleton)
    assert statistics["AP"] == statistics["AR"] == 1.0

"""Functions that prepare bad or unusual input in the folder in which a command of `bad_input.py` is run.

The folder has a run `run`, a drawn dataset `drawn`, and a recipe for it, `small.py`.
"""

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from inspose_jax.data import video_files

JSON = "drawn/annotations.json"
FIRST = "drawn/images/000000000000.jpg"
SMALL = """
from inspose_jax.config import Config, Data, Model, Network
def recipe():
    towers = dict(fpn_channels=8, head_channels=8, keypoint_channels=8, dense_channels=8)
    depths = dict(head_depth=1, keypoint_depth=1)
    model = Model(network=Network("resnet18", (4, 4, 4, 4), "trained", 0, **towers, **depths))
    return Config(model, Data(short_side=(64, 64), test_short_side=64, shapes=((64, 64),)))
"""


def labels(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Change the content of the drawn dataset's JSON."""

    def prepare(folder: Path) -> None:
        path = folder / "drawn/annotations.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return prepare


def first_image(**fields: Any) -> Callable[[Path], None]:
    """Change fields of the first entry of `images`."""
    return labels(lambda content: content["images"][0].update(fields))


def first_person(**fields: Any) -> Callable[[Path], None]:
    """Change fields of the first entry of `annotations`."""
    return labels(lambda content: content["annotations"][0].update(fields))


def without(kind: str, field: str) -> Callable[[Path], None]:
    """Remove a field from every entry of a list."""
    return labels(lambda content: [entry.pop(field, None) for entry in content[kind]])


def file(name: str, content: str | bytes = b"") -> Callable[[Path], None]:
    """A file with this content, replacing whatever is there."""

    def prepare(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return prepare


def folder(name: str) -> Callable[[Path], None]:
    """An empty folder."""
    return lambda here: (here / name).mkdir(parents=True, exist_ok=True)


def loop(name: str) -> Callable[[Path], None]:
    """A symbolic link to itself."""
    return lambda here: (here / name).symlink_to(Path(name).name)


def mode(name: str, permissions: int) -> Callable[[Path], None]:
    """Set the permissions of a path."""
    return lambda here: (here / name).chmod(permissions)


def recipe(content: str) -> Callable[[Path], None]:
    return file("mine.py", content)


def sweep(*depths: str) -> Callable[[Path], None]:
    """A sweep `table` over depths of KP-Nets, with one seed; a row's label is its depth."""
    return file(
        "table/sweep.py",
        f"""from inspose_jax.sweep.rows import Row, Sweep

def sweep():
    rows = tuple(Row(depth, f"--config.model.kp-net.depth {{depth}}") for depth in {depths})
    return Sweep("Depth?", rows, steps=2400, seeds=(0,))
""",
    )


def copied(source: str, *names: str) -> Callable[[Path], None]:
    """Copies of a file of the drawn dataset."""
    return lambda here: [shutil.copy(here / source, here / name) for name in names]


def placed(*names: str) -> Callable[[Path], None]:
    """Copies of the drawn dataset's JSON, in folders that are made."""
    return both(*(folder(str(Path(name).parent)) for name in names), copied(JSON, *names))


def yolo(settings: str, row: str = "0 .5 .5 .2 .2 .5 .5 2 .6 .6 2") -> Callable[[Path], None]:
    """A YOLO-pose folder with an image and a row for it; what `settings` leaves out of `data.yaml` is added."""
    usual = {"names": "[person]", "kpt_shape": "[2, 3]", "flip_idx": "[1, 0]", "train": "images"}
    lines = [f"{name}: {value}\n" for name, value in usual.items() if f"{name}:" not in settings]
    return both(
        file("yolo/data.yaml", settings + "\n" + "".join(lines)),
        file("yolo/labels/1.txt", row),
        folder("yolo/images"),
        copied(FIRST, "yolo/images/1.jpg"),
    )


def label_studio(*parents: str | None) -> Callable[[Path], None]:
    """Label Studio's JSON of a task with two rectangles, r0 and r1, and a point `nose` of each of these parents."""
    size = {"original_width": 100, "original_height": 50, "image_rotation": 0}
    box = {"x": 1, "y": 2, "width": 3, "height": 4, "rectanglelabels": ["person"]}
    nose = {"x": 2, "y": 3, "width": 1, "keypointlabels": ["nose"]}
    results: list[dict[str, Any]] = [{"id": f"r{n}", "type": "rectanglelabels", "value": box} | size for n in range(2)]
    for number, parent in enumerate(parents):
        own = {"parentID": parent} if parent else {}
        results.append({"id": f"p{number}", "type": "keypointlabels", "value": nose} | size | own)
    task = {"id": 7, "data": {"image": "/data/upload/1/1.jpg"}, "annotations": [{"result": results}]}
    return file("export.json", json.dumps([task]))


def built(*steps: Callable[[Path], object]) -> Callable[[Path], None]:
    """Build the drawn dataset as `built`, and change something in its folder with the files."""

    def prepare(here: Path) -> None:
        from inspose_jax.data import coco, tfds_builder
        from inspose_jax.skeletons import COCO

        source = coco.CocoFolder(here / "drawn/images", here / JSON, COCO, 0.0)
        version = tfds_builder.build(here / "built", {"train": source}, False, 2, 1, lambda: None)
        for step in steps:
            step(version)

    return prepare


def damaged_record(version: Path) -> None:
    """Change bytes in the middle of the first image of a built set."""
    path = version / "keypoints-train.array_record-00000-of-00002"
    data = bytearray(path.read_bytes())
    start = data.index(b"\xff\xd8\xff") + 400
    data[start : start + 10] = bytes(255 - byte for byte in data[start : start + 10])
    path.write_bytes(data)


def both(*steps: Callable[[Path], object]) -> Callable[[Path], None]:
    def prepare(here: Path) -> None:
        for step in steps:
            step(here)

    return prepare


def video(name: str) -> Callable[[Path], None]:
    """Write a video of three frames."""

    def prepare(folder: Path) -> None:
        with video_files.writing(folder / name, 25.0) as add:
            for grey in (50, 100, 150):
                add(np.full((64, 64, 3), grey, np.uint8))

    return prepare


def matroska(
    path: Path,
    frames: list[np.ndarray],
    milliseconds: list[int],
    fps: float | None = None,
    duration: float | None = None,
    is_sized: bool = True,
) -> Path:
    """A Matroska file with frames (RGB) at any times, which OpenCV cannot write.

    A browser's recording has neither `fps`, `duration` (milliseconds, counted from time 0) nor sizes.
    """

    def number(value: int) -> bytes:
        return value.to_bytes(8, "big").lstrip(b"\0") or b"\0"

    def element(name: int, *content: bytes, is_sized: bool = True) -> bytes:
        data = b"".join(content)
        return number(name) + (number(len(data) | 1 << 56) if is_sized else b"\x01" + b"\xff" * 7) + data

    height, width = frames[0].shape[:2]
    header = element(0x1A45DFA3, element(0x4282, b"matroska"), element(0x4287, number(4)), element(0x4285, number(2)))
    info = element(0x2AD7B1, number(1_000_000))  # nanoseconds in a unit of time
    if duration is not None:
        info += element(0x4489, struct.pack(">d", duration))
    track = element(0xD7, number(1)) + element(0x73C5, number(1)) + element(0x83, number(1))
    track += element(0x86, b"V_MJPEG") + element(0xE0, element(0xB0, number(width)), element(0xBA, number(height)))
    if fps is not None:
        track += element(0x23E383, number(round(1e9 / fps)))
    clusters = [
        element(0x1F43B675, element(0xE7, number(time)), element(0xA3, b"\x81\0\0\x80" + jpeg_of(frame)))
        for frame, time in zip(frames, milliseconds, strict=True)
    ]
    content = element(0x1549A966, info), element(0x1654AE6B, element(0xAE, track)), *clusters
    path.write_bytes(header + element(0x18538067, *content, is_sized=is_sized))
    return path


def jpeg_of(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()


def half(name: str) -> Callable[[Path], object]:
    """Cut the second half of a file off."""
    return lambda folder: (folder / name).write_bytes(
        (folder / name).read_bytes()[: (folder / name).stat().st_size // 2]
    )


def own_run(change: Callable[[Path], object]) -> Callable[[Path], None]:
    """A changed copy of the run, called `mine`."""

    def prepare(here: Path) -> None:
        change(shutil.copytree(here / "run", here / "mine"))

    return prepare


def png(width: int, height: int) -> bytes:
    """A black image with one bit per pixel, so that large images are small files."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def converted(name: str, kind: str, **options: Any) -> Callable[[Path], None]:
    """The first drawn image in another PIL mode and format."""
    return lambda here: Image.open(here / FIRST).convert(kind).save(here / name, **options)


def sixteen_bit(name: str) -> Callable[[Path], None]:
    """The first drawn image, grey, 16 bits a pixel."""

    def prepare(here: Path) -> None:
        grey = np.asarray(Image.open(here / FIRST).convert("L"), np.uint16)
        Image.fromarray(grey * 257).save(here / name)

    return prepare


def turned(name: str) -> Callable[[Path], None]:
    """The first drawn image with an EXIF orientation that rotates it by 90 degrees."""

    def prepare(here: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.open(here / FIRST).resize((64, 64)).save(here / name, exif=exif)

    return prepare


def bom(here: Path) -> None:
    """The drawn dataset's JSON with a byte order mark, as some editors save it."""
    path = here / "drawn/annotations.json"
    path.write_text(path.read_text(), "utf-8-sig")


def renamed(old: str, new: str) -> Callable[[Path], None]:
    return lambda here: (here / old).rename(here / new)


def renamed_joint(old: str, new: str) -> Callable[[Path], None]:
    """Another name for one of the joints in `categories`."""

    def change(content: dict[str, Any]) -> None:
        names = content["categories"][0]["keypoints"]
        names[names.index(old)] = new

    return labels(change)


def joints_backwards(here: Path) -> None:
    """Names and values of the joints in reverse order."""

    def change(content: dict[str, Any]) -> None:
        content["categories"][0]["keypoints"].reverse()
        for person in content["annotations"]:
            person["keypoints"] = np.array(person["keypoints"]).reshape(-1, 3)[::-1].ravel().tolist()

    labels(change)(here)

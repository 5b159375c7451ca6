"""What makes input bad or unusual: functions that prepare the folder which a call of `bad_input.py` is made in.

The folder has a run `run`, a drawn set `drawn`, and a recipe `small.py` over such sets.
"""

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inspose_jax.data import video_files

JSON = "drawn/annotations.json"
FIRST = "drawn/images/000000000000.jpg"
SMALL = """
from inspose_jax.config import Config, Data, Model
def recipe():
    towers = dict(fpn_channels=8, head_channels=8, keypoint_channels=8, dense_channels=8)
    depths = dict(head_depth=1, keypoint_depth=1)
    model = Model("coco", "resnet18", (4, 4, 4, 4), "trained", 0, **towers, **depths)
    return Config(model, Data(short_side=(64, 64), test_short_side=64, shapes=((64, 64),)))
"""


def labels(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Change the content of the drawn set's JSON."""

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
    """Take a field from every entry of a list."""
    return labels(lambda content: [entry.pop(field, None) for entry in content[kind]])


def file(name: str, content: str | bytes = b"") -> Callable[[Path], None]:
    """A file with some content in the place of whatever is there."""

    def prepare(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return prepare


def folder(name: str) -> Callable[[Path], None]:
    """An empty folder."""
    return lambda here: (here / name).mkdir(parents=True)


def loop(name: str) -> Callable[[Path], None]:
    """A symbolic link to itself."""
    return lambda here: (here / name).symlink_to(Path(name).name)


def mode(name: str, permissions: int) -> Callable[[Path], None]:
    """Permissions of what is there."""
    return lambda here: (here / name).chmod(permissions)


def recipe(content: str) -> Callable[[Path], None]:
    return file("mine.py", content)


def copied(source: str, *names: str) -> Callable[[Path], None]:
    """Copies of a file of the drawn set."""
    return lambda here: [shutil.copy(here / source, here / name) for name in names]


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


def half(name: str) -> Callable[[Path], object]:
    """Cut the second half of a file off."""
    return lambda folder: (folder / name).write_bytes(
        (folder / name).read_bytes()[: (folder / name).stat().st_size // 2]
    )


def own_run(change: Callable[[Path], object]) -> Callable[[Path], None]:
    """A copy of the run, as `mine`, changed."""

    def prepare(here: Path) -> None:
        change(shutil.copytree(here / "run", here / "mine"))

    return prepare


def png(width: int, height: int) -> bytes:
    """A black picture, one bit a pixel: large ones are small files."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def picture(name: str, kind: str, **options: Any) -> Callable[[Path], None]:
    """The first drawn picture in another PIL mode and format."""
    return lambda here: Image.open(here / FIRST).convert(kind).save(here / name, **options)


def sixteen_bit(name: str) -> Callable[[Path], None]:
    """The first drawn picture, grey, 16 bits a pixel."""

    def prepare(here: Path) -> None:
        grey = np.asarray(Image.open(here / FIRST).convert("L"), np.uint16)
        Image.fromarray(grey * 257).save(here / name)

    return prepare


def turned(name: str) -> Callable[[Path], None]:
    """The first drawn picture with the word that it is to be turned by a quarter when shown."""

    def prepare(here: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.open(here / FIRST).resize((64, 64)).save(here / name, exif=exif)

    return prepare


def bom(here: Path) -> None:
    """The drawn set's JSON as some editors save it."""
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
    """Names and numbers of the joints in the opposite order."""

    def change(content: dict[str, Any]) -> None:
        content["categories"][0]["keypoints"].reverse()
        for person in content["annotations"]:
            person["keypoints"] = np.array(person["keypoints"]).reshape(-1, 3)[::-1].ravel().tolist()

    labels(change)(here)

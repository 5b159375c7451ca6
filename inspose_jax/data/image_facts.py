"""What a check of a dataset must know of every image file: it is read, decoded and hashed once, in threads."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from inspose_jax.data import orientation
from inspose_jax.data.image_files import decode_image, read_bytes
from inspose_jax.data.orientation import Header
from inspose_jax.errors import UserError

Files = Mapping[Path, Callable[[], bytes]]  # how to read each image file; it may raise UserError or OSError


class ImageFacts(NamedTuple):
    """What a check must know of an image file."""

    fault: str  # why it cannot be read; empty for a good file
    size: tuple[int, int]  # height and width of the stored pixels, (0, 0) if unreadable
    header: Header
    file_hash: bytes  # of all bytes of the file; empty if unreadable
    pixel_hash: bytes  # of the stored pixels and their size, whatever the file format; empty if unreadable

    def sizes(self) -> tuple[tuple[int, int], ...]:
        """The (height, width) that labels may refer to: that of the stored pixels, or as rotated by EXIF."""
        height, width = self.size
        return ((height, width), (width, height)) if self.header.orientation >= 5 else (self.size,)


def on_disk(paths: Iterable[Path]) -> Files:
    """Image files that are read from a disk."""
    return {path: partial(read_bytes, path) for path in paths}


def facts_of(path: Path, read_file: Callable[[], bytes]) -> ImageFacts:
    """Read a single file; one that cannot be read raises nothing but has a fault."""
    try:
        file = read_file()  # once, so that hash, pixels and header are of the same content
        image = decode_image(file, str(path), follow_exif=False)
    except (OSError, UserError) as error:
        return ImageFacts(str(error).removeprefix(f"{path}: "), (0, 0), Header((0, 0), 1), b"", b"")
    height, width = image.shape[:2]
    pixel_hash = hashlib.sha256(f"{height} x {width}".encode())
    pixel_hash.update(image.data)
    file_hash = hashlib.sha256(file).digest()
    return ImageFacts("", (height, width), orientation.header_of(file), file_hash, pixel_hash.digest())


def read(files: Files, workers: int, what: str = "checking") -> dict[Path, ImageFacts]:
    """Read the files in `workers` threads, with a progress bar called `what`.

    Threads, since decoding and hashing, which take nearly all the time, release Python's lock.
    """
    with ThreadPoolExecutor(workers) as pool:
        try:
            found = pool.map(facts_of, files.keys(), files.values())
            with tqdm(found, desc=what, total=len(files), unit="image", dynamic_ncols=True) as bar:
                return dict(zip(files, bar, strict=True))
        except BaseException:  # such as Ctrl-C: the images that are still waiting are not read
            pool.shutdown(cancel_futures=True)
            raise

"""Find images that are there twice: the same file, or the same pixels in another file, within a dataset or between two.

Only exact copies are found: not an image that was resized, or compressed again with loss.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

from inspose_jax.data.image_facts import ImageFacts
from inspose_jax.data.image_files import SUFFIXES
from inspose_jax.errors import NotFound, UserError

Name = TypeVar("Name")


class Copy(NamedTuple):
    """An image that is a copy of an earlier one."""

    first: int  # the index of the earlier one
    what: str  # what is the same


def by_content(images: Iterable[tuple[Name, ImageFacts]]) -> dict[bytes, Name]:
    """The first image of each content: of each file's bytes, and of each image's pixels."""
    first: dict[bytes, Name] = {}
    for name, facts in images:
        add(name, facts, first)
    return first


def add(name: Name, facts: ImageFacts, first: dict[bytes, Name]) -> None:
    """Enter an image into `first`, unless one with the same content is there, or the file cannot be read."""
    if not facts.fault:
        first.setdefault(facts.file_hash, name)
        first.setdefault(facts.pixel_hash, name)


def same(facts: ImageFacts, first: dict[bytes, Name]) -> tuple[Name, str] | None:
    """The image in `first` that has the same content, and what is the same; None if there is none."""
    if facts.file_hash in first:
        return first[facts.file_hash], "the same file"
    if facts.pixel_hash in first:
        return first[facts.pixel_hash], "the same pixels"
    return None


def within(images: Iterable[tuple[int, ImageFacts]]) -> dict[int, Copy]:
    """The copies in one dataset, whose images are (index, facts): each is named once, beside the first one like it."""
    first: dict[bytes, int] = {}
    found = {}
    for index, facts in images:
        if match := same(facts, first):
            found[index] = Copy(*match)
        add(index, facts, first)
    return found


def images_below(folder: Path, images: Path) -> list[Path]:
    """All images below a folder, for comparison with those in `images`.

    Raises NotFound if there are none, and UserError if the folder holds `images` itself.
    """
    if folder.resolve() in (images.resolve(), *images.resolve().parents):
        raise UserError(f"{folder}: holds the images that are checked too; give the labels of the other split instead")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise NotFound(f"{folder}: no images in this folder; give the folder or the labels of another split")
    return found

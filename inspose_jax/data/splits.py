"""The splits of a dataset, train, val and test, and the words by which the names of files and folders tell them."""

import re
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

Split = Literal["train", "val", "test"]
WORDS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "minival"),
    "test": ("test", "testing"),
}
Part = TypeVar("Part")


def named(word: str) -> Split | None:
    """The split that a word means by itself, as `valid` means val; None if it is none."""
    return next((split for split, words in WORDS.items() if word in words), None)


def is_of(name: str, split: Split) -> bool:
    """Whether one of the words in a name is for the split, as in `person_keypoints_train2017` or `valid`."""
    return not set(WORDS[split]).isdisjoint(re.findall(r"[a-z]+", name.lower()))


def chosen(parts: Sequence[Part], name_of: Callable[[Part], str], split: Split) -> list[Part]:
    """The parts of a dataset that are for the split by their names; a part that is the only one is for any split."""
    return [part for part in parts if len(parts) == 1 or is_of(name_of(part), split)]

"""Paths as users write them: `~` is the home folder, what is relative belongs to the current folder, no URLs."""

import os
import re
from pathlib import Path

from inspose_jax.errors import UserError

# One slash is enough: `Path("gs://bucket")` has lost the other. A single letter is a drive of Windows.
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def refuse_url(path: str | os.PathLike[str]) -> None:
    """UserError for what is no path of this machine, before it becomes a folder called `gs:`."""
    if URL.match(os.fspath(path)):
        raise UserError(
            f"{os.fspath(path)}: is a URL; only folders and files of this machine can be used, so copy it here, or "
            f"mount it as a folder"
        )


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with `~` or `~name` replaced by that home folder; UserError for a URL or a user without a home."""
    refuse_url(path)
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{os.fspath(path)}: nobody knows this home folder; write the path out") from None


def absolute(path: str | os.PathLike[str]) -> Path:
    """The same, independent of the current folder, which a program may change while it keeps the path."""
    return expanded(path).absolute()

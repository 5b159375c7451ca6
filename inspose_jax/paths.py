"""Paths as users write them: `~` is the home folder, relative paths start at the current folder, URLs are refused."""

import os
import re
from pathlib import Path

from inspose_jax.errors import UserError

# One slash is enough, since `Path("gs://bucket")` drops the other.  A single letter is a Windows drive.
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def refuse_url(path: str | os.PathLike[str]) -> None:
    """Raise UserError for a URL, which would otherwise create a local folder called `gs:`."""
    if URL.match(os.fspath(path)):
        raise UserError(
            f"{os.fspath(path)}: is a URL; only folders and files of this machine can be used, so copy it here, or "
            f"mount it as a folder"
        )


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with `~` or `~name` replaced by that home folder; UserError for a URL or an unknown home folder."""
    refuse_url(path)
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{os.fspath(path)}: this home folder is unknown; write out the full path") from None


def absolute(path: str | os.PathLike[str]) -> Path:
    """`expanded`, as an absolute path, which stays valid if the program changes its current folder."""
    return expanded(path).absolute()

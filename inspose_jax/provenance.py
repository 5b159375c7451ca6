"""Where a checkpoint is from: the version and commit of the code, and the file that its weights derive from, if any."""

import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from inspose_jax import versions

PACKAGE = Path(__file__).parent
# What a checkpoint records beside these: the name of the file of PyTorch's weights that it was imported from; or what
# its run took over of the weights that it started from, and there the name of the file that those derive from.
IMPORTED, TAKEN_OVER, DERIVED = "imported", "from_weights", "derived_from"


@cache
def commit() -> str:
    """The commit of the checkout that the package runs from, with `-dirty` if files were changed; empty elsewhere."""
    if not (PACKAGE.parent / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.SubprocessError):  # git is missing or hangs
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def about() -> dict[str, str]:
    """The version and commit of this code, as a checkpoint records them."""
    at = {"commit": commit()} if commit() else {}
    return {"version": versions.OURS, **at}


def origin(about: Mapping[str, Any]) -> str:
    """The name of the file from elsewhere that a checkpoint's weights are or derive from; empty if there is none.

    `about` is what the checkpoint records.
    """
    return about.get(IMPORTED) or about.get(TAKEN_OVER, {}).get(DERIVED, "")


def other_version(fields: str, written_by: dict[str, str]) -> str:
    """An error message for a config of another version: `fields` says what differs; adds which code can read it."""
    return (
        f"{fields}; it was written by {words(written_by)}, this is {words(about())}: use a checkout of the commit that "
        f"wrote it"
    )


def words(written_by: dict[str, str]) -> str:
    """Format the output of `about` as `inspose-jax 0.2.0 (commit ..)`; early versions recorded nothing."""
    version, at = written_by.get("version"), written_by.get("commit")
    return f"inspose-jax {version or 'of an early version'}" + (f" (commit {at})" if at else "")

"""Which code this is: its version and, in a checkout, its commit; every checkpoint and every run keeps them."""

import subprocess
from functools import cache
from pathlib import Path

from inspose_jax import versions

PACKAGE = Path(__file__).parent


@cache
def commit() -> str:
    """The commit of the checkout that the package runs from, `-dirty` where files differ from it; else empty."""
    if not (PACKAGE.parent / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        told = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.SubprocessError):  # without git, or one that hangs
        return ""
    return told.stdout.strip() if told.returncode == 0 else ""


def about() -> dict[str, str]:
    """What a checkpoint says of the code that wrote it."""
    at = {"commit": commit()} if commit() else {}
    return {"version": versions.OURS, **at}


def of_another(fields: str, written_by: dict[str, str]) -> str:
    """The line for what another version wrote, whose `fields` are not today's: what differs, and who can read it."""
    return (
        f"{fields}; it was written by {words(written_by)}, this is {words(about())}: take a checkout of the commit "
        f"that wrote it"
    )


def words(written_by: dict[str, str]) -> str:
    """`inspose-jax 0.2.0 (commit ..)` of what `about` gave; early versions wrote nothing."""
    version, at = written_by.get("version"), written_by.get("commit")
    return f"inspose-jax {version or 'of an early version'}" + (f" (commit {at})" if at else "")

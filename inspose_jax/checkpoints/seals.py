"""The seal of a checkpoint: checksums of its files, so that damage is detected before anything is restored."""

import json
import zlib
from pathlib import Path

SEAL = "checksums.json"
# The file is gone, or something that is not a file has its place.  Other system errors may be temporary, so they do
# not count as damage.
GONE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


def write(folder: Path) -> None:
    """Seal a folder after all its files are written."""
    (folder / SEAL).write_text(json.dumps(checksums(folder), indent=1))


def is_sealed(folder: Path) -> bool:
    """Whether a checkpoint has a seal; early versions wrote none."""
    return (folder / SEAL).is_file()


def changed_files(folder: Path) -> list[str]:
    """Files of a checkpoint that are gone or have changed since it was sealed; empty without a seal.

    Raises OSError if a file cannot be read at the moment.
    """
    if not is_sealed(folder):
        return []
    try:
        sealed = dict(json.loads((folder / SEAL).read_text()))
    except (ValueError, TypeError):
        return [SEAL]

    def is_changed(name: str) -> bool:
        try:
            return checksum(folder / name) != sealed[name]
        except GONE:
            return True

    return [name for name in sealed if is_changed(name)]


def checksums(folder: Path) -> dict[str, int]:
    """Checksum of every file in a checkpoint's sub-folders; beside them, orbax changes its own files until the end."""
    files = (path for path in sorted(folder.glob("*/**/*")) if path.is_file())
    return {str(path.relative_to(folder)): checksum(path) for path in files}


def checksum(path: Path) -> int:
    """The CRC-32 of a file's content."""
    return zlib.crc32(path.read_bytes())

"""The seal of a checkpoint: checksums of its files, so that damage is known before anything is read of them."""

import json
import zlib
from pathlib import Path

SEAL = "checksums.json"
# What stands in a file's place that is no file: as good as gone. Other system errors may pass, and are no damage.
GONE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


def write(folder: Path) -> None:
    """Seal a folder whose files are all written."""
    (folder / SEAL).write_text(json.dumps(checksums(folder), indent=1))


def is_sealed(folder: Path) -> bool:
    """Whether there is a seal; early versions wrote none."""
    return (folder / SEAL).is_file()


def changed_files(folder: Path) -> list[str]:
    """Files of a checkpoint that are gone or hold something else than when it was sealed; none without a seal.

    OSError where one cannot be read at the moment.
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
    """Checksum of every file in the folders of a checkpoint; beside them orbax keeps its own, changed as it ends."""
    files = (path for path in sorted(folder.glob("*/**/*")) if path.is_file())
    return {str(path.relative_to(folder)): checksum(path) for path in files}


def checksum(path: Path) -> int:
    """CRC-32 of a file's content."""
    return zlib.crc32(path.read_bytes())

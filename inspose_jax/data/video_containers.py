"""Whether a video file is shorter than its container says, which shows that a copy or recording was interrupted.

Only sizes are compared.  The promised number of frames and the duration are no evidence: Matroska counts from second 0
even if the video begins later, a file made by cutting still promises the frames that were cut away, and for a variable
frame rate the number of frames is a guess.
"""

import struct
from pathlib import Path
from typing import BinaryIO

# An mp4 or mov file begins with 4 bytes of size, then one of these.
MP4 = (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
EBML, SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"  # Matroska and WebM: a header, then one segment that holds everything


def is_cut_off(path: Path) -> bool | None:
    """Whether the file ends before its container does; None if the container does not say where it ends."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        if head[4:] in MP4:
            return is_mp4_cut_off(file, size)
        if head[:4] == EBML:
            end = matroska_end(file)
            return None if end is None else size < end
    return None


def is_mp4_cut_off(file: BinaryIO, size: int) -> bool:
    """Whether an `mdat` box extends beyond the end of the file; other data often follows the last box."""
    place = 0
    while place + 16 <= size:
        file.seek(place)
        length, kind, longer = struct.unpack(">I4sQ", file.read(16))
        length = longer if length == 1 else length
        if kind == b"mdat" and place + length > size:
            return True
        if length < 8:  # 0 means "until the end of the file"
            break
        place += length
    return False


def matroska_end(file: BinaryIO) -> int | None:
    """The file offset at which the segment ends; None if unknown at the time of writing, as in a live recording."""
    file.seek(len(EBML))
    file.seek(number(file) or 0, 1)
    if file.read(len(SEGMENT)) != SEGMENT:
        return None
    length = number(file)
    return None if length is None else file.tell() + length


def number(file: BinaryIO) -> int | None:
    """Read a size in EBML's format, where n leading zero bits mean n more bytes; None for all ones, "unknown"."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    value = int.from_bytes(first + file.read(more), "big") - (1 << 7 * (more + 1))
    return None if value == (1 << 7 * (more + 1)) - 1 else value

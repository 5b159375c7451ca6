"""Video files, a frame at a time: read as RGB arrays, written as mp4; never a whole video in memory.

What a file says of its rate is not when its frames are shown: a browser's recording claims its clock, 1000 a second.
"""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from inspose_jax.data.video_containers import is_cut_off
from inspose_jax.errors import NotFound, UserError

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts")
CODEC = "mp4v"  # MPEG-4 part 2, which every build of OpenCV with FFmpeg can write
LARGEST_NUMERATOR = 65535  # of a rate, in that codec
SLOWEST = 0.1  # frames a second: OpenCV rounds rates to 0.001, and 0 is no rate
FASTEST_CLAIM, USUAL = 240.0, 25.0  # frames a second: above, a file tells its clock; without a claim
# A clock that starts again falls by more than so many seconds and by more than so many gaps between frames; the times
# of frames that come out of order fall by less.
RESTART = 1.0, 4.0


class Frame(NamedTuple):
    """One picture of a video."""

    image: UInt8[np.ndarray, "H W 3"]  # RGB
    seconds: float  # since the first frame; never less than the frame before has


class About(NamedTuple):
    """What a video file says of itself."""

    num_frames: int  # an estimate in some containers; 0 where nothing sensible is said
    fps: float


def about(path: Path) -> About:
    """How many frames a video promises, and how fast they follow each other; errors as `read_frames`."""
    with opened(path) as capture:
        return claims(capture)


def claims(capture: cv2.VideoCapture) -> About:
    """What an open file says, where that can be; else 0 frames, and 25 a second."""
    fps, number = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    if not 0 < fps <= FASTEST_CLAIM:
        return About(0, USUAL)
    return About(int(number) if number > 0 else 0, fps)


def read_frames(path: Path) -> Iterator[Frame]:
    """Every frame that can be decoded, in order; a warning where the file was clearly cut off.

    Raises FileNotFoundError where there is no file, ValueError where it is no video or holds no frame.
    """
    number, seconds = 0, 0.0
    with opened(path) as capture:
        promised, fps = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
        for seconds in running(clock(capture), claims(capture).fps):
            is_read, image = capture.retrieve()
            if not is_read:
                break
            number += 1
            yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), seconds)
    if not number:
        raise UserError(f"{path}: no frame of this video can be decoded; is it empty or damaged?")
    is_cut = is_cut_off(path)
    if is_cut is None:  # then what is there must end clearly too early, by number and, as some are left out, by time
        is_cut = max(number, seconds * fps) < 0.98 * promised - 1
    if is_cut:
        of = f" of {promised:.0f}" if promised > number else ""
        warnings.warn(f"{path}: ends after {number}{of} frames; is it cut off? What is there was used", stacklevel=2)


def frame_times(path: Path) -> Iterator[float]:
    """`seconds` of every frame of `read_frames`, without the frames; errors as there.

    The cost: the whole video is decoded for it, once more than for its frames.  In a damaged video it may go on behind
    a frame at which `read_frames` ends, as only the conversion to RGB, left out here, tells that there is nothing.
    """
    with opened(path) as capture:
        yield from running(clock(capture), claims(capture).fps)


def clock(capture: cv2.VideoCapture) -> Iterator[float]:
    """Go from frame to frame: the time of each in seconds, as the file has it."""
    while capture.grab():
        yield capture.get(cv2.CAP_PROP_POS_MSEC) / 1000


def running(times: Iterable[float], fps: float) -> Iterator[float]:
    """A file's times of its frames as seconds since the first, which never fall.

    A frame without a time (OpenCV gives 0) comes as long after the one before as that came, at first 1 / `fps`; so
    does one at which the clock starts again, as where two recordings were put together.
    """
    first = shift = latest = 0.0
    gap = 1 / fps
    for number, time in enumerate(times):
        if number == 0:
            first = time if math.isfinite(time) else 0.0
        elif not math.isfinite(time) or time in (0, first):
            latest += gap
        else:
            seconds = time - first + shift
            if latest - seconds > max(RESTART[0], RESTART[1] * gap):
                shift += latest + gap - seconds
                seconds = latest + gap
            if seconds > latest:
                gap, latest = seconds - latest, seconds
        yield latest


def mean_rate(seconds: Iterable[float], fps: float) -> float:
    """Frames a second at which a video with frames at these times lasts as long; at `fps` where they do not tell.

    The last frame lasts as long as is usual in this video: how long it is to be shown is not known, as OpenCV does not
    tell a file's duration, and what it makes of that as a number of frames is no use where the rate varies.
    """
    times = np.fromiter(seconds, np.float64)  # eight bytes a frame
    gaps = np.diff(times)
    if not gaps.any():
        return fps
    return len(times) / (times[-1] - times[0] + float(np.median(gaps[gaps > 0])))


def refuse_foreign_name(path: Path) -> None:
    """UserError for a name that is not UTF-8, at which OpenCV ends the process."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{path}: a video's path must be UTF-8, which this is not; rename the file or its folder"
        ) from None


@contextlib.contextmanager
def opened(path: Path) -> Iterator[cv2.VideoCapture]:
    """A file open for reading; FileNotFoundError or ValueError where that is none."""
    if not path.is_file():
        raise NotFound(f"{path}: {'is no' if path.exists() else 'no such'} video; check the path")
    refuse_foreign_name(path)
    with path.open("rb"):
        pass  # OpenCV does not tell a file that may not be read from one that is damaged
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise UserError(f"{path}: not a video that can be read; is it damaged, empty or cut off?")
        yield capture
    finally:
        capture.release()


@contextlib.contextmanager
def writing(path: Path, fps: float) -> Iterator[Callable[[UInt8[np.ndarray, "H W 3"]], None]]:
    """A function that adds a frame (RGB, all of one size) to an mp4 file of `fps` frames a second.

    Below 0.1 a second each frame is written several times, so that the file lasts as long as it should.  An odd side
    grows by one pixel, the last row or column again: the codec stores colours for 2 x 2 pixels.  OSError where frames
    cannot be written; then the file is of no use.  UserError for a path that is not UTF-8.
    """
    refuse_foreign_name(path)
    writer = cv2.VideoWriter()
    written = 0
    copies = math.ceil(SLOWEST / fps)
    rate = writable(fps * copies)

    def add(image: np.ndarray) -> None:
        nonlocal written
        height, width = image.shape[:2]
        even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if not written:
            writer.open(str(path), cv2.VideoWriter.fourcc(*CODEC), rate, (even.shape[1], even.shape[0]))
            if not writer.isOpened():
                raise OSError(f"OpenCV refuses {CODEC} video of {height} x {width} pixels")
        bgr = cv2.cvtColor(even, cv2.COLOR_RGB2BGR)
        for _ in range(copies):
            is_written: bool | None = writer.write(bgr)  # None from older OpenCV
            if is_written is False:
                raise OSError(f"frame {written} is not accepted")
            written += 1

    try:
        yield add
    finally:
        writer.release()
    # Nothing tells of a full disk but the file.
    found = cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT)
    if found != written:
        raise OSError(f"the file holds {max(int(found), 0)} of {written} frames")


def writable(fps: float) -> float:
    """The nearest rate that the codec takes: as many decimals, at most three, as leave its numerator small enough."""
    for decimals in (3, 2, 1):
        if round(fps * 10**decimals) <= LARGEST_NUMERATOR:
            return round(fps, decimals)
    return float(min(round(fps), LARGEST_NUMERATOR))

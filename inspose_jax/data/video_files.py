"""Video files, one frame at a time, never whole in memory: read as RGB arrays, written as mp4.

The frame rate that a file claims need not match its frames' timestamps: a browser recording claims its clock rate,
1000 per second.
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
LARGEST_NUMERATOR = 65535  # of a frame rate in that codec
SLOWEST = 0.1  # frames per second: OpenCV rounds rates to 0.001, and 0 is not a valid rate
# Frames per second: a higher claim is the clock rate rather than the frame rate; the rate assumed without a claim.
FASTEST_CLAIM, USUAL = 240.0, 25.0
# A clock has restarted if it falls by more than this many seconds and more than this many frame intervals; the
# timestamps of frames that come out of order fall by less.
RESTART = 1.0, 4.0


class Frame(NamedTuple):
    """One frame of a video."""

    image: UInt8[np.ndarray, "H W 3"]  # RGB
    seconds: float  # since the first frame; never decreases


class VideoInfo(NamedTuple):
    """What a video file says about itself."""

    num_frames: int  # an estimate in some containers; 0 if unknown
    fps: float


def read_info(path: Path) -> VideoInfo:
    """The promised number of frames and the frame rate of a video; raises the same errors as `read_frames`."""
    with open_video(path) as capture:
        return claimed_info(capture)


def claimed_info(capture: cv2.VideoCapture) -> VideoInfo:
    """What an open file claims if that is plausible, else 0 frames at 25 per second."""
    fps, number = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    if not 0 < fps <= FASTEST_CLAIM:
        return VideoInfo(0, USUAL)
    return VideoInfo(int(number) if number > 0 else 0, fps)


def read_frames(path: Path) -> Iterator[Frame]:
    """Yield every frame that can be decoded, in order; warns if the file was clearly cut off.

    Raises NotFound if there is no such file, and UserError if it is not a video or has no frame that can be decoded.
    """
    number, seconds = 0, 0.0
    with open_video(path) as capture:
        promised, fps = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
        for seconds in rising_seconds(timestamps(capture), claimed_info(capture).fps):
            is_read, image = capture.retrieve()
            if not is_read:
                break
            number += 1
            yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), seconds)
    if not number:
        raise UserError(f"{path}: no frame of this video can be decoded; is it empty or damaged?")
    is_cut = is_cut_off(path)
    if is_cut is None:  # then the frames must fall clearly short, by number and, as some are dropped, by time
        is_cut = max(number, seconds * fps) < 0.98 * promised - 1
    if is_cut:
        of = f" of {promised:.0f}" if promised > number else ""
        warnings.warn(
            f"{path}: ends after {number}{of} frames; is it cut off? The frames in it were used", stacklevel=2
        )


def frame_times(path: Path) -> Iterator[float]:
    """Yield `seconds` of every frame of `read_frames`, without the frames; raises the same errors.

    This costs one more decoding of the whole video.  In a damaged video it may continue past the frame at which
    `read_frames` ends, since only retrieving the image, which is skipped here, reveals that it is missing.
    """
    with open_video(path) as capture:
        yield from rising_seconds(timestamps(capture), claimed_info(capture).fps)


def timestamps(capture: cv2.VideoCapture) -> Iterator[float]:
    """Advance frame by frame, yielding each frame's timestamp from the file in seconds."""
    while capture.grab():
        yield capture.get(cv2.CAP_PROP_POS_MSEC) / 1000


def rising_seconds(times: Iterable[float], fps: float) -> Iterator[float]:
    """Convert a file's frame timestamps to seconds since the first frame that never decrease.

    A frame without a timestamp (OpenCV returns 0) follows its predecessor after the previous interval, initially
    1 / `fps`; so does a frame at which the clock restarts, as where two recordings were joined.
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
    """The constant frame rate that preserves the duration of a video with these frame times; `fps` if they do not tell.

    The last frame is assumed to last the median interval.  Its real duration is unknown, since OpenCV does not report
    a file's duration, and the number of frames that it derives from the duration is useless for a variable frame rate.
    """
    times = np.fromiter(seconds, np.float64)  # eight bytes per frame
    gaps = np.diff(times)
    if not gaps.any():
        return fps
    return len(times) / (times[-1] - times[0] + float(np.median(gaps[gaps > 0])))


def require_utf8_path(path: Path) -> None:
    """Raise UserError for a path that is not UTF-8, which would make OpenCV abort the process."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{path}: a video's path must be UTF-8, which this is not; rename the file or its folder"
        ) from None


@contextlib.contextmanager
def open_video(path: Path) -> Iterator[cv2.VideoCapture]:
    """Open a video for reading; raises NotFound if there is no such file, and UserError if it is not a video."""
    if not path.is_file():
        raise NotFound(f"{path}: {'not a file' if path.exists() else 'no such video'}; check the path")
    require_utf8_path(path)
    with path.open("rb"):
        pass  # raises a permission error, which OpenCV cannot tell from a damaged file
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise UserError(f"{path}: not a video that can be read; is it damaged, empty or cut off?")
        yield capture
    finally:
        capture.release()


@contextlib.contextmanager
def writing(path: Path, fps: float) -> Iterator[Callable[[UInt8[np.ndarray, "H W 3"]], None]]:
    """Open an mp4 file of `fps` frames per second; yields a function that adds a frame (RGB, all of one size).

    Below 0.1 frames per second each frame is written several times, so that the file keeps its duration.  An odd side
    grows by one pixel, which repeats the last row or column, because the codec stores colours for 2 x 2 pixels.
    Raises OSError if frames cannot be written, after which the file is unusable, and UserError if the path is not
    UTF-8.
    """
    require_utf8_path(path)
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
    # A full disk raises no error; only the written file shows it.
    found = cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT)
    if found != written:
        raise OSError(f"the file holds {max(int(found), 0)} of {written} frames")


def writable(fps: float) -> float:
    """The nearest rate that the codec accepts: with as many decimals, at most three, as its numerator allows."""
    for decimals in (3, 2, 1):
        if round(fps * 10**decimals) <= LARGEST_NUMERATOR:
            return round(fps, decimals)
    return float(min(round(fps), LARGEST_NUMERATOR))

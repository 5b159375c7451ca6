"""Video files, a frame at a time: read as RGB arrays, written as mp4; never a whole video in memory."""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from inspose_jax.errors import NotFound, UserError

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts")
CODEC = "mp4v"  # MPEG-4 part 2, which every build of OpenCV with FFmpeg can write

# What FFmpeg and OpenCV print about a broken file is said once, by the errors below.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class Frame(NamedTuple):
    """One picture of a video."""

    image: UInt8[np.ndarray, "H W 3"]  # RGB
    seconds: float  # since the beginning


class About(NamedTuple):
    """What a video file says of itself."""

    num_frames: int  # an estimate in some containers; 0 where nothing is said
    fps: float


def about(path: Path) -> About:
    """How many frames a video promises, and how fast they follow each other; errors as `read_frames`."""
    with opened(path) as capture:
        fps = capture.get(cv2.CAP_PROP_FPS)
        return About(max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0), fps if fps > 0 else 25.0)


def read_frames(path: Path) -> Iterator[Frame]:
    """Every frame that can be decoded, in order; a warning where they are clearly fewer than the file promises.

    Raises FileNotFoundError where there is no file, ValueError where it is no video or holds no frame.
    """
    number = 0
    with opened(path) as capture:
        promised = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        while True:
            is_read, image = capture.read()
            if not is_read:
                break
            number += 1
            yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    if not number:
        raise UserError(f"{path}: no frame of this video can be decoded; is it empty or damaged?")
    if number < 0.98 * promised - 1:  # containers estimate
        warnings.warn(
            f"{path}: ends after {number} of {promised} frames; is it cut off? What is there was used", stacklevel=2
        )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[cv2.VideoCapture]:
    """A file open for reading; FileNotFoundError or ValueError where that is none."""
    if not path.is_file():
        raise NotFound(f"{path}: {'is no' if path.exists() else 'no such'} video; check the path")
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
    """A function that adds a frame (RGB, all of one size) to an mp4 file.

    An odd side grows by one pixel, the last row or column again: the codec stores colours for 2 x 2 pixels.  OSError
    where frames cannot be written; then the file is of no use.
    """
    writer = cv2.VideoWriter()
    written = 0

    def add(image: np.ndarray) -> None:
        nonlocal written
        height, width = image.shape[:2]
        even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if not written:
            writer.open(str(path), cv2.VideoWriter.fourcc(*CODEC), fps, (even.shape[1], even.shape[0]))
            if not writer.isOpened():
                raise OSError(f"OpenCV refuses {CODEC} video of {height} x {width} pixels")
        is_written: bool | None = writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))  # None from older OpenCV
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

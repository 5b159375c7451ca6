"""Video files: every frame once and in order, complete files or none, and one clear line about broken ones."""

import itertools
import resource
import struct
import subprocess
import sys

import cv2
import faults
import numpy as np
import pytest

from inspose_jax.data import video_files


def grey(number: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Different frames: each is brighter than the one before."""
    return [np.full((height, width, 3), 10 + 8 * i, np.uint8) for i in range(number)]


def write(path, frames, fps=12.5):
    with video_files.writing(path, fps) as add:
        for frame in frames:
            add(frame)
    return path


def motion_jpeg(path, frames):
    """An AVI, which can be read up to where it was cut off."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def test_written_frames_are_read_in_order_with_their_times(tmp_path):
    path = write(tmp_path / "a.mp4", grey(20))
    assert video_files.read_info(path) == video_files.VideoInfo(num_frames=20, fps=12.5)
    frames = list(video_files.read_frames(path))
    assert [frame.seconds for frame in frames] == pytest.approx(np.arange(20) / 12.5)
    np.testing.assert_allclose(
        [frame.image.mean() for frame in frames], [f.mean() for f in grey(20)], atol=4
    )  # 8 apart


def test_colours_are_rgb_when_reading_and_writing(tmp_path):
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 200
    (frame,) = video_files.read_frames(write(tmp_path / "a.mp4", [red]))
    np.testing.assert_allclose(frame.image[24, 32], [200, 0, 0], atol=6)


def test_an_odd_side_is_padded_by_a_pixel(tmp_path):
    (frame,) = video_files.read_frames(write(tmp_path / "a.mp4", grey(1, 47, 63)))
    assert frame.image.shape == (48, 64, 3)


def test_a_video_that_was_cut_off_gives_its_frames_and_a_warning(tmp_path):
    whole = motion_jpeg(tmp_path / "a.avi", grey(30, 240, 320))
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match=r"a.avi: ends after \d+ of 30 frames; is it cut off"):
        frames = list(video_files.read_frames(whole))
    assert 0 < len(frames) < 30
    np.testing.assert_allclose(frames[2].image.mean(), grey(3)[2].mean(), atol=3)


def faststart(path, frames):
    """An mp4 file for the web: the index of the frames comes before them."""
    content = write(path.with_suffix(".mp4"), frames, 25.0).read_bytes()
    mdat, moov = content.index(b"mdat") - 4, content.index(b"moov") - 4
    table = content.index(b"stco", moov) - moov + 12  # after its name, version and length
    moved = bytearray(content[moov:])
    (number,) = struct.unpack_from(">I", moved, table - 4)
    for place in range(table, table + 4 * number, 4):
        struct.pack_into(">I", moved, place, struct.unpack_from(">I", moved, place)[0] + len(moved))
    path.write_bytes(content[:mdat] + bytes(moved) + content[mdat:moov])
    return path


@pytest.mark.parametrize(
    "make",
    [
        lambda path: faststart(path, grey(30, 240, 320)),
        lambda path: faults.matroska(path, grey(30), [10_000 + 40 * i for i in range(30)], fps=25, duration=11_200),
        lambda path: faults.matroska(path, grey(30), [7 * i * i for i in range(30)]),  # no number of frames is stated
    ],
    ids=["mp4", "begins at second 10", "variable rate"],
)
def test_a_warning_is_given_only_if_the_end_is_missing(tmp_path, make):
    path = make(tmp_path / "a.video")
    assert len(list(video_files.read_frames(path))) == 30  # a warning would be an error
    content = path.read_bytes()
    path.write_bytes(content[: 2 * len(content) // 3])
    with pytest.warns(UserWarning, match=r"a.video: ends after \d+( of \d+)? frames; is it cut off"):
        assert 10 < len(list(video_files.read_frames(path))) < 25


@pytest.mark.parametrize(
    ("milliseconds", "options"),
    [
        ([10_000 + 40 * i for i in range(12)], {"fps": 25, "duration": 10_480}),  # begins at second 10
        ([40 * i for i in range(12)], {"fps": 25, "duration": 900}),  # its sound is longer
        ([0, 40, 80, 120, 3000], {"duration": 6000}),  # its last frame is shown for long
        ([0, 33, 71, 100, 140, 166, 201], {"is_sized": False}),  # as a browser records
    ],
)
def test_a_complete_video_is_not_reported_as_cut_off(tmp_path, milliseconds, options):
    path = faults.matroska(tmp_path / "a.mkv", grey(len(milliseconds)), milliseconds, **options)
    frames = list(video_files.read_frames(path))  # a warning would be an error
    expected = [(time - milliseconds[0]) / 1000 for time in milliseconds]
    assert [frame.seconds for frame in frames] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("milliseconds", "duration", "tolerance"),
    [
        ([0, 33, 71, 100, 140, 166, 201, 233, 270, 300, 333, 372], 0.41, 0.02),  # as a browser records
        ([13 * i * i for i in range(12)], 1.716, 0.03),  # no rate fits
        ([40 * i for i in range(10)] + [1000 * i for i in range(1, 11)], 10.5, 0.5),
        ([0, 0, 40, 40, 80, 80, 120, 120], 0.16, 0.02),
        ([0, 80, 40, 120, 200, 160, 240, 240], 0.28, 0.04),  # out of order
        ([0, 40, 80, 120, 5000, 5040, 20, 60, 100], 5.2, 0.03),  # the clock starts again
        ([0, 40, 80, 3_600_000], 3600.0, 0.04),  # an hour without a frame
        ([0] * 10, 0.4, 0.0),  # no times
        ([0], 0.04, 0.0),
    ],
)
def test_the_mean_rate_preserves_the_duration(tmp_path, milliseconds, duration, tolerance):
    source = faults.matroska(tmp_path / "a.mkv", grey(len(milliseconds)), milliseconds)
    rate = video_files.mean_rate(video_files.frame_times(source), video_files.read_info(source).fps)
    drawn = video_files.read_info(write(tmp_path / "a.mp4", grey(len(milliseconds)), rate))
    assert drawn.num_frames % len(milliseconds) == 0
    assert drawn.num_frames / drawn.fps == pytest.approx(duration, rel=0.005, abs=tolerance)


def test_times_increase_even_if_opencv_gives_them_out_of_order_or_not_at_all(tmp_path):
    path = str(tmp_path / "a.mpg")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MPG1"), 25.0, (64, 48))
    for frame in grey(20):
        writer.write(frame)
    writer.release()
    capture = cv2.VideoCapture(path)
    raw = list(video_files.timestamps(capture))
    assert any(after < before for before, after in itertools.pairwise(raw)), "OpenCV has got better: this test may go"
    seconds = list(video_files.frame_times(tmp_path / "a.mpg"))
    assert seconds == sorted(seconds)
    assert video_files.mean_rate(seconds, 25.0) == pytest.approx(25.0, rel=0.06)


def test_a_frame_without_a_time_follows_after_one_interval():
    nan = float("nan")
    assert list(video_files.rising_seconds([5.0, 5.1, nan, 0.0, 5.4], 25.0)) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert list(video_files.rising_seconds([nan, nan, nan], 10.0)) == pytest.approx([0, 0.1, 0.2])


@pytest.mark.parametrize("fps", [90_000.0, 1e9, 240.123456, 59.94005994, 100 / 3, 7.7777777, 0.034567, 0.0123, 0.0003])
def test_every_rate_can_be_written_and_keeps_the_duration(tmp_path, fps):
    drawn = video_files.read_info(write(tmp_path / "a.mp4", grey(2), fps))
    capture = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    seconds = capture.get(cv2.CAP_PROP_FRAME_COUNT) / capture.get(cv2.CAP_PROP_FPS)
    assert seconds == pytest.approx(2 / fps, rel=0.005, abs=0.0001)
    assert fps < video_files.SLOWEST or drawn.num_frames in (0, 2)


@pytest.mark.parametrize(("name", "duration"), [("browser.webm", 0.41), ("offset.mkv", 0.48)])
def test_recordings_of_other_programs(reference, tmp_path, name, duration):
    source = reference / "cases" / name
    if not source.is_file():
        pytest.skip(f"no reference data at {source}")
    frames = list(video_files.read_frames(source))  # a warning would be an error
    assert frames[0].seconds == 0
    rate = video_files.mean_rate(video_files.frame_times(source), video_files.read_info(source).fps)
    drawn = video_files.read_info(write(tmp_path / "a.mp4", grey(len(frames)), rate))
    assert drawn.num_frames / drawn.fps == pytest.approx(duration, rel=0.02)


def test_anything_but_a_video_is_refused(tmp_path):
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    content = write(tmp_path / "a.mp4", grey(20)).read_bytes()
    (tmp_path / "half.mp4").write_bytes(content[: len(content) // 2])  # the index of the frames comes last
    for name, error, what in (
        ("text.mp4", ValueError, "not a video that can be read"),
        ("empty.mp4", ValueError, "not a video that can be read"),
        ("half.mp4", ValueError, "not a video that can be read; is it damaged, empty or cut off"),
        ("gone.mp4", FileNotFoundError, "no such video"),
        ("folder.mp4", FileNotFoundError, "not a file"),
    ):
        with pytest.raises(error, match=rf"{name}: {what}"):
            list(video_files.read_frames(tmp_path / name))


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    """In a process of its own, since OpenCV would end the process."""
    write(tmp_path / "a.mp4", grey(2))
    code = """
import os, sys
from pathlib import Path
from inspose_jax.data import video_files
path = Path(os.fsdecode(os.fsencode(sys.argv[1]) + b"/\\xff.mp4"))
try:
    Path(sys.argv[1], "a.mp4").rename(path)
except OSError:
    sys.exit("no such names here")
for use in (video_files.read_info, lambda path: video_files.writing(path, 25.0).__enter__()):
    try:
        use(path)
    except ValueError as error:
        print(ascii(str(error)))
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "no such names here" in done.stderr:
        pytest.skip("file names are UTF-8 on this file system")
    assert done.returncode == 0
    assert (
        done.stdout.count(".mp4: a video's path must be UTF-8, which this is not; rename the file or its folder") == 2
    )


def test_a_video_without_frames_is_refused(tmp_path):
    content = motion_jpeg(tmp_path / "a.avi", grey(5, 240, 320)).read_bytes()
    (tmp_path / "a.avi").write_bytes(content[: content.index(b"movi") + 4])
    with pytest.raises(ValueError, match=r"a.avi: (no frame of this video|not a video)"):
        list(video_files.read_frames(tmp_path / "a.avi"))


def test_a_codec_that_cannot_be_written_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(video_files, "CODEC", "avc1")
    with pytest.raises(OSError, match="OpenCV refuses avc1 video of 48 x 64 pixels"):
        write(tmp_path / "a.mp4", grey(2))


def test_a_full_disk_is_reported_in_the_middle_and_at_the_end(tmp_path):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (240, 320, 3), dtype=np.uint8) for _ in range(12)]
    whole = write(tmp_path / "whole.mp4", noise).stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    at_the_end = "the file holds 0 of 12 frames"
    # OpenCV 4.13 does not report whether a frame was written.
    in_the_middle = at_the_end if cv2.VideoWriter().write(noise[0]) is None else r"frame \d+ is not accepted"
    for limit, what in ((40_000, in_the_middle), (whole - 400, at_the_end)):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(OSError, match=what):
                write(tmp_path / "a.mp4", noise)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

"""Video files: every frame once and in order, whole files or none, and one clear line about broken ones."""

import resource

import cv2
import numpy as np
import pytest

from inspose_jax.data import video_files


def grey(number: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frames that differ: each is brighter than the one before."""
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


def test_what_is_written_is_read_in_order_with_its_times(tmp_path):
    path = write(tmp_path / "a.mp4", grey(20))
    assert video_files.about(path) == video_files.About(num_frames=20, fps=12.5)
    frames = list(video_files.read_frames(path))
    assert [frame.seconds for frame in frames] == pytest.approx(np.arange(20) / 12.5)
    np.testing.assert_allclose(
        [frame.image.mean() for frame in frames], [f.mean() for f in grey(20)], atol=4
    )  # 8 apart


def test_colours_are_red_green_blue_on_both_ways(tmp_path):
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 200
    (frame,) = video_files.read_frames(write(tmp_path / "a.mp4", [red]))
    np.testing.assert_allclose(frame.image[24, 32], [200, 0, 0], atol=6)


def test_an_odd_side_grows_by_a_pixel_and_loses_none(tmp_path):
    (frame,) = video_files.read_frames(write(tmp_path / "a.mp4", grey(1, 47, 63)))
    assert frame.image.shape == (48, 64, 3)


def test_a_video_that_was_cut_off_gives_what_is_there_and_a_warning(tmp_path):
    whole = motion_jpeg(tmp_path / "a.avi", grey(30, 240, 320))
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match=r"a.avi: ends after \d+ of 30 frames; is it cut off"):
        frames = list(video_files.read_frames(whole))
    assert 0 < len(frames) < 30
    np.testing.assert_allclose(frames[2].image.mean(), grey(3)[2].mean(), atol=3)


def test_what_is_no_video_is_named(tmp_path):
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    content = write(tmp_path / "a.mp4", grey(20)).read_bytes()
    (tmp_path / "half.mp4").write_bytes(content[: len(content) // 2])  # what tells where frames are comes last
    for name, error, what in (
        ("text.mp4", ValueError, "not a video that can be read"),
        ("empty.mp4", ValueError, "not a video that can be read"),
        ("half.mp4", ValueError, "not a video that can be read; is it damaged, empty or cut off"),
        ("gone.mp4", FileNotFoundError, "no such video"),
        ("folder.mp4", FileNotFoundError, "is no video"),
    ):
        with pytest.raises(error, match=rf"{name}: {what}"):
            list(video_files.read_frames(tmp_path / name))


def test_a_video_without_a_frame_is_named(tmp_path):
    content = motion_jpeg(tmp_path / "a.avi", grey(5, 240, 320)).read_bytes()
    (tmp_path / "a.avi").write_bytes(content[: content.index(b"movi") + 4])
    with pytest.raises(ValueError, match=r"a.avi: (no frame of this video|not a video)"):
        list(video_files.read_frames(tmp_path / "a.avi"))


def test_a_codec_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(video_files, "CODEC", "avc1")
    with pytest.raises(OSError, match="OpenCV refuses avc1 video of 48 x 64 pixels"):
        write(tmp_path / "a.mp4", grey(2))


def test_missing_space_is_told_in_the_middle_and_at_the_end(tmp_path):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (240, 320, 3), dtype=np.uint8) for _ in range(12)]
    whole = write(tmp_path / "whole.mp4", noise).stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    at_the_end = "the file holds 0 of 12 frames"
    # OpenCV 4.13 does not tell of a frame whether it was written.
    in_the_middle = at_the_end if cv2.VideoWriter().write(noise[0]) is None else r"frame \d+ is not accepted"
    for limit, what in ((40_000, in_the_middle), (whole - 400, at_the_end)):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(OSError, match=what):
                write(tmp_path / "a.mp4", noise)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

"""Videos through the model: people frame by frame, as on single images; complete files or none; constant memory."""

import json
import re
import threading
import tracemalloc
from dataclasses import replace

import faults
import jax
import numpy as np
import pytest
import tiny

from inspose_jax import cli, predictor
from inspose_jax.data import video_files
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.errors import UserError
from inspose_jax.predictor import BATCH, People

NUMBER = 2 * BATCH + 2


def record(path, number, size=64):
    source = DrawnPeople(replace(tiny.CONFIG.data.scene, size=size), "val", 0, 20)
    with video_files.writing(path, 12.5) as add:
        for i in range(number):
            add(source[i % 20].image)
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A video of drawn people."""
    return record(tmp_path_factory.mktemp("video") / "people.mp4", NUMBER)


@pytest.fixture(scope="module")
def model(place):
    return predictor.load(place / "run", jax.local_devices())  # as the command does


def test_every_frame_gives_the_people_of_its_image_in_order(video, model):
    frames = list(video_files.read_frames(video))
    found = list(model.video(video, threshold=0.0))
    expected = model([frame.image for frame in frames], threshold=0.0)
    assert len(found) == NUMBER
    for frame, people, alone in zip(frames, found, expected, strict=True):
        np.testing.assert_array_equal(people.image, frame.image)
        np.testing.assert_array_equal(people.keypoints, alone.keypoints)
        assert (people.seconds, people.path) == (frame.seconds, video)
        assert len(people) > 0
    assert (next(model.video(str(video), 0.9)).scores >= 0.9).all()


def test_predict_draws_the_video_and_writes_one_line_per_frame(place, video, model, tmp_path, capsys):
    lines = tmp_path / "people.jsonl"
    arguments = ["--checkpoint", str(place / "run"), "--threshold", "0.2", "--out", str(tmp_path / "drawn")]
    cli.main(["predict", str(video), *arguments, "--json", str(lines)])
    printed = capsys.readouterr()
    assert re.search(rf"people.mp4: {NUMBER} frames with at most \d people in one", printed.out)
    assert f"{NUMBER}/{NUMBER}" in printed.err  # the bar knows the number of frames
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    found = list(model.video(video, threshold=0.2))
    assert [row["people"] for row in rows] == [people.to_coco(i) for i, people in enumerate(found)]
    assert [(row["frame"], row["file_name"]) for row in rows] == [(i, "people.mp4") for i in range(NUMBER)]
    assert [row["seconds"] for row in rows] == pytest.approx(np.arange(NUMBER) / 12.5)
    assert any(row["people"] for row in rows)
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["people.mp4"]
    assert video_files.read_info(tmp_path / "drawn/people.mp4") == video_files.VideoInfo(NUMBER, 12.5)
    for drawn, people in zip(video_files.read_frames(tmp_path / "drawn/people.mp4"), found, strict=True):
        assert drawn.image.shape == people.image.shape
        from_drawing, from_image = (
            np.abs(drawn.image.astype(float) - image).mean() for image in (people.plot(), people.image)
        )
        assert len(people) == 0 or from_drawing < from_image  # compression takes less than drawing gives


def test_a_recording_of_variable_rate_keeps_its_duration_when_drawn(place, tmp_path, capsys):
    milliseconds = [10_000 + 3 * i * i for i in range(20)]  # no rate that a file could state fits
    frames = [np.full((64, 64, 3), 10 + 8 * i, np.uint8) for i in range(20)]
    path = faults.matroska(tmp_path / "a.webm", frames, milliseconds, is_sized=False)
    lines = tmp_path / "people.jsonl"
    command = ["predict", "--checkpoint", place / "run", path, "--out", tmp_path / "drawn", "--json", lines]
    cli.main([str(word) for word in command])
    assert "20/20" in capsys.readouterr().err  # the bar knows the number of frames, which the file does not
    seconds = [json.loads(line)["seconds"] for line in lines.read_text().splitlines()]
    assert seconds == pytest.approx([0.003 * i * i for i in range(20)])
    drawn = video_files.read_info(tmp_path / "drawn/a.mp4")
    assert drawn.num_frames == 20
    assert drawn.num_frames / drawn.fps == pytest.approx(1.083, abs=0.057)  # and one frame of the usual length


@pytest.mark.parametrize("codec", ["mp4v", "avc1"])
def test_a_command_that_fails_in_the_middle_leaves_nothing(place, video, tmp_path, capsys, monkeypatch, codec):
    def fail(*_):
        raise UserError("a fault in the middle")

    monkeypatch.setattr(video_files, "CODEC", codec)  # the second cannot be written
    monkeypatch.setattr(People, "to_coco", fail)
    command = ["predict", "--checkpoint", place / "run", video, "--out", tmp_path / "out"]
    with pytest.raises(SystemExit) as ending:
        cli.main([str(word) for word in (*command, "--json", tmp_path / "people.jsonl")])
    assert ending.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    refusal = f"{tmp_path / 'out/people.mp4'}: cannot be written (OpenCV refuses avc1 video of 64 x 64 pixels)"
    assert line.startswith(f"inspose: error: {'a fault in the middle' if codec == 'mp4v' else refusal}")
    assert list(tmp_path.iterdir()) == []


def test_people_are_found_in_a_thread_while_the_next_frames_are_read(video, model, monkeypatch):
    read, threads = [], []

    def frames(path):
        for frame in read_frames(path):
            read.append(threading.get_ident())
            yield frame

    def find(self, images, threshold):
        threads.append(threading.get_ident())
        return found(self, images, threshold)

    read_frames, found = video_files.read_frames, predictor.Predictor.__call__
    monkeypatch.setattr(video_files, "read_frames", frames)
    monkeypatch.setattr(predictor.Predictor, "__call__", find)
    people = model.video(video)
    next(people)
    assert len(read) == 2 * BATCH
    people.close()
    assert set(read) == {threading.get_ident()} != set(threads)


def test_more_frames_need_no_more_memory(model, tmp_path):
    peaks = []
    for number in (40, 240):
        path = record(tmp_path / f"{number}.mp4", number, size=128)
        tracemalloc.start()
        assert sum(1 for _ in model.video(path)) == number
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 1e6  # 200 frames are 10 MB, a batch is 0.4

"""Importing the package changes nothing in a user's program; only the command line silences OpenCV."""

import os
import subprocess
import sys

import faults
import pytest
from PIL import Image

STATE = """
import logging, os, sys, warnings
# Libraries first: what they change is not our doing.
import absl.logging, cv2, flax, grain, jax, jaxtyping, numpy, optax, orbax.checkpoint, PIL.Image, tensorboardX, tqdm

def state():
    level = cv2.utils.logging.getLogLevel() if hasattr(cv2.utils, "logging") else cv2.getLogLevel()
    names = (None, "absl", "jax", "asyncio", "orbax")
    return dict(environment=dict(os.environ), threads=cv2.getNumThreads(), level=level,
                handlers=[logging.getLogger(name).handlers[:] for name in names],
                levels=[logging.getLogger(name).level for name in names],
                filters=warnings.filters[:], show=warnings.showwarning, hook=sys.unraisablehook)

before = state()
import importlib, pkgutil
import inspose_jax, inspose_jax.predictor, inspose_jax.training.loop, inspose_jax.cli, inspose_jax.data
for module in pkgutil.walk_packages(inspose_jax.data.__path__, "inspose_jax.data."):
    importlib.import_module(module.name)
after = state()
print([name for name in before if before[name] != after[name]])
"""
COMMAND_LINE = """
import os, sys
from pathlib import Path
from inspose_jax import cli
sys.argv = ["inspose", "--version"]
cli.main()
assert "cv2" not in sys.modules, "--version waits for OpenCV"
import cv2
from inspose_jax.data import image_files, video_files
for name, read in (("half.bmp", lambda path: image_files.read_image(path, True)), ("half.mp4", video_files.read_info)):
    try:
        read(Path(name))
    except ValueError as error:
        print(error)
names = ("OPENCV_LOG_LEVEL", "OPENCV_FFMPEG_LOGLEVEL", "OPENCV_FOR_THREADS_NUM")
print(cv2.getNumThreads(), *(os.environ[name] for name in names))
"""


def in_a_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The output of some code in a new Python process."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_")}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**own, **environment})


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A current folder with half an image and half a video, about which OpenCV and FFmpeg print warnings."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (100, 100)).save("half.bmp")
    faults.video("half.mp4")(tmp_path)
    for name in ("half.bmp", "half.mp4"):
        faults.half(name)(tmp_path)


def test_importing_changes_nothing_of_the_process():
    assert in_a_process(STATE).stdout == "[]\n"


def test_the_command_line_keeps_opencv_quiet_and_in_one_thread(broken):
    done = in_a_process(COMMAND_LINE)
    _, image, video, threads = done.stdout.splitlines()
    assert image.startswith("half.bmp: not an image")
    assert video.startswith("half.mp4: not a video")
    assert (threads[0], done.stderr) == ("1", "")


def test_the_users_settings_for_opencv_are_kept(broken):
    own = {"OPENCV_LOG_LEVEL": "ERROR", "OPENCV_FFMPEG_LOGLEVEL": "16", "OPENCV_FOR_THREADS_NUM": "2"}
    done = in_a_process(COMMAND_LINE, **own)
    assert done.stdout.splitlines()[-1].split()[1:] == list(own.values())
    assert "Unexpected end of input stream" in done.stderr

"""The package versions that a run and an evaluation record, however the packages were installed."""

import importlib.metadata
import json
import sys

import cv2
import jax
import pytest

from inspose_jax.evaluation import coco_ap
from inspose_jax.training import workdir
from inspose_jax.versions import version


@pytest.fixture
def no_distributions(monkeypatch):
    """As if OpenCV came as `opencv-python` or from conda, or everything in one bundled file."""

    def from_name(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata.Distribution, "from_name", from_name)


@pytest.mark.usefixtures("no_distributions")
def test_a_run_starts_whatever_the_names_of_the_distributions(tmp_path):
    workdir.open_workdir(tmp_path, {}, [], 0, "")
    told = json.loads((tmp_path / "versions.json").read_text())
    assert told.keys() >= set(workdir.PACKAGES)
    assert told["cv2"] == cv2.__version__
    assert told["jax"] == jax.__version__


@pytest.mark.usefixtures("no_distributions")
def test_the_library_that_computed_ap_is_named_as_far_as_known(monkeypatch):
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    assert coco_ap.library()[0] == "pycocotools unknown"


def test_a_missing_package_is_reported():
    assert version("pycocotools") == importlib.metadata.version("pycocotools")
    assert version("no_package_of_this_name") == "not installed"

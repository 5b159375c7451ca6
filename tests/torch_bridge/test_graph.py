"""The graph as ONNX and .pt2, and the file that decodes with numpy: they find the people that we find."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from PIL import Image

from inspose_jax import checkpoints, cli, config
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.data.image_files import read_image
from inspose_jax.predictor import Predictor

torch = pytest.importorskip("torch", reason="PyTorch is not installed; `make test-torch` has it")
for name in ("onnxscript", "onnxruntime"):
    pytest.importorskip(name, reason=f"{name} is not installed; the extra [onnx] has it")
onnx = pytest.importorskip("onnx", reason="onnx is not installed; the extra [onnx] has it")
graph = pytest.importorskip("inspose_jax.torch_bridge.graph")
torch_models = pytest.importorskip("torch_models")

pytestmark = pytest.mark.torch
OTHER_PARTS = {"disk_offset": False, "controller_kernel": 2, "box_head": True, "pose_score": "class_times_peak"}
SHAPE = (128, 192)
CASES = {  # a model, and the one shape that its graph takes, if it does not take all
    "paper": (torch_models.PAPERS, None),
    "paper, other parts": (torch_models.with_five_joints(torch_models.PAPERS, **OTHER_PARTS), None),
    "released, one shape": (torch_models.with_five_joints(torch_models.RELEASEDS, num_per_level=40), SHAPE),
    "released": (torch_models.RELEASEDS, None),
}
BOTH = ["paper", "released, one shape"]
MOST = [*BOTH, pytest.param("released", marks=pytest.mark.slow)]
SIZES = [(50, 61), (120, 80)]


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Name of a case -> our predictor, the PyTorch model, and the folder with its graphs; written once."""
    made = {}

    def of(name: str):
        if name not in made:
            given, shape = CASES[name]
            if shape:
                given = replace(given, data=replace(given.data, test_padding="shapes", shapes=(shape,)))
            ours, theirs = torch_models.both(given)
            folder = tmp_path_factory.mktemp("graphs") / "written"
            graph.write(folder, theirs, {"imported": "theirs.pth"}, shape, pt2=True)
            made[name] = ours, theirs, folder
        return made[name]

    return of


def alone(folder: Path):
    """The module that decodes, from its copy in a folder."""
    spec = importlib.util.spec_from_file_location("inspose_numpy_alone", folder / "inspose_numpy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def noise_images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


def drawn_images() -> list[np.ndarray]:
    return [DrawnPeople(config.Scene(), "test", 0, 1)[0].image]


def assert_same_people(ours: Predictor, theirs, model, images: list[np.ndarray]) -> None:
    """JAX's people; their boxes and locations, which JAX does not give for the released model, are PyTorch's.

    One of all people may differ: with random weights two cells of a map may be equal but for rounding, and which of
    them is the peak, and so perhaps who is suppressed, depends on the processor.
    """
    expected = zip(ours(images, threshold=0.0), theirs.detect(images, threshold=0.0), strict=True)
    differing = 0
    for (people, torchs), found in zip(expected, model.detect(images, threshold=0), strict=True):
        assert len(people) == len(torchs["scores"])
        # Level, row and column of each location as one number.
        ours_at, theirs_at = (np.asarray(one["locations"], float) @ [1e10, 1e5, 1] for one in (found, torchs))
        in_both, here, there = np.intersect1d(ours_at, theirs_at, return_indices=True)
        assert len(in_both) > 3
        assert (np.diff(there[here.argsort()]) > 0).all(), "best first, as they are"
        has_peaks = (np.abs(found["keypoints"][here] - people.keypoints[there]) <= 0.01).all((1, 2))
        differing += len(np.union1d(ours_at, theirs_at)) - has_peaks.sum()
        here, there = here[has_peaks], there[has_peaks]
        np.testing.assert_allclose(found["boxes"][here], torchs["boxes"][there], rtol=0, atol=0.01)
        np.testing.assert_allclose(found["scores"][here], people.scores[there], rtol=0, atol=1e-4)
        np.testing.assert_allclose(found["keypoint_scores"][here], people.keypoint_scores[there], rtol=0, atol=1e-4)
    assert differing <= 1


@pytest.mark.parametrize("name", [*MOST, "paper, other parts"])
def test_onnxruntime_and_numpy_find_our_people(written, name):
    ours, theirs, folder = written(name)
    assert_same_people(ours, theirs, alone(folder).load(folder), noise_images() + drawn_images())


@pytest.mark.parametrize("name", MOST)
def test_they_find_our_people_in_a_real_image(written, name, coco_real):
    ours, theirs, folder = written(name)
    image = read_image(sorted((coco_real / "val").glob("*.jpg"))[0], follow_exif=True)
    assert_same_people(ours, theirs, alone(folder).load(folder), [image])


@pytest.mark.parametrize("name", MOST)
def test_the_pt2_file_gives_the_tensors_of_the_model(written, name):
    _, theirs, folder = written(name)
    module = torch.export.load(folder / graph.PT2).module()
    smallest = 160 if theirs.is_released else 64  # as the folder's README.md says
    for shape in [CASES[name][1]] if CASES[name][1] else [(smallest, smallest), (320, 256)]:
        image = torch.randn(1, 3, *shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected, found = graph.Graph(theirs)(image), module(image)
        assert list(found) == list(expected)
        for key in expected:
            assert torch.equal(found[key], expected[key]), key


@pytest.mark.parametrize("name", BOTH)
def test_the_graph_ends_before_sizes_depend_on_the_image(written, name):
    _, theirs, folder = written(name)
    content = onnx.load(folder / graph.ONNX)
    height, width = (side.dim_value for side in content.graph.input[0].type.tensor_type.shape.dim[2:])
    assert (height, width) == (CASES[name][1] or (0, 0))  # 0 stands for any
    operators = {node.op_type for node in content.graph.node}
    assert not operators & {"NonMaxSuppression", "TopK", "NonZero", "Where", "If", "Loop", "Scan"}
    assert ("GridSample" in operators) == theirs.is_released
    assert [one.version for one in content.opset_import if not one.domain] == [graph.OPSET]
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "config.json", "inspose_numpy.py", "model.onnx", "model.pt2",
    ]  # fmt: skip


AFTER = """
import sys
np.savez("people.npz", **people)
heavy = {"torch", "jax", "inspose_jax", "cv2", "onnx"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("name", BOTH)
def test_the_files_work_in_a_folder_of_their_own_as_their_readme_shows(written, name, tmp_path):
    ours, theirs, folder = written(name)
    for file in ("inspose_numpy.py", "config.json", "model.onnx"):
        shutil.copy(folder / file, tmp_path)
    image = noise_images()[0]
    Image.fromarray(image).save(tmp_path / "photo.jpg", "PNG")  # which keeps every byte
    readme = (folder / "README.md").read_text()
    code = readme.split("```python\n")[1].split("```")[0]
    assert "np.asarray(photo))" in code
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-c", code.replace("np.asarray(photo))", "np.asarray(photo), threshold=0)") + AFTER]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "people.npz") as people:
        np.testing.assert_allclose(people["keypoints"], ours(image, threshold=0.0).keypoints, rtol=0, atol=0.01)
    assert "on resnet18, written by inspose-jax." in readme
    assert f"{len(theirs.keypoint_names)} joints of each: nose, " in readme
    assert "The weights are those of the file theirs.pth, and their licence is not known here" in readme


RESIZED = [
    ((90, 120), (100, 133)), ((64, 64), (32, 32)), ((64, 48), (40, 24)), ((37, 53), (20, 91)), ((480, 640), (160, 213)),
    ((1, 7), (3, 14)), ((9, 1), (4, 5)), ((40, 40), (40, 60)), ((33, 33), (33, 33)),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new"), RESIZED)
def test_numpy_resizes_to_the_bytes_of_opencv(written, old, new):
    cv2 = pytest.importorskip("cv2")
    image = np.random.default_rng(0).integers(0, 256, (*old, 3), dtype=np.uint8)
    expected = cv2.resize(image, new[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(alone(written("paper")[2]).resize(image, new), expected)


@pytest.mark.parametrize("case", ["random", "ties", "duplicates", "zero_area", "crowded", "all_equal", "one"])
def test_numpy_keeps_the_boxes_that_the_released_code_keeps(written, golden, case):
    arrays = golden("ops")
    boxes, scores = (arrays[f"softnms/{case}/{key}"] for key in ("boxes", "scores"))
    kept, decayed = alone(written("paper")[2]).soft_suppress(boxes, scores, 0.3, 0.001, len(boxes))
    np.testing.assert_array_equal(kept, arrays[f"softnms/{case}/kept"])
    np.testing.assert_allclose(decayed, arrays[f"softnms/{case}/kept_scores"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", BOTH)
def test_nobody_and_what_is_no_image(written, name):
    _, theirs, folder = written(name)
    model, joints = alone(folder).load(folder), len(theirs.keypoint_names)
    model.config["model"]["decoding"]["score_threshold"] = 1.0
    image = noise_images()[0]
    (nobody,) = model.detect(image)
    assert {key: values.shape for key, values in nobody.items()} == {
        "keypoints": (0, joints, 2),
        "keypoint_scores": (0, joints),
        "scores": (0,),
        "boxes": (0, 4),
        "locations": (0, 3),
    }
    for wrong in (image.astype(np.float32), image[..., :1], image[..., 0], image[:0]):
        with pytest.raises(ValueError, match="an image is RGB u8"):
            model.detect(wrong)


def test_the_command_writes_what_a_checkpoint_holds(place, tmp_path, capsys):
    out = tmp_path / "onnx"
    cli.main(["export-onnx", str(place / "run"), str(out), "--shape", "64", "64"])
    assert capsys.readouterr().out.startswith(f"{out}: model.onnx, ")
    assert json.loads((out / "config.json").read_text())["data"]["shapes"] == [[64, 64]]
    loaded = checkpoints.load(place / "run")
    image = drawn_images()[0]
    expected = Predictor(loaded.config, loaded.variables)(image, threshold=0.0)
    (found,) = alone(out).load(out).detect(image, threshold=0)
    assert len(found["scores"]) == tiny.MODEL.decoding.num_poses
    np.testing.assert_allclose(found["keypoints"], expected.keypoints, rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("shape", "there", "said"), [("64 100", False, "multiples of 32"), ("64 64", True, "already exists")]
)
def test_the_command_says_what_is_wrong_and_leaves_nothing(place, tmp_path, capsys, shape, there, said):
    out = tmp_path / "onnx"
    if there:
        out.mkdir()
        (out / "mine.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit, match="2"):
        cli.main(["export-onnx", str(place / "run"), str(out), "--shape", *shape.split()])
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert sorted(tmp_path.rglob("*")) == before

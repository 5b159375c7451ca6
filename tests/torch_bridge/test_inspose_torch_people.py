"""The PyTorch file finds our people in real and in drawn images: models of full size, the demo's, and the released one.

The weights are random, but for one narrow model that was trained.  Both sides see the same resized bytes.  A joint may
differ where the two best cells of its map are closer than float32's noise; such joints are counted, and there are few.
"""

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny

import inspose_jax
from inspose_jax import cli, config, config_json, geometry, recipes
from inspose_jax.data import pipeline
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.data.image_files import read_image
from inspose_jax.predictor import Predictor
from inspose_jax.released import config as released_config
from inspose_jax.released import network as released_network
from inspose_jax.skeletons import CROWDPOSE, Skeleton
from inspose_jax.torch_bridge import export, pth

torch = pytest.importorskip("torch", reason="PyTorch is not installed; `make test-torch` has it")
torch_models = pytest.importorskip("torch_models")

pytestmark = pytest.mark.torch
NUM_IMAGES = 3
TRAINED = Path(__file__).parents[1] / "formats" / "1"  # a run of the demo's recipe, narrow, and drawn images
NOISE = 1e-5  # of the largest logit of a map, between the two programs
SMALL = config.replace(
    released_config.Model(),
    backbone_widths=(4, 8, 16, 32),
    fpn_channels=32,
    head_channels=32,
    coarse_channels=64,
    keypoint_channels=32,
    dense_channels=32,
)


def real_images(coco_real: Path) -> list[Path]:
    """The first images of one size, so that few shapes are compiled."""
    paths = sorted((coco_real / "val").glob("*.jpg"))
    wide = [path for path in paths if read_image(path, follow_exif=True).shape == (480, 640, 3)]
    assert len(wide) >= NUM_IMAGES
    return wide[:NUM_IMAGES]


def watch_gaps(alone, monkeypatch) -> list[dict]:
    """A list that gets, for each image, (level, row, column) of a person -> bool[K], where a second cell is close."""
    seen: list[dict] = []
    keypoint_maps = alone.keypoint_maps

    def watched(model, outputs, where, size=None):
        close = []
        for maps in keypoint_maps(model, outputs, where, size):
            logits = maps
            if model.is_released:
                logits = torch.nn.functional.interpolate(maps, scale_factor=2, mode="bicubic", align_corners=False)
            best = logits.flatten(2).topk(2).values
            close.append((best[..., 0] - best[..., 1] < NOISE * logits.abs().amax((2, 3))).numpy())
            yield maps
        seen.append(dict(zip(map(tuple, where.tolist()), np.concatenate(close), strict=True)))

    monkeypatch.setattr(alone, "keypoint_maps", watched)
    return seen


def our_people(ours: Predictor, images: list[np.ndarray]) -> list[dict]:
    """(level, row, column) -> joints, joints' scores and score of each person of each image."""
    model = ours.config.model
    is_released = isinstance(model, released_config.Model)
    levels = released_network.LEVELS if is_released else model.network.levels
    map_level = released_network.MAP_LEVEL if is_released else model.network.map_level
    people = []
    for image in images:
        source = pipeline.Images([image], ours.skeleton)
        grid = geometry.make_grid(ours.plan(source)[0].shape, levels, map_level, model.kp_net.relative_scale)
        with jax.numpy_dtype_promotion("standard"):
            ((_, found),) = ours.find(source)
        places = (grid.points[found.location] // grid.strides[found.location][:, None]).astype(int)
        where = np.stack([grid.level[found.location], places[:, 1], places[:, 0]], -1).tolist()
        people.append(dict(zip(map(tuple, where), zip(*found[:3], strict=True), strict=True)))
    return people


def assert_same_people(
    alone, ours: Predictor, theirs, images: list[np.ndarray], monkeypatch, least: int = 4
) -> list[dict]:
    """Both find the same people, at least so many in every image; returns ours."""
    expected, has_close_second = our_people(ours, images), watch_gaps(alone, monkeypatch)
    excused = number = 0
    for people, found, close in zip(expected, theirs.detect(images, threshold=0), has_close_second, strict=True):
        where = list(map(tuple, found["locations"].tolist()))
        assert set(where) == set(people)
        assert len(where) >= least
        for i, place in enumerate(where):
            joints, joint_scores, score = people[place]
            assert float(found["scores"][i]) == pytest.approx(float(score), abs=1e-5)
            far = np.abs(found["keypoints"][i].numpy() - joints).max(-1) > 1e-3
            assert not (far & ~close[place]).any()
            np.testing.assert_allclose(found["keypoint_scores"][i].numpy(), joint_scores, rtol=1e-3)
            excused, number = excused + int(far.sum()), number + len(far)
    print(f"{excused} of {number} joints have a close second elsewhere")
    assert excused <= 0.01 * number
    return expected


def found_everywhere(given: config.Config, short_side: int, **fields) -> config.Config:
    """A config that finds people with random weights, at a small size."""
    model = config.replace(given.model, score_threshold=0.3, nms_threshold=0.9, num_poses=50, **fields)
    long_side = short_side * 3 // 2
    shapes = ((short_side, long_side), (long_side, short_side))
    sizes = {"test_short_side": short_side, "long_side": long_side, "shapes": shapes}
    return replace(given, model=model, data=replace(given.data, **sizes))


def crowdpose_with(*others: str) -> Skeleton:
    """CrowdPose's joints and others, in an order that is not COCO's."""
    names = (*reversed(CROWDPOSE.keypoint_names), *others)
    return Skeleton("own", names, limbs=(), flip_pairs=(), oks_sigmas=(0.05,) * len(names))


RELEASED = recipes.read("released_r50_coco_3x").config
CONFIGS = {
    "demo": found_everywhere(recipes.read("drawn_people").config, 128),
    "small released": found_everywhere(replace(RELEASED, model=SMALL), 128),
    "released, fixed shapes, own joints with a nose": found_everywhere(
        replace(
            RELEASED,
            model=replace(SMALL, skeleton=crowdpose_with("nose")),
            data=replace(RELEASED.data, test_padding="shapes"),
        ),
        128,
    ),
    "paper, own padding": found_everywhere(
        replace(tiny.CONFIG, data=replace(tiny.CONFIG.data, test_padding="own")), 96, num_candidates=60
    ),
}
FULL = {
    "R50": (recipes.read("r50_coco_100e").config, {}),
    "R101": (recipes.read("r101_coco_100e").config, {}),
    "HRNet-w32": (recipes.read("hrnet_w32_coco_100e").config, {}),
    "released R50": (RELEASED, {}),
    "released R101": (RELEASED, {"backbone": "resnet101"}),
}


def drawn_images() -> list[np.ndarray]:
    source = DrawnPeople(config.Scene(), "test", 0, 2)
    return [source[i].image for i in range(2)]


@pytest.mark.parametrize("name", CONFIGS)
def test_people_are_ours_in_drawn_images(alone, name, monkeypatch):
    ours, theirs = torch_models.both(CONFIGS[name], alone)
    assert_same_people(alone, ours, theirs, drawn_images(), monkeypatch)


def test_a_trained_model_finds_the_same_people_in_drawn_and_in_real_images(alone, tmp_path, monkeypatch, coco_real):
    with tarfile.open(TRAINED / "run.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    ours = inspose_jax.load(tmp_path / "run")
    export.export(tmp_path / "run", tmp_path / "hub")
    paths = sorted(TRAINED.glob("*.png")) + real_images(coco_real)
    images = [read_image(path, follow_exif=True) for path in paths]
    people = assert_same_people(alone, ours, alone.load(tmp_path / "hub"), images, monkeypatch, least=1)
    assert sum(map(len, people)) > 20
    for found in people[:3]:  # all it was trained on are drawn people
        assert max(score for _, _, score in found.values()) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_people_are_ours_at_full_size_in_real_and_drawn_images(alone, name, monkeypatch, coco_real):
    given, fields = FULL[name]
    ours, theirs = torch_models.both(found_everywhere(given, 256, **fields), alone)
    images = [read_image(path, follow_exif=True) for path in real_images(coco_real)]
    assert_same_people(alone, ours, theirs, images + drawn_images(), monkeypatch)


def same_order(joints: np.ndarray, wanted: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The order that gives f[N,K,2] the order of `wanted`, in which only people of equal scores change places."""
    apart = np.abs(joints[None] - wanted[:, None]).mean((2, 3))
    apart[np.abs(scores[:, None] - scores) > 1e-5] = np.inf
    order = apart.argmin(1)
    assert sorted(order) == list(range(len(joints)))
    return order


@pytest.mark.slow
def test_the_command_line_finds_its_people_with_an_imported_model(alone, tmp_path, coco_real, monkeypatch):
    """A released model of random weights: import-torch and predict with the recipe's sizes, nothing else."""
    with torch.device("meta"):
        model = alone.InsPose(config_json.to_dict(replace(RELEASED, model=SMALL)))
    tensors = torch_models.random_tensors(model, seed=7)
    tensors["bbox_head.conv_cls.bias"] -= 2  # a few people above the thresholds, and not everywhere
    pth.write_pth(tmp_path / "random.pth", tensors)
    images = real_images(coco_real)
    with jax.numpy_dtype_promotion("standard"):
        cli.main(["import-torch", str(tmp_path / "random.pth"), "--out", str(tmp_path / "run")])
        words = [*map(str, images), "--json", str(tmp_path / "people.json"), "--threshold", "0"]
        cli.main(["predict", "--checkpoint", str(tmp_path / "run"), *words])
    results = json.loads((tmp_path / "people.json").read_text())
    theirs, has_close_second = alone.load(tmp_path / "random.pth"), watch_gaps(alone, monkeypatch)
    excused = number = 0
    for path in images:
        (found,) = theirs.detect(read_image(path, follow_exif=True), threshold=0)
        mine = [result for result in results if result["file_name"] == path.name]
        assert len(mine) == len(found["scores"]) > 3
        np.testing.assert_allclose([result["score"] for result in mine], found["scores"], rtol=0, atol=1e-5)
        joints = np.array([result["keypoints"] for result in mine]).reshape(-1, 17, 3)[..., :2]
        joints = joints[same_order(joints, found["keypoints"].numpy(), found["scores"].numpy())]
        far = np.abs(joints - found["keypoints"].numpy()).max(-1) > 1e-3
        close = np.array([has_close_second[-1][place] for place in map(tuple, found["locations"].tolist())])
        assert not (far & ~close).any()
        excused, number = excused + far.sum(), number + far.size
    assert excused <= 0.01 * number

"""The PyTorch file, used alone: it equals the released code's numbers and, for the paper's model, our own network."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rival_poses
import tied_candidates
import tiny
from safetensors.numpy import save_file

from inspose_jax import config, config_json, methods
from inspose_jax.predictor import Predictor
from inspose_jax.skeletons import COCO
from inspose_jax.torch_bridge import export

torch = pytest.importorskip("torch", reason="PyTorch is not installed; `make test-torch` has it")

from oracle.network import stages, training  # noqa: E402

pytestmark = pytest.mark.torch
LEVELS = ("P3", "P4", "P5", "P6", "P7")
GOLDEN_IMAGES = ("a", "b")


@pytest.fixture(autouse=True)
def _standard_promotion():  # the strict one promotes no half precision
    with jax.numpy_dtype_promotion("standard"):
        yield


def stored(reference: Path, name: str) -> dict[str, np.ndarray]:
    """The arrays of a file of reference numbers, or a skip."""
    path = reference / "golden" / name
    if not path.exists():
        pytest.skip(f"no reference numbers at {path}; set INSPOSE_REFERENCE_DATA")
    with np.load(path) as arrays:
        return dict(arrays)


def keys(reference: Path, name: str) -> dict[str, str]:
    """Name -> shape of the tensors in a list of keys, or a skip."""
    path = reference / "keys" / name
    if not path.exists():
        pytest.skip(f"no lists of keys at {path}; set INSPOSE_REFERENCE_DATA")
    return dict(line.split("\t")[:2] for line in path.read_text().splitlines()[1:])


def shapes(model) -> dict[str, str]:
    return {name: "x".join(map(str, tensor.shape)) or "scalar" for name, tensor in model.state_dict().items()}


# --- resizing -------------------------------------------------------------------------------------------------------

SIZES = [
    ((90, 120), (100, 133)),
    ((131, 97), (135, 100)),
    ((64, 64), (32, 32)),
    ((64, 48), (32, 30)),
    ((64, 48), (40, 24)),
    ((37, 53), (20, 91)),
    ((480, 640), (160, 213)),
    ((50, 60), (333, 400)),
    ((1, 7), (3, 14)),
    ((9, 1), (4, 5)),
    ((40, 40), (40, 60)),
]


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_resize_gives_the_bytes_of_opencv(alone, old, new):
    cv2 = pytest.importorskip("cv2")
    image = np.random.default_rng(0).integers(0, 256, (*old, 3), dtype=np.uint8)
    expected = cv2.resize(image, new[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(alone.resize(torch.tensor(image), new).numpy(), expected)


# --- the released model ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(reference) -> dict:
    return {name: torch.tensor(array) for name, array in stored(reference, "model.npz").items()}


def released(alone, weights, dtype=torch.float32):
    """The small released model, at the size at which its numbers were taken."""
    about = alone.released_config(weights)
    about["data"] = {"test_short_side": 100, "long_side": 160, "test_padding": "own"}
    model = alone.InsPose(about)
    model.load_state_dict(weights)
    return model.to(dtype).eval()


@pytest.mark.parametrize("letter", GOLDEN_IMAGES)
def test_every_stage_equals_the_released_code(alone, weights, reference, letter):
    arrays = stored(reference, "forward_eval.npz")
    noise = dict(zip(arrays["noise_names"].tolist(), arrays["noise_values"].tolist(), strict=True))
    found = stages(released(alone, weights), arrays[f"{letter}/img"])
    names = [name for name in arrays if name.startswith(f"{letter}/") and "/f64/" not in name and "/img" not in name]
    assert len(names) > 20
    for name in names:
        expected, bound = arrays[name], max(1e-4 * np.abs(arrays[name]).max(), 3 * noise[name])
        actual = found[name.split("/", 1)[1]][0]
        np.testing.assert_allclose(actual, expected.reshape(actual.shape), rtol=0, atol=bound, err_msg=name)


@pytest.mark.parametrize("letter", GOLDEN_IMAGES)
def test_in_float64_it_equals_the_released_code_to_its_last_digits(alone, weights, reference, letter):
    arrays = stored(reference, "forward_eval.npz")
    found = stages(released(alone, weights, torch.float64), arrays[f"{letter}/img"])
    names = [name for name in arrays if name.startswith(f"{letter}/f64/")]
    assert len(names) == 11
    for name in names:
        expected, actual = arrays[name], found[name.split("/", 2)[2]][0]
        bound = 1e-9 * np.abs(expected).max()
        np.testing.assert_allclose(actual, expected.reshape(actual.shape), rtol=0, atol=bound, err_msg=name)


def test_in_training_mode_it_equals_the_released_code(alone, weights, reference):
    arrays = stored(reference, "forward_train.npz")
    found = stages(training(released(alone, weights, torch.float64)), arrays["img"])
    names = [name for name in arrays if name not in ("img", "noise_names", "noise_values")]
    assert len(names) > 40
    for name in names:  # computed in float64, stored in float32
        bound = 1e-6 * np.abs(arrays[name]).max()
        np.testing.assert_allclose(found[name], arrays[name], rtol=0, atol=bound, err_msg=name)


@pytest.mark.parametrize("letter", GOLDEN_IMAGES)
def test_from_the_bytes_of_an_image_to_the_people_of_the_released_code(alone, weights, reference, letter):
    cv2 = pytest.importorskip("cv2")
    pipeline, detections = stored(reference, "pipeline.npz"), stored(reference, "detections.npz")
    image = cv2.imdecode(pipeline[f"{letter}/png"], cv2.IMREAD_COLOR)[..., ::-1].copy()
    model = released(alone, weights)
    network_input, size, scale = model.preprocess(image)
    np.testing.assert_array_equal(network_input.numpy(), pipeline[f"{letter}/test/input"])
    np.testing.assert_array_equal(np.tile(scale.numpy(), 2), pipeline[f"{letter}/test/scale_factor"])
    assert size == tuple(pipeline[f"{letter}/test/img_shape"])
    for number in (1000, 25):
        model.config["model"]["decoding"]["num_per_level"] = number
        (people,) = model.detect(image, threshold=0)
        expected = {name: detections[f"{letter}/top{number}/{name}"] for name in ("locations", "scores", "boxes")}
        np.testing.assert_array_equal(people["locations"].numpy(), expected["locations"])
        np.testing.assert_allclose(people["scores"].numpy(), expected["scores"], rtol=0, atol=1e-4)
        np.testing.assert_allclose(people["boxes"].numpy(), expected["boxes"], rtol=0, atol=0.01)
        # A joint's two best cells differ by 1.1e-5 or more, which is above float32's noise: nothing is excused.
        joints = detections[f"{letter}/top{number}/joints"]
        np.testing.assert_allclose(people["keypoints"].numpy(), joints, rtol=0, atol=0.01)


@pytest.mark.parametrize("case", "abcdefg")
def test_the_star_convolution_is_a_deformable_convolution(alone, reference, case):
    arrays = stored(reference, "ops.npz")
    x, offset, kernel, grad = (
        torch.tensor(arrays[f"dcn/{case}/{name}"]).double() for name in ("input", "offset", "weight", "grad_out")
    )
    for tensor in (x, offset, kernel):
        tensor.requires_grad_()
    height, width = x.shape[2:]
    cells = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), -1)
    taps = torch.tensor([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)])
    places = offset.unflatten(1, (9, 2)).permute(0, 1, 3, 4, 2).flip(-1) + cells + taps[:, None, None]
    # At a whole number the bilinear reading has a corner, and the released code takes the slope on its right, but that
    # on its left where the map begins, since a place at -1 or before lies outside.  Rounding may put grid_sample on
    # either side, hence a hair's breadth.
    side = torch.where(places <= -1, -1e-11, 1e-11)
    out = alone.star_convolution(x, torch.where(places == places.round(), places + side, places), kernel)
    out.backward(grad)
    results = {"out": out.detach(), "grad_input": x.grad, "grad_weight": kernel.grad, "grad_offset": offset.grad}
    for name, actual in results.items():
        expected = arrays[f"dcn/{case}/{name}"]
        bound = 1e-9 * np.abs(expected).max()
        np.testing.assert_allclose(np.asarray(actual), expected, rtol=0, atol=bound, err_msg=name)


CASES = ["random", "ties", "duplicates", "zero_area", "crowded", "all_equal", "exact_threshold", "one"]


@pytest.mark.parametrize("case", CASES)
def test_soft_nms_keeps_the_same_boxes_in_the_same_order(alone, reference, case):
    arrays = stored(reference, "ops.npz")
    boxes, scores = (torch.tensor(arrays[f"softnms/{case}/{name}"]) for name in ("boxes", "scores"))
    kept, decayed = alone.soft_suppress(boxes, scores, 0.3, 0.001, len(boxes))
    np.testing.assert_array_equal(kept.numpy(), arrays[f"softnms/{case}/kept"])
    np.testing.assert_allclose(decayed.numpy(), arrays[f"softnms/{case}/kept_scores"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("suppression", rival_poses.SUPPRESSIONS)
def test_every_suppression_keeps_what_a_plain_loop_keeps(alone, suppression):
    for keypoints, scores, expected in rival_poses.cases(suppression):
        order, candidates, boxes = rival_poses.best_first(keypoints, scores)
        given = map(torch.tensor, (candidates, boxes, scores[order]))
        kept, left = alone.suppressed(rival_poses.settings(suppression), *given)
        assert order[kept.numpy()].tolist() == [index for index, _ in expected]
        np.testing.assert_allclose(left.numpy(), [score for _, score in expected], rtol=1e-5)


@pytest.mark.parametrize("most", tied_candidates.PICKED)
def test_of_equal_candidates_the_first_in_line_wins(alone, most):
    model = config.replace(tiny.RELEASED, num_per_level=most)
    theirs = alone.InsPose(config_json.to_dict(replace(tiny.CONFIG, model=model)))
    images = torch.zeros(1, 3, *tied_candidates.SIZE)
    logits, coarse = map(torch.tensor, tied_candidates.heads(17))
    with torch.no_grad():
        made = theirs.eval()(images)
        sizes = [x.shape[2] * x.shape[3] for x in made.logits]
        outputs = made._replace(
            logits=[x.reshape(level.shape) for x, level in zip(logits.split(sizes), made.logits, strict=True)],
            coarse=[x.flatten(1).T.reshape(y.shape) for x, y in zip(coarse.split(sizes), made.coarse, strict=True)],
        )
        found = alone.released_people(theirs, outputs, tied_candidates.SIZE, torch.ones(2))
    everywhere = alone.every_location(made.logits)
    assert torch.equal(found["locations"], everywhere[tied_candidates.PICKED[most]])
    np.testing.assert_allclose(found["scores"].numpy(), tied_candidates.SCORES, rtol=1e-6)


def test_full_size_it_has_the_keys_of_the_released_checkpoint_in_their_order(alone, reference):
    expected = keys(reference, "released_r50.tsv")
    tensors = {
        name: torch.empty([] if shape == "scalar" else [int(side) for side in shape.split("x")], device="meta")
        for name, shape in expected.items()
    }
    about = alone.released_config(tensors)
    with torch.device("meta"):
        model = alone.InsPose(about)
    assert list(shapes(model).items()) == list(expected.items())
    assert about["model"]["network"]["backbone"] == "resnet50"
    assert model.keypoint_names == list(COCO.keypoint_names)
    assert model.bbox_head.star_joints == [0, 5, 6, 9, 10, 11, 12, 15, 16]


def test_five_joints_have_a_star_too(alone, weights):
    about = alone.released_config(weights)
    about["model"]["skeleton"]["keypoint_names"] = ["nose", "left_wrist", "right_wrist", "left_hip", "right_hip"]
    about["data"] = {"test_short_side": 64, "long_side": 96, "test_padding": "own"}
    model = alone.InsPose(about)
    assert model.bbox_head.star_joints == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    about["model"]["decoding"]["score_threshold"] = 0.0
    (people,) = model.detect(np.zeros((50, 60, 3), np.uint8), threshold=0)
    assert people["keypoints"].shape == (len(people["scores"]), 5, 2)
    assert len(people["scores"])


# --- HRNet ----------------------------------------------------------------------------------------------------------


def test_hrnet_equals_mmdets(alone, reference):
    arrays = stored(reference, "hrnet_w4_seed0.npz")
    sizes = [
        shape[:ndim].tolist() for ndim, shape in zip(arrays["weights/ndim"], arrays["weights/shapes"], strict=True)
    ]
    parts = torch.tensor(arrays["weights/flat"]).split([int(np.prod(size)) for size in sizes])
    tensors = {
        name: part.reshape(size)
        for name, part, size in zip(arrays["weights/names"].tolist(), parts, sizes, strict=True)
    }
    model = alone.HRNet([4, 8, 16, 32]).eval()
    differing = model.load_state_dict(tensors, strict=False)
    assert not differing.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in differing.missing_keys)
    with torch.no_grad():
        maps = model(torch.tensor(arrays["input"]))
    for stride, x in zip((4, 8, 16, 32), maps, strict=True):
        expected = arrays[f"out/stride{stride}"]
        bound = max(1e-5 * np.abs(expected).max(), 3 * arrays[f"noise/stride{stride}"])
        np.testing.assert_allclose(x.numpy(), expected, rtol=0, atol=bound)


@pytest.mark.parametrize("width", [32, 48])
def test_hrnet_has_the_keys_of_its_imagenet_weights(alone, reference, width):
    classifier = ("incre_modules", "downsamp_modules", "final_layer", "classifier")
    expected = keys(reference, f"hrnet_w{width}.tsv")
    with torch.device("meta"):
        model = alone.make_backbone(f"hrnet_w{width}", [])
    assert shapes(model) == {name: shape for name, shape in expected.items() if not name.startswith(classifier)}


# --- the paper's model ----------------------------------------------------------------------------------------------

FULL = (3, 4, 5, 6, 7)
MODELS = {
    "tiny": tiny.MODEL,
    "bottlenecks and all levels": tiny.model(
        backbone="resnet50", levels=FULL, level_limits=(64.0, 128.0, 256.0, 512.0), head_depth=2, keypoint_depth=2
    ),
    "shared trunk": tiny.model(shared_trunk=True, controller_kernel=1),
    "no offsets": tiny.model(disk_offset=False, pose_score="class_times_peak"),
    "maps of stride 4": tiny.model(map_level=2, heatmap=False),
    "maps of stride 16": tiny.model(map_ratio=0.5),
    "maps of stride 2": tiny.model(map_ratio=4.0),
    "box head": tiny.model(box_head=True),
    "no towers": tiny.model(head_depth=0, keypoint_depth=0, controller_kernel=2),
    "five joints, other KP-Nets": config.replace(
        tiny.model(skeleton=COCO.subset("nose", "left_wrist", "right_wrist", "left_hip", "right_hip")),
        kp_net=config.KPNet(feature_channels=4, width=6, depth=4, relative_scale=32.0),
    ),
}


def trained(model: config.Model) -> dict:
    """Random variables of which no norm is trivial."""
    rng = np.random.default_rng(5)

    def fill(path, leaf):
        if path[-1].key in ("scale", "var"):
            return jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), jnp.float32)
        return jnp.asarray(rng.normal(0, 0.1, leaf.shape), jnp.float32) if leaf.ndim == 1 else leaf

    return jax.tree_util.tree_map_with_path(fill, tiny.variables(model))


def both(alone, model: config.Model):
    """Our config and variables, and the same model in PyTorch; decoding finds somebody."""
    model = config.replace(model, score_threshold=0.3, nms_threshold=0.9, num_candidates=60, num_poses=50)
    data = replace(tiny.CONFIG.data, test_short_side=64, long_side=96, shapes=((64, 96), (96, 64)))
    ours, variables = replace(tiny.CONFIG, model=model, data=data), trained(model)
    theirs = alone.InsPose(json.loads(json.dumps(config_json.to_dict(ours))))
    theirs.load_state_dict({name: torch.tensor(x) for name, x in export.state_dict(variables, model).items()})
    return ours, jax.tree.map(jnp.asarray, variables), theirs.eval()


def noise_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def padded(alone, theirs, image: np.ndarray):
    """The image as our network gets it, its size, and as PyTorch's does."""
    network_input, size, _ = theirs.preprocess(image)
    batch = np.zeros((1, *network_input.shape[1:], 3), np.uint8)
    batch[0, : size[0], : size[1]] = alone.resize(torch.tensor(image), size).numpy()
    return jnp.asarray(batch), jnp.array([size], jnp.int32), network_input[None]


@pytest.mark.parametrize("name", MODELS)
def test_outputs_equal_ours(alone, name):
    ours, variables, theirs = both(alone, MODELS[name])
    batch, size, network_input = padded(alone, theirs, noise_image(50, 61))
    expected, _ = methods.for_model(ours.model).apply(variables, batch, size)
    with torch.no_grad():
        actual = theirs(network_input)
    pairs = [(expected.logits[0], torch.cat([x[0].flatten() for x in actual.logits]))]
    pairs += [
        (a[0], b[0].permute(1, 2, 0)) for a, b in zip(expected.controller.features, actual.controller, strict=True)
    ]
    pairs.append((expected.features[0], actual.features[0].permute(1, 2, 0)))
    if ours.model.network.disk_offset:
        pairs.append((expected.disk_offsets[0], actual.offsets[0].permute(1, 2, 0)))
    assert (actual.offsets is None) == (expected.disk_offsets is None)
    assert (actual.sides is None) == (expected.sides is None)
    if actual.sides is not None:
        pairs.append((expected.sides[0], torch.cat([x[0].flatten(1) for x in actual.sides], 1).T))
    assert actual.heatmaps is None
    for a, b in pairs:
        np.testing.assert_allclose(b.numpy(), a, rtol=0, atol=1e-5 * np.abs(a).max())


def test_heatmaps_equal_ours_in_training_mode(alone):
    ours, variables, theirs = both(alone, tiny.model(batch_norm="frozen", frozen_stages=4))
    batch, size, network_input = padded(alone, theirs, noise_image(50, 61))
    expected, _ = methods.for_model(ours.model).apply(variables, batch, size, train=True)
    theirs.train().backbone.eval()
    with torch.no_grad():
        actual = theirs(network_input).heatmaps[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(actual, expected.heatmaps[0], rtol=0, atol=1e-5 * np.abs(expected.heatmaps).max())


@pytest.mark.parametrize("name", MODELS)
def test_people_equal_ours(alone, name):
    ours, variables, theirs = both(alone, MODELS[name])
    images = [noise_image(*size, seed) for seed, size in enumerate([(50, 61), (120, 80), (64, 96), (200, 30)])]
    expected = Predictor(ours, variables)(images, threshold=0.0)
    exact = copy.deepcopy(theirs).double().detect(images, threshold=0)
    for people, found, same in zip(expected, theirs.detect(images, threshold=0), exact, strict=True):
        assert len(people) == len(found["scores"]) > 3
        scores = found["scores"].numpy()
        noise = np.abs(scores - same["scores"].numpy())  # of PyTorch's own float32, up to 2e-5 for one random person
        assert (np.abs(scores - people.scores) <= 1e-5 + noise).all()
        np.testing.assert_allclose(found["keypoints"].numpy(), people.keypoints, rtol=0, atol=1e-3)
        np.testing.assert_allclose(found["boxes"].numpy(), people.boxes, rtol=0, atol=1e-3)
        np.testing.assert_allclose(found["keypoint_scores"].numpy(), people.keypoint_scores, rtol=0, atol=1e-4)


def test_of_two_poses_that_collapsed_to_one_point_one_is_kept(alone):
    _, _, theirs = both(alone, tiny.model(disk_offset=False))
    logits = torch.full((8 * 12 + 4 * 6,), -9.0)
    logits[[10, 50]] = torch.tensor([1.0, 2.0])
    with torch.no_grad():
        for x in theirs.bbox_head.controller.parameters():
            x.zero_()  # the maps are 0 everywhere: every joint lies in the first cell
        made = theirs(torch.zeros(1, 3, 64, 96))
        levels = zip(logits.split([96, 24]), made.logits, strict=True)
        outputs = made._replace(logits=[x.reshape(level.shape) for x, level in levels])
        found = alone.paper_people(theirs, outputs, (64, 96), torch.ones(2))
    assert found["locations"].tolist() == [[0, 4, 2]]
    assert (found["keypoints"] == 4).all()  # the middle of the first cell


def test_in_bfloat16_it_is_as_near_to_ours_as_bfloat16_is_to_float32(alone):
    ours, variables, theirs = both(alone, tiny.model(compute_dtype="bfloat16"))
    batch, size, _ = padded(alone, theirs, noise_image(50, 61))
    expected, _ = methods.for_model(ours.model).apply(variables, batch, size)
    exact, _ = methods.for_model(tiny.model(compute_dtype="float32")).apply(variables, batch, size)
    theirs.bfloat16()
    with torch.no_grad():
        actual = theirs(padded(alone, theirs, noise_image(50, 61))[2])
    assert actual.controller[0].dtype == torch.bfloat16
    for name, values in (
        ("logits", torch.cat([x[0].flatten() for x in actual.logits])),
        ("features", actual.features[0].permute(1, 2, 0)),
        ("disk_offsets", actual.offsets[0].permute(1, 2, 0)),
    ):
        assert values.dtype == torch.float32
        noise = np.abs(np.asarray(getattr(expected, name)) - np.asarray(getattr(exact, name))).max()
        np.testing.assert_allclose(values.numpy(), getattr(expected, name)[0], rtol=0, atol=2 * noise, err_msg=name)
    (people,) = theirs.detect(noise_image(50, 61), threshold=0)
    assert {values.dtype for values in people.values()} == {torch.float32, torch.int64}


def test_a_list_an_image_and_nobody(alone):
    _, _, theirs = both(alone, tiny.MODEL)
    images = [noise_image(50, 61), noise_image(61, 50)]
    found = theirs.detect(images, threshold=0.0)
    (alone_found,) = theirs.detect(torch.tensor(images[1]), threshold=0)
    assert all(torch.equal(alone_found[name], found[1][name]) for name in alone_found)
    theirs.config["model"]["decoding"]["score_threshold"] = 1.0
    (nobody,) = theirs.detect(images[0])
    sizes = {name: tuple(values.shape) for name, values in nobody.items()}
    assert sizes == {
        "keypoints": (0, 17, 2),
        "keypoint_scores": (0, 17),
        "scores": (0,),
        "boxes": (0, 4),
        "locations": (0, 3),
    }
    for wrong in (images[0].astype(np.float32), images[0][..., :1], images[0][..., 0], images[0][:0]):
        with pytest.raises(ValueError, match="an image is RGB u8"):
            theirs.detect(wrong)


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(alone, tmp_path):
    """A folder with the tiny model and its config, and the model."""
    ours, variables, theirs = both(alone, tiny.MODEL)
    save_file(export.state_dict(variables, ours.model), tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps(config_json.to_dict(ours)))
    return tmp_path, theirs


def assert_same(model, other) -> None:
    for (name, tensor), (other_name, other_tensor) in zip(
        model.state_dict().items(), other.state_dict().items(), strict=True
    ):
        assert name == other_name
        assert torch.equal(tensor, other_tensor), name
    assert not model.training


def test_load_reads_a_folder_and_both_kinds_of_file(alone, saved):
    folder, theirs = saved
    assert_same(alone.load(folder), theirs)
    assert_same(alone.load(str(folder / "model.safetensors")), theirs)
    wrapped = {f"module.{name}": tensor for name, tensor in theirs.state_dict().items()}
    for number, content in enumerate((theirs.state_dict(), {"meta": {"epoch": 1}, "state_dict": wrapped})):
        torch.save(content, folder / f"{number}.pth")
        assert_same(alone.load(folder / f"{number}.pth"), theirs)


def test_load_says_what_is_missing(alone, saved):
    folder, _ = saved
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        alone.load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no \.safetensors and no \.pth"):
        alone.load(folder)


def test_released_weights_need_no_config(alone, weights, tmp_path):
    torch.save({"meta": {}, "state_dict": weights}, tmp_path / "released.pth")
    model = alone.load(tmp_path / "released.pth")
    assert_same(model, released(alone, weights))
    assert model.config["data"] == {"test_short_side": 800, "long_side": 1333, "test_padding": "own"}


def test_it_goes_to_a_model_hub_and_back(alone, saved):
    pytest.importorskip("huggingface_hub")
    folder, theirs = saved
    theirs.save_pretrained(folder / "hub")
    assert_same(alone.InsPose.from_pretrained(str(folder / "hub")).eval(), theirs)
    assert_same(alone.load(folder / "hub"), theirs)


def test_every_variable_has_a_name_of_its_own():
    for model in (MODELS["tiny"], MODELS["maps of stride 4"], MODELS["no towers"]):
        variables = tiny.variables(model)
        tensors = export.state_dict(variables, model)
        counts = {name: x for name, x in tensors.items() if name.endswith("num_batches_tracked")}
        assert len(tensors) == len(jax.tree.leaves(variables)) + len(counts)
        assert len(counts) == sum(name.endswith("running_mean") for name in tensors)
        assert {(x.dtype, x.shape) for x in counts.values()} == {(np.dtype(np.int64), ())}

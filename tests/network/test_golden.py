"""Backbone, neck and towers compute what PyTorch computes with the same weights, in evaluation and in training.

The numbers have two origins.  `golden/network.npz` is made by plain PyTorch modules (`golden/make.py`).  The reference
data has what the authors' released code computed for a small model; its heads are not the paper's, but its backbone,
neck and towers are laid out as ours.
"""

from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import packed
import pytest

from inspose_jax import config
from inspose_jax.network.fpn import FPN
from inspose_jax.network.instance_heads import theta_at
from inspose_jax.network.resnet import ResNet
from inspose_jax.network.tower import Output, Tower
from inspose_jax.structures import Controller
from inspose_jax.torch_bridge import names, weights

OWN = Path(__file__).parent / "golden" / "network.npz"
LEVELS = range(3, 8)  # of the released model
# mmdetection's names of what ours calls lateral3, output6, conv0 and norm0
LAYERS = {"lateral": "lateral_convs.{}.conv", "output": "fpn_convs.{}.conv", "conv": "{}.conv", "norm": "{}.gn"}


class Parts(nn.Module):
    """The parts of the network that both sources have; returns their outputs by the names of the stored arrays."""

    network: config.Network
    towers: dict[str, int]
    train: bool
    features: bool  # with the tower of F_kp and the last layer that the released model has after it

    @nn.compact
    def __call__(self, image):
        ours, size = self.network, jnp.full((len(image), 2), 1, jnp.int32)  # any but 0: no blank images
        backbone = ResNet(ours.backbone, ours.backbone_widths, self.train, 1, None, name="backbone")
        stages = backbone(image, size)
        pyramid = FPN(ours.levels, ours.fpn_channels, name="neck")(stages)
        found = {f"C{level}": x for level, x in stages.items()} | {f"P{level}": x for level, x in pyramid.items()}
        for name, channels in self.towers.items():
            tower = Tower(channels, ours.head_depth, name=f"{name}_convs")
            found |= {f"{name}_tower/P{level}": tower(x) for level, x in pyramid.items()}
        if self.features:
            trunk = Tower(ours.keypoint_channels, ours.keypoint_depth, name="shared_convs")(pyramid[ours.map_level])
            found["F_kp"] = ReleasedFeatures(name="shared_convs_last")(trunk)
        return found


class ReleasedFeatures(nn.Module):
    """Where ours has a convolution with bias, the released model has one more unit, with two groups."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (3, 3), use_bias=False, dtype=x.dtype, name="conv4")(x)
        return nn.relu(nn.GroupNorm(2, epsilon=1e-5, use_fast_variance=False, dtype=x.dtype, name="norm4")(x))


RELEASED = {
    "network": config.Network(backbone="resnet50", backbone_widths=(4, 8, 16, 32), fpn_channels=32),
    "features": True,
}
RELEASED_TOWERS = {"cls": 32, "ctrl": 32, "kpt": 64}
NARROW = {"backbone_widths": (4, 6, 8, 10), "fpn_channels": 8}
EVALUATED = {
    "network": config.Network(backbone="resnet50", levels=(2, 3, 4, 5, 6, 7), **NARROW),
    "towers": {},
    "features": False,
}
TRAINED = {
    "network": config.Network(backbone="resnet18", levels=(3, 4), head_depth=2, **NARROW),
    "towers": {"cls": 64},
    "features": False,
}


# --- weights and outputs ---------------------------------------------------------------------------------------------


def released(path: tuple[str, ...], levels: tuple[int, ...]) -> str:
    """The released model's name of a parameter outside the backbone.

    ("neck", "output6", "kernel") -> "neck.fpn_convs.3.conv.weight";
    ("cls_convs", "norm0", "scale") -> "bbox_head.cls_convs.0.gn.weight".
    """
    part, layer, leaf = path
    kind, number = layer[:-1], int(layer[-1])
    place = "neck" if part == "neck" else f"bbox_head.{part.removesuffix('_last')}"
    number -= levels[0] if part == "neck" else 0
    return f"{place}.{LAYERS[kind].format(number)}.{names.LEAVES[leaf]}"


def variables(parts: Parts, tensors: dict[str, np.ndarray]) -> Any:
    """The parameters and statistics of `parts` from PyTorch's tensors, the backbone as `--init` would load it."""
    shapes = jax.eval_shape(lambda: parts.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3))))
    backbone = {name: array for name, array in tensors.items() if name.startswith("backbone.")}
    loaded, _ = weights.fill_backbone(Path("golden"), backbone, "a resnet", shapes)

    def take(tree_path: tuple, leaf: Any) -> np.ndarray:
        path = tuple(entry.key for entry in tree_path)
        if path[0] == "backbone":
            return leaf
        array = names.to_flax(tensors[released(path, parts.network.levels)])
        assert array.shape == leaf.shape, path
        return array

    return {**loaded, "params": jax.tree_util.tree_map_with_path(take, loaded["params"])}


class Computed(NamedTuple):
    """What `parts` computes."""

    outputs: dict[str, np.ndarray]  # in PyTorch's axis order
    before: Any  # running statistics
    after: Any


def compute(parts: Parts, tensors: dict[str, np.ndarray], image: np.ndarray, dtype: Any) -> Computed:
    """The outputs for a PyTorch image f[B,3,H,W], in the given precision."""
    is_double = dtype == np.float64
    promotion = "standard" if is_double else "strict"  # which has no way from float32 to float64
    with jax.enable_x64(is_double), jax.numpy_dtype_promotion(promotion):
        given = jax.tree.map(lambda x: jnp.asarray(x, dtype), variables(parts, tensors))
        apply = jax.jit(lambda given, image: parts.apply(given, image, mutable=["batch_stats"]))
        found, changed = jax.device_get(apply(given, jnp.asarray(image.transpose(0, 2, 3, 1), dtype)))
    outputs = {name: x.transpose(0, 3, 1, 2) for name, x in found.items()}
    return Computed(outputs, jax.device_get(given["batch_stats"]), changed["batch_stats"])


def assert_close(found: np.ndarray, expected: np.ndarray, bound: float, name: str, noise: float = 0):
    """That no number is further off than `bound` of the largest, or three times the noise where that is more."""
    assert found.shape == expected.shape, name
    largest = np.abs(expected).max()
    assert largest > 0, name
    difference = np.abs(found.astype(np.float64) - expected).max()
    assert difference <= max(bound * largest, 3 * noise), f"{name}: {difference / largest:.1e} of the largest number"


def assert_statistics_follow(computed: Computed, expected: dict[str, np.ndarray], bound: float):
    """That the running statistics after a pass in training are PyTorch's, but for a factor in the variance.

    PyTorch mixes in n / (n - 1) times the variance that it normalises by, where n counts the cells of the batch; ours,
    like Flax, mixes in that variance itself.
    """
    is_bottleneck = any("bn3" in name for name in expected)
    before = dict(jax.tree_util.tree_leaves_with_path(computed.before["backbone"]))
    for tree_path, after in jax.tree_util.tree_leaves_with_path(computed.after["backbone"]):
        path = tuple(entry.key for entry in tree_path)
        if path[0] in ("stem", "stage1"):
            np.testing.assert_array_equal(after, before[tree_path], str(path))
            continue
        name = f"backbone.{names.backbone_name(path)}"
        theirs = expected[name]
        if path[-1] == "var":
            is_before_stride = is_bottleneck and path[1:3] == ("block0", "norm1")
            level = int(path[0][-1]) + (0 if is_before_stride else 1)
            images, _, height, width = computed.outputs[f"C{level}"].shape
            cells = images * height * width
            old = 0.9 * before[tree_path]
            theirs = old + (theirs - old) * (cells - 1) / cells
        assert_close(after, theirs, bound, name)


# --- the file beside the tests ---------------------------------------------------------------------------------------


def own(case: str) -> dict[str, Any]:
    """The arrays of a case; weights and statistics are in dicts by PyTorch's names."""
    found: dict[str, Any] = {}
    for key, array in packed.load(OWN).items():
        name = key.removeprefix(f"{case}/")
        kind, _, inner = name.partition("/")
        if name != key and kind in ("model", "after"):
            found.setdefault(kind, {})[inner] = array.astype(np.float64)
        elif name != key:
            found[name] = array
    return found


@pytest.mark.parametrize(("case", "parts"), [("evaluation", EVALUATED), ("training", TRAINED)])
def test_outputs_are_those_of_plain_pytorch_modules(case, parts):
    stored = own(case)
    model, image, after = stored.pop("model"), stored.pop("image"), stored.pop("after", None)
    computed = compute(Parts(train=case == "training", **parts), model, image, np.float32)
    assert stored.keys() <= computed.outputs.keys()
    for name, expected in stored.items():
        assert_close(computed.outputs[name], expected, 1e-5, name)
    if after is not None:
        assert_statistics_follow(computed, after, 1e-5)


# --- the authors' code -----------------------------------------------------------------------------------------------


def noise_of(stored: Any) -> dict[str, float]:
    """How far the reference's own float32 numbers are off."""
    return dict(zip(stored["noise_names"].tolist(), stored["noise_values"].tolist(), strict=True))


# C2 to C5 and the towers are stored of the first image alone, P3 to P7 and F_kp of both.
@pytest.mark.parametrize(("image", "towers", "number"), [("a", RELEASED_TOWERS, 4 + 5 + 3 * 5 + 1), ("b", {}, 5 + 1)])
def test_outputs_are_the_authors(image, towers, number, golden):
    stored = golden("forward_eval")
    noise, parts = noise_of(stored), Parts(towers=towers, train=False, **RELEASED)
    computed = compute(parts, golden("model"), stored[f"{image}/img"], np.float32)
    compared = {name: f"{image}/{name}" for name in computed.outputs if f"{image}/{name}" in stored.files}
    assert len(compared) == number
    for name, key in compared.items():
        assert_close(computed.outputs[name], stored[key], 1e-4, key, noise[key])


def test_outputs_in_training_are_the_authors(golden):
    """The reference was computed in float64 and stored in float32."""
    stored = golden("forward_train")
    parts = Parts(towers=RELEASED_TOWERS, train=True, **RELEASED)
    computed = compute(parts, golden("model"), stored["img"], np.float64)
    for name, found in computed.outputs.items():
        assert_close(found, stored[name], 1e-6, name)
    grads = golden("grads")
    after = {key.removeprefix("bn_after/"): grads[key] for key in grads if "bn_after" in key}
    assert_statistics_follow(computed, after, 1e-10)


def test_logits_and_theta_are_the_authors(golden):
    """The last layers, on the features that the authors' code gave them."""
    model, stored = golden("model"), golden("forward_eval")

    def features(tower: str, star: str) -> list[jax.Array]:
        maps = (np.concatenate([stored[f"a/{kind}/P{level}"] for kind in (tower, star)], 1) for level in LEVELS)
        return [jnp.asarray(x.transpose(0, 2, 3, 1)) for x in maps]

    def layer(name: str) -> dict[str, jax.Array]:
        return {
            "kernel": jnp.asarray(names.to_flax(model[f"{name}.weight"])),
            "bias": jnp.asarray(model[f"{name}.bias"]),
        }

    noise = noise_of(stored)
    to_logits = {"params": {"conv": layer("bbox_head.conv_cls")}}
    for level, x in zip(LEVELS, features("cls_tower", "cls_star"), strict=True):
        key = f"a/logits/P{level}"
        found = np.asarray(Output(1).apply(to_logits, x)).transpose(0, 3, 1, 2)
        assert_close(found, stored[key], 1e-4, key, noise[key])

    kept = Controller(tuple(features("ctrl_tower", "ctr_star")), **layer("bbox_head.controller"))
    expected = [stored[f"a/theta/P{level}"].reshape(1, 313, -1).swapaxes(1, 2) for level in LEVELS]
    expected = np.concatenate(expected, 1)
    every = jnp.arange(expected.shape[1], dtype=jnp.int32)[None]
    largest_noise = max(noise[f"a/theta/P{level}"] for level in LEVELS)
    assert_close(np.asarray(jax.jit(theta_at)(kept, every)), expected, 1e-4, "theta", largest_noise)

"""Weights from PyTorch's files without PyTorch: read exactly, and refused if they are invalid."""

import os
from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from safetensors.numpy import save_file
from torch_files import Tensor, backbone, write_legacy, write_zip

from inspose_jax import config, recipes
from inspose_jax.cli import initial_weights
from inspose_jax.torch_bridge import load_torch, names, pth, save_torch, weights

MATRIX = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_tensors_are_read_unchanged(tmp_path, write):
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    half = np.array([1.5, -2], np.float16)
    bfloat = np.array([0x3FC0, 0xC000], np.uint16)  # 1.5, -2
    content = OrderedDict(
        plain=Tensor(matrix),
        turned=Tensor(matrix, transposed=True),
        half=Tensor(half, "HalfStorage"),
        bfloat=Tensor(bfloat, "BFloat16Storage"),
        count=Tensor(np.array(7, np.int64), "LongStorage"),
        note="not a tensor",
    )
    write(tmp_path / "a.pth", {"state_dict": content})
    read = pth.read_pth(tmp_path / "a.pth")
    assert read.keys() == content.keys() - {"note"}
    np.testing.assert_array_equal(read["plain"], matrix)
    np.testing.assert_array_equal(read["turned"], matrix)
    np.testing.assert_array_equal(read["half"], half)
    np.testing.assert_array_equal(read["bfloat"], np.array([1.5, -2], jnp.bfloat16))
    assert read["bfloat"].dtype == jnp.bfloat16
    assert read["count"] == 7


class Malicious:
    def __reduce__(self):
        return os.system, ("touch harmed",)


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "bad.pth", {"weight": Malicious()})
    with pytest.raises(ValueError, match=r"bad.pth: holds \w+.system, which is not a tensor"):
        pth.read_pth(tmp_path / "bad.pth")
    assert not (tmp_path / "harmed").exists()


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "cut.pth"
    write_legacy(path, {"w": Tensor(np.ones(100, np.float32))})
    path.write_bytes(path.read_bytes()[:-50])
    for content in (path.read_bytes(), b"hello", b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"cut.pth: "):
            pth.read_pth(path)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101", "hrnet_w32", "hrnet_w48"])
def test_names_and_shapes_are_those_of_the_published_files(name, reference):
    table = reference / "keys" / f"{'torchvision_' if name.startswith('resnet') else ''}{name}.tsv"
    if not table.is_file():
        pytest.skip(f"no reference data at {table}; set INSPOSE_REFERENCE_DATA")
    rows = [line.split("\t") for line in table.read_text().splitlines()[1:]]
    used = [row for row in rows if not (names.is_counter(row[0]) or names.is_classifier(row[0]))]
    expected = {row[0]: tuple(int(n) for n in row[1].split("x")) for row in used}
    assert all("not_used" not in row[3] for row in used)
    assert backbone(config.Model(network=config.Network(backbone=name))) == expected


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)
    found = {name: rng.normal(size=shape).astype(np.float32) for name, shape in backbone(tiny.MODEL).items()}
    return {**found, "fc.weight": np.zeros((3, 3), np.float32), "bn1.num_batches_tracked": np.array(1)}


def load(path):
    loaded, ignored = weights.fill_backbone(path, load_torch(path), "a resnet18", tiny.variables())
    assert ignored == ["fc.weight"]
    return loaded["params"], loaded["batch_stats"]


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_every_weight_is_put_in_its_place(tmp_path, tensors, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "pth":
        write_zip(path, OrderedDict((f"module.{name}", Tensor(array)) for name, array in tensors.items()))
    else:
        save_file(tensors, path)
    params, batch_stats = load(path)
    kernel = tensors["layer2.0.downsample.0.weight"]
    ours = params["backbone"]["stage2"]["block0"]["shortcut_conv"]["kernel"]
    np.testing.assert_array_equal(ours, kernel.transpose(2, 3, 1, 0))
    assert ours[0, 0, 1, 2] == kernel[2, 1, 0, 0]
    stem = params["backbone"]["stem"]["conv"]["kernel"]
    assert stem[5, 3, 1, 2] == tensors["conv1.weight"][2, 1, 5, 3]  # row and column keep their order
    np.testing.assert_array_equal(batch_stats["backbone"]["stem"]["norm"]["var"], tensors["bn1.running_var"])
    np.testing.assert_array_equal(params["backbone"]["stem"]["norm"]["scale"], tensors["bn1.weight"])
    before = tiny.variables()["params"]["fpn"]
    jax.tree.map(np.testing.assert_array_equal, params["fpn"], before)


def test_the_weights_of_another_model_are_refused(tmp_path, tensors):
    path = tmp_path / "a.safetensors"
    for change, message in (
        ({"layer4.2.conv1.weight": np.zeros(1, np.float32)}, "1 not in the model: layer4.2.conv1.weight[.] Give"),
        (
            {"conv1.weight": np.zeros((4, 3, 49, 1), np.float32)},
            r"1 of another shape: conv1.weight \(4, 3, 49, 1\), the model's \(4, 3, 7, 7\)[.] Give",
        ),
        ({"bn1.weight": np.zeros(64, np.float32)}, r": bn1.weight \(64,\), the model's \(4,\)[.] Give"),
    ):
        save_file({**tensors, **change}, path)
        with pytest.raises(ValueError, match=message):
            load(path)
    save_file({name: array for name, array in tensors.items() if name != "conv1.weight"}, path)
    with pytest.raises(ValueError, match=r"not the weights of a resnet18: 1 missing: conv1\.weight[.] Give"):
        load(path)


def test_all_that_does_not_fit_is_named(tmp_path, tensors):
    gone = [f"layer{i}.{j}.conv1.weight" for i in (1, 2, 3, 4) for j in (0, 1)]
    strange = [f"keypoint_head.{i}.weight" for i in range(20)]
    narrow = [f"layer{i}.1.bn2.running_var" for i in (1, 2, 3, 4)]
    changed = {name: array for name, array in tensors.items() if name not in gone}
    changed |= dict.fromkeys(strange, np.zeros(1, np.float32)) | dict.fromkeys(narrow, np.zeros(1, np.float32))
    save_file(changed, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"8 missing: .*; 20 not in the model: .*; 4 of another shape: ") as error:
        load(tmp_path / "a.safetensors")
    words = str(error.value).replace(",", "").replace(";", "").split()
    assert [name for name in (*gone, *strange, *narrow) if words.count(name.rstrip(".")) != 1] == []


def test_the_classifier_that_is_ignored_is_told_by_its_parts():
    found = ["incre_modules.0.0.conv1.weight", "incre_modules.1.0.conv1.weight", "final_layer.0.bias"]
    assert weights.summary(found) == "incre_modules (2), final_layer (1)"


def test_the_command_line_says_what_it_ignores(tmp_path, tensors, capsys):
    save_file(tensors, tmp_path / "a.safetensors")
    recipe = recipes.read("drawn_people")

    def load_into(path):
        return initial_weights.load_into(path, recipe, tiny.CONFIG, tiny.METHOD, tiny.variables())

    _, told = load_into(tmp_path / "a.safetensors")
    assert told == {"derived_from": "a.safetensors"}
    assert capsys.readouterr().out.endswith("a.safetensors: the classifier is ignored: fc (1)\n")
    save_file({name: x for name, x in tensors.items() if name != "fc.weight"}, tmp_path / "b.safetensors")
    load_into(tmp_path / "b.safetensors")
    assert not capsys.readouterr().out


def test_an_hrnet_s_file_for_imagenet_fills_the_whole_backbone(tmp_path):
    model = tiny.model(backbone="hrnet_w32")
    rng = np.random.default_rng(0)
    found = {name: rng.normal(size=shape).astype(np.float32) for name, shape in backbone(model).items()}
    rest = ("incre_modules.0.0.conv1.weight", "downsamp_modules.0.0.bias", "final_layer.0.weight", "classifier.bias")
    save_torch({**found, "bn1.num_batches_tracked": np.array(1), **dict.fromkeys(rest, MATRIX)}, tmp_path / "a.pth")
    before = tiny.variables(model)
    path = tmp_path / "a.pth"
    loaded, ignored = weights.fill_backbone(path, load_torch(path), "a hrnet_w32", before)
    assert tuple(ignored) == rest
    params, batch_stats = loaded["params"]["backbone"], loaded["batch_stats"]["backbone"]
    for ours, theirs in (
        (params["stem"]["conv2"]["kernel"], "conv2.weight"),
        (params["stage1"]["block0"]["shortcut_conv"]["kernel"], "layer1.0.downsample.0.weight"),
        (params["stage2"]["transition0"]["conv"]["kernel"], "transition1.0.0.weight"),
        (params["stage4"]["transition3"]["halving0"]["conv"]["kernel"], "transition3.3.0.0.weight"),
        (params["stage3"]["module3"]["fuse2_0"]["halving1"]["conv"]["kernel"], "stage3.3.fuse_layers.2.0.1.0.weight"),
        (params["stage3"]["module3"]["fuse0_2"]["conv"]["kernel"], "stage3.3.fuse_layers.0.2.0.weight"),
        (batch_stats["stage3"]["module3"]["fuse0_2"]["norm"]["mean"], "stage3.3.fuse_layers.0.2.1.running_mean"),
        (params["stage4"]["module2"]["branch3"]["block1"]["norm2"]["bias"], "stage4.2.branches.3.1.bn2.bias"),
    ):
        np.testing.assert_array_equal(ours, names.to_flax(found[theirs]))
    jax.tree.map(np.testing.assert_array_equal, loaded["params"]["fpn"], before["params"]["fpn"])


def test_doubles_are_converted_and_wrapper_prefixes_removed(tmp_path, tensors):
    path = tmp_path / "a.safetensors"
    save_file({f"backbone.{name}": array.astype(np.float64) for name, array in tensors.items()}, path)
    params, batch_stats = load(path)
    np.testing.assert_array_equal(params["backbone"]["stem"]["norm"]["bias"], tensors["bn1.bias"])
    leaves = jax.tree.leaves((params["backbone"], batch_stats["backbone"]))
    assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float32)}

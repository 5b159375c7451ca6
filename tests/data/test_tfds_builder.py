"""Building: what TFDS's own test of a builder checks (it needs TensorFlow), and what a build must not leave behind."""

import copy
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import horses
import numpy as np
import pytest
import tensorflow_datasets as tfds
import test_coco_dialects
from tensorflow_datasets.core import shuffle

from inspose_jax import cli
from inspose_jax.cli import sources
from inspose_jax.config import Scene
from inspose_jax.data import shard_index, shards, tfds_builder
from inspose_jax.data.coco import CocoFolder
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.errors import UserError
from inspose_jax.evaluation import crowd_ap
from inspose_jax.skeletons import COCO, FROM_DATA

FEW = DrawnPeople(Scene(size=32, num_people=(0, 2)), "test", 0, 5)


def read(folder):
    return CocoFolder(folder / "images", folder / "annotations.json", COCO, 0.0, with_masks=True)


def build(out, sources, only_labelled=False, num_shards=None, num_workers=2):
    done = []
    version = tfds_builder.build(out, sources, only_labelled, num_shards, num_workers, lambda: done.append(1))
    return version, len(done)


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def version(varied, folder, tmp_path_factory):
    """The folder of a built set of two splits in several shards; read-only."""
    out = tmp_path_factory.mktemp("built") / "set"
    version, done = build(out, {"train": read(varied), "val": read(folder)}, num_shards=3)
    assert (version, done) == (out / "keypoints/all/1.0.0", 10)
    return version


def test_tfds_knows_splits_counts_and_versions(version, varied):
    info = tfds.builder_from_directory(version).info
    assert {name: split.num_examples for name, split in info.splits.items()} == {"train": 6, "val": 4}
    assert info.splits["train"].shard_lengths == [2, 2, 2]
    assert info.splits["val"].shard_lengths == [1, 2, 1]
    assert info.splits["train"].num_bytes > sum(file.stat().st_size for file in (varied / "images").rglob("*.*"))
    assert (info.name, info.config_name, str(info.version)) == ("keypoints", "all", "1.0.0")
    assert info.release_notes.keys() == {"1.0.0"}
    assert (info.file_format.value, info.disable_shuffling) == ("array_record", True)
    assert str(version.parents[3]) not in (version / "dataset_info.json").read_text(), "a folder may be moved"


def test_the_metadata_are_the_skeleton(version):
    known = tfds.builder_from_directory(version).info.metadata
    given = {field: json.loads(json.dumps(value)) for field, value in dataclasses.asdict(COCO).items()}
    assert {field: known[field] for field in given if field != "name"} == {k: given[k] for k in given if k != "name"}
    assert (known["skeleton"], known["joint_pixel_offset"]) == ("coco", 0)


def test_features_are_read_as_they_were_given(version, varied):
    skip = {"image": tfds.decode.SkipDecoding()}
    source, builder = read(varied), tfds.builder_from_directory(version)
    stored = builder.as_data_source(split="train", decoders=skip)
    assert len(stored) == len(source) == 6
    for i in range(6):
        record, features = source.record(i), stored[i]
        people = features["people"]
        assert features["image"] == record.image == source.path(i).read_bytes()
        assert (features["image_id"], features["file_name"].decode()) == (record.image_id, record.file_name)
        assert features["size"].tolist() == list(record.size)
        np.testing.assert_array_equal(people["joints"], record.keypoints[..., :2], strict=True)
        np.testing.assert_array_equal(people["visibility"], record.keypoints[..., 2])
        np.testing.assert_array_equal(people["box"], record.boxes_xyxy, strict=True)
        np.testing.assert_array_equal(people["area"], record.area, strict=True)
        np.testing.assert_array_equal(people["is_crowd"], record.is_crowd, strict=True)
        assert [one.decode() for one in people["mask"]] == [one["counts"] if one else "" for one in record.masks]
    assert [source.record(i).image_id for i in range(6)] == [0, 1, 2, 3, 77, 300]
    assert stored[4]["people"]["joints"].shape == (0, 17, 2), "nobody"
    assert stored[0]["people"]["area"][0] == np.float32(1234.5625), "a float"
    image = builder.as_data_source(split="train")[5]["image"]  # TFDS decodes by itself
    np.testing.assert_array_equal(image, source[5].image)


def test_a_second_reading_and_a_part_are_the_same(version):
    read_twice = [tfds.builder_from_directory(version).as_data_source(split="train") for _ in range(2)]
    ids = [[int(one["image_id"]) for one in stored] for stored in read_twice]
    assert ids[0] == ids[1] == [0, 1, 2, 3, 77, 300]
    part = tfds.builder_from_directory(version).as_data_source(split="train[50%:]")
    assert [int(one["image_id"]) for one in part] == [3, 77, 300]


def test_the_declared_features_have_types_and_units(version):
    features = tfds.builder_from_directory(version).info.features
    assert features["people"]["joints"].shape == (None, 17, 2)
    assert features["people"]["area"].np_dtype == np.float32
    assert all(features["people"][name].doc.desc for name in features["people"])


def test_only_images_with_labelled_people_are_taken_if_asked(varied, tmp_path):
    version, done = build(tmp_path / "set", {"train": read(varied)}, only_labelled=True)
    assert (version.parts[-2:], done) == (("labelled", "1.0.0"), 4)
    source = shards.BuiltSet(version)
    assert source.image_ids.tolist() == [0, 1, 2, 3]
    assert source.is_labelled.all()


@pytest.fixture(scope="module")
def crowdpose(tmp_path_factory):
    """A source over CrowdPose's kind of data, whose images are crowded up to the bounds of easy, medium and hard."""
    folder = tmp_path_factory.mktemp("crowdpose")
    horses.write_images(folder)
    content = test_coco_dialects.crowdpose()
    for image, crowd_index in zip(content["images"], (0.1, 0.8, 0.0999999999, 1), strict=True):
        image["crowdIndex"] = crowd_index
    return horses.opened((content, folder))


def results_of(source):
    """The labels of a source as results, those of the first image shifted."""
    return [
        {**one, "keypoints": [number + 3 * (one["image_id"] == 1) for number in one["keypoints"]], "score": 0.5}
        for one in source.ground_truth()["annotations"]
    ]


def test_crowdposes_evaluation_is_that_of_the_original(crowdpose, tmp_path):
    version, _ = build(tmp_path / "set", {"val": crowdpose})
    source = shards.BuiltSet(version)
    truth, results = crowdpose.ground_truth(), results_of(crowdpose)
    assert [one["crowdIndex"] for one in source.ground_truth()["images"]] == [0.1, 0.8, 0.0999999999, 1]
    levels = crowd_ap.crowd_ap(source.ground_truth(), results, crowdpose.skeleton)
    assert levels == pytest.approx(crowd_ap.crowd_ap(truth, results, crowdpose.skeleton), abs=1e-6)
    assert levels["AP_easy"] == 1 > levels["AP_medium"]
    assert [source.record(i).crowd_index for i in range(4)] == [crowdpose.record(i).crowd_index for i in range(4)]
    stored = tfds.builder_from_directory(version).as_data_source("val")
    np.testing.assert_allclose([one["crowd_index"] for one in stored], [0.1, 0.8, 0.1, 1])
    again, _ = build(tmp_path / "again", {"val": source}, only_labelled=True)
    assert [one["crowdIndex"] for one in shards.BuiltSet(again).ground_truth()["images"]] == [0.1, 0.8, 0.0999999999]


def test_a_set_without_crowd_indices_has_none_of_them(crowdpose, version, tmp_path):
    assert "crowd_index" not in tfds.builder_from_directory(version).info.features
    assert "crowd_index" not in np.load(version / "index-train.npz")
    mixed, _ = build(tmp_path / "set", {"train": crowdpose, "val": without_index(crowdpose)})
    assert np.isnan([one["crowd_index"] for one in tfds.builder_from_directory(mixed).as_data_source("val")]).all()
    assert "crowdIndex" not in shards.BuiltSet(mixed, "val").ground_truth()["images"][0]
    assert shards.BuiltSet(mixed, "val").record(0).crowd_index is None
    with np.load(mixed / "index-train.npz") as arrays:  # as versions before wrote it
        before = {name: array for name, array in arrays.items() if name != "crowd_index"}
    np.savez(mixed / "index-train.npz", **before)
    old = shards.BuiltSet(mixed, "train")
    assert "crowdIndex" not in old.ground_truth()["images"][0]
    np.testing.assert_array_equal(old[0].keypoints, crowdpose[0].keypoints)


def without_index(source):
    """The same source as of another dataset."""
    other = copy.copy(source)
    other.crowd_index = {}
    return other


def test_other_joints(tmp_path):
    three = COCO.subset("left_wrist", "nose", "right_wrist")
    drawn = DrawnPeople(Scene(size=32), "test", 0, 3, 0.5, three)
    version, _ = build(tmp_path / "set", {"train": drawn})
    assert tfds.builder_from_directory(version).info.features["people"]["joints"].shape == (None, 3, 2)
    source = shards.BuiltSet(version)
    assert source.skeleton == three
    np.testing.assert_array_equal(source[1].keypoints, drawn[1].keypoints)
    np.testing.assert_array_equal(source[1].image, drawn[1].image)


def test_a_split_larger_than_tfds_keeps_in_memory_needs_no_tensorflow(tmp_path, monkeypatch):
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 0)
    version, _ = build(tmp_path / "set", {"train": FEW})
    assert len(shards.BuiltSet(version)) == 5


@pytest.mark.parametrize("workers", [1, 3])
def test_every_image_is_decoded_once_whatever_the_number_of_workers(tmp_path, monkeypatch, workers):
    seen, decode = [], shards.decode_annotated
    monkeypatch.setattr(shards, "decode_annotated", lambda *given: seen.append(given[1]) or decode(*given))
    build(tmp_path / "set", {"train": FEW}, num_workers=workers)
    assert sorted(seen) == [f"{i:012d}.png" for i in range(5)]


def with_record(**fields):
    """Five drawn images, of which number 3 has other fields."""

    class Changed(DrawnPeople):
        def record(self, index):
            record = super().record(index)
            return record._replace(**{name: made(record) for name, made in fields.items()}) if index == 3 else record

    return Changed(Scene(size=32, num_people=(1, 2)), "test", 0, 5)


def same_ids():
    source = DrawnPeople(Scene(size=32), "test", 0, 5)
    source.image_ids = np.zeros(5, np.int64)
    return source


@pytest.mark.parametrize(
    ("sources", "num_shards", "message"),
    [
        ({"train": with_record(image=lambda record: b"\xff\xd8\xff")}, None, "000000000003.png: not an image that can"),
        ({"train": with_record(size=lambda record: (9, 32))}, None, "000000000003.png: 32 x 32 pixels, but its annot"),
        (
            {"train": with_record(keypoints=lambda record: record.keypoints + np.float32(1))},
            None,
            "000000000003.png: visibility must be 0, 1 or 2, but .* has 3",
        ),
        ({"train": FEW}, 6, "train: 5 images are too few for 6 shards"),
        ({"train": FEW, "val": same_ids()}, None, "val: two images have the same id"),
        (
            {"train": FEW, "other": DrawnPeople(Scene(size=32), "test", 0, 2, 0.5, COCO.subset("nose"))},
            None,
            "the splits train, other have different skeletons",
        ),
    ],
    ids=lambda value: value[:20].strip() if isinstance(value, str) else "",
)
def test_a_build_that_fails_says_why_and_leaves_nothing(tmp_path, sources, num_shards, message):
    with pytest.raises(UserError, match=message):
        build(tmp_path / "set", sources, num_shards=num_shards)
    assert names(tmp_path) == []


def test_the_command_builds_two_splits_and_prints_the_folder_that_tfds_reads(varied, folder, tmp_path, capsys):
    two = ["--data", str(varied), "--val-images", str(folder / "images")]
    two += ["--val-annotations", str(folder / "annotations.json")]
    cli.main(["data", "build", *two, "--out", str(tmp_path / "set"), "--shards", "2", "--workers", "1"])
    printed = capsys.readouterr()
    builder = tfds.builder_from_directory(printed.out.splitlines()[-1])
    assert {name: split.shard_lengths for name, split in builder.info.splits.items()} == {
        "train": [3, 3],
        "val": [2, 2],
    }
    people = builder.as_data_source(split="train")[1]["people"]
    assert people["mask"][0], "masks are stored"
    np.testing.assert_array_equal(people["joints"], read(varied)[1].keypoints[..., :2])  # of offset 0: as in the file
    assert "10/10" in printed.err, "the progress bar"


@pytest.mark.filterwarnings("ignore:.*(no area|joints of its own)")
def test_every_part_of_the_data_is_built_and_read_back(tmp_path, capsys):
    for number, name in enumerate(("train", "valid", "test")):
        content = test_coco_dialects.roboflow()
        content["images"] = content["images"][number:]
        kept = {image["id"] for image in content["images"]}
        content["annotations"] = [one for one in content["annotations"] if one["image_id"] in kept]
        test_coco_dialects.write(tmp_path / "raw", name, f"{name}/_annotations.coco.json", content)
    command = ["data", "build", "--data", str(tmp_path / "raw"), "--out"]
    cli.main([*command, str(tmp_path / "set")])
    info = tfds.builder_from_directory(capsys.readouterr().out.splitlines()[-1]).info
    assert {name: split.num_examples for name, split in info.splits.items()} == {"train": 4, "val": 3, "test": 2}
    for split, ids in (("train", [1, 2, 3, 4]), ("val", [2, 3, 4]), ("test", [3, 4])):
        given = sources.Given(tmp_path / "set", split=split)
        assert sources.annotated(given, FROM_DATA, 0.5).image_ids.tolist() == ids
    cli.main(["data", "show", "--data", str(tmp_path / "set"), "--split", "test", "--out", str(tmp_path / "a.jpg")])
    cli.main([*command[:3], str(tmp_path / "set"), "--out", str(tmp_path / "again")])  # of a built set too
    assert shard_index.splits(shards.version_folder(tmp_path / "again")) == ["train", "val", "test"]
    cli.main([*command, str(tmp_path / "two"), "--splits", "train", "test"])
    assert shard_index.splits(shards.version_folder(tmp_path / "two")) == ["train", "test"]
    other = tmp_path / "raw/valid"
    cli.main([*command, str(tmp_path / "other"), "--val-data", str(other / "_annotations.coco.json")])
    assert shard_index.splits(shards.version_folder(tmp_path / "other")) == ["train", "val", "test"]


@pytest.mark.filterwarnings("ignore:.*(no area|joints of its own)")
def test_a_part_that_cannot_be_used_may_be_left_out(tmp_path, capsys):
    for name in ("train", "test"):
        test_coco_dialects.write(tmp_path, name, f"{name}/_annotations.coco.json", test_coco_dialects.roboflow())
    labels = tmp_path / "test/_annotations.coco.json"
    labels.write_text(json.dumps({"images": []}))
    command = ["data", "build", "--data", str(tmp_path), "--out", str(tmp_path / "set")]
    with pytest.raises(SystemExit):
        cli.main(command)
    assert (
        f"{labels}: no list `annotations`; is it a COCO annotation file with labels?; or build without this part: "
        "--splits train\n"
    ) in capsys.readouterr().err
    cli.main([*command, "--splits", "train"])
    assert shard_index.splits(shards.version_folder(tmp_path / "set")) == ["train"]
    labels.replace(tmp_path / "train/_annotations.coco.json")  # train cannot be left out
    test_coco_dialects.write(tmp_path, "test", "test/_annotations.coco.json", test_coco_dialects.roboflow())
    with pytest.raises(SystemExit):
        cli.main([*command[:-1], str(tmp_path / "other")])
    assert capsys.readouterr().err.endswith("is it a COCO annotation file with labels?\n")


def test_data_may_be_a_built_set(varied, folder, version, tmp_path, capsys):
    num_people = len(json.loads((folder / "annotations.json").read_text())["annotations"])
    given = sources.Given(data=version.parents[2], split="val")
    source = sources.annotated(given, FROM_DATA, 0.5)
    assert isinstance(source, shards.BuiltSet)
    assert source.image_ids.tolist() == [0, 1, 2, 3]
    assert f"a built set, split val: 4 images, {num_people} people with 17 joints (coco)" in capsys.readouterr().out
    cli.main(["data", "show", "--data", str(version), "--out", str(tmp_path / "labels.jpg"), "--count", "2"])
    cli.main(["data", "build", "--data", str(version), "--out", str(tmp_path / "again"), "--only-labelled"])
    again = shards.BuiltSet(tmp_path / "again", with_masks=True)
    before = CocoFolder(varied / "images", varied / "annotations.json", COCO, 0.5, with_masks=True)
    for i in range(4):
        np.testing.assert_array_equal(again[i].keypoints, before[i].keypoints)
        np.testing.assert_array_equal(again[i].masks, before[i].masks)


def test_building_again_is_refused(version):
    before = names(version)
    with pytest.raises(UserError, match="already exists"):
        build(version.parents[2], {"train": FEW})
    assert names(version) == before


def test_nothing_else_imports_tfds():
    code = (
        "import sys, inspose_jax, inspose_jax.cli, inspose_jax.training.loop, inspose_jax.data.shards\n"
        "from inspose_jax.cli import data, sources, train\n"
        "print([name for name in ('tensorflow_datasets', 'tensorflow') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.slow
@pytest.mark.parametrize("exists", [False, True], ids=["new", "empty"])
def test_a_killed_build_never_passes_for_a_whole_one_and_is_removed_at_the_next_start(folder, tmp_path, exists):
    """Kill a build ever later after it began its folder, until one comes to its end; at the latest the last does."""
    out = tmp_path / "set"
    if exists:
        out.mkdir()
    given = ["--images", str(folder / "images"), "--annotations", str(folder / "annotations.json")]
    command = [sys.executable, "-m", "inspose_jax", "data", "build", *given, "--out", str(out), "--shards", "4"]
    place = out if exists else tmp_path
    left, num_killed = set(), 0
    for moment in (0, *0.01 * 2 ** np.arange(9)):  # until after 2.6 seconds, whatever the machine
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not set(place.glob("*.partial")) - left:
            time.sleep(0.001)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0 or shards.is_built(out):  # it came to its end, or almost
            break
        num_killed += 1
        (now,) = set(place.glob("*.partial"))  # what the kill before left is removed
        assert now not in left
        left = {now}
        with pytest.raises(UserError, match="not a built set"):
            shards.BuiltSet(out)
    assert num_killed >= 3
    if not shards.is_built(out):
        subprocess.run(command, check=True, capture_output=True)
    assert len(shards.BuiltSet(out)) == 4
    assert os.listdir(tmp_path) == ["set"]
    assert not [name for name in os.listdir(out) if name.startswith(".")]

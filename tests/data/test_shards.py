"""A built set is read as the folder that it was built from, and refused in one line when a file is not as it was."""

import json
import multiprocessing
import pickle
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
import tensorflow_datasets as tfds
import tiny
from faults import damaged_record

from inspose_jax.data import masks, pipeline, shard_index, shards, tf_example, tfds_builder
from inspose_jax.data.coco import CocoFolder
from inspose_jax.errors import NotFound, UserError
from inspose_jax.evaluation import coco_ap
from inspose_jax.skeletons import COCO
from inspose_jax.structures import Sample


def read(folder, offset=0.5):
    return CocoFolder(folder / "images", folder / "annotations.json", COCO, offset, with_masks=True)


@pytest.fixture(scope="module")
def built(varied, folder, tmp_path_factory):
    """A built set of two splits, the first in two shards; read-only."""
    out = tmp_path_factory.mktemp("built") / "set"
    sources = {"train": read(varied, 0.0), "val": read(folder, 0.0)}
    tfds_builder.build(out, sources, False, 2, 2, lambda: None)
    return out


def assert_same(one, other):
    """Two samples or batches are equal bit for bit."""
    for field, ours, theirs in zip(one._fields, one, other, strict=True):
        if ours is not None or theirs is not None:
            np.testing.assert_array_equal(ours, theirs, err_msg=field, strict=True)


@pytest.mark.parametrize("offset", [0.5, 0.0])
def test_samples_and_what_is_known_of_them_are_those_of_the_folder(varied, built, offset):
    source, ours = read(varied, offset), shards.BuiltSet(built, "train", offset, with_masks=True)
    assert isinstance(ours, pipeline.LabelledSource)
    assert isinstance(ours, pipeline.StoredSource)
    assert len(ours) == len(source) == 6
    for name in ("sizes", "image_ids", "is_labelled", "has_people"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(source, name), strict=True)
    assert pipeline.full_fingerprint(ours) == pipeline.full_fingerprint(source), "a run may continue with either"
    assert ours.skeleton == COCO
    for i in range(6):
        assert_same(ours[i], source[i])
        assert repr(ours.record(i)) == repr(source.record(i))


def test_the_offset_changes_the_hash_of_the_labels(built):
    assert shards.BuiltSet(built, joint_pixel_offset=0.25).labels_hash() != shards.BuiltSet(built).labels_hash()


@pytest.mark.parametrize("train", [True, False])
def test_batches_are_those_of_the_folder_bit_for_bit(varied, built, train):
    config = replace(tiny.CONFIG, data=replace(tiny.CONFIG.data, short_side=(48, 64), train_images="all"))
    each = []
    for source in (read(varied), shards.BuiltSet(built)):
        plan = pipeline.make_plan(source, config, train)
        each.append(list(pipeline.batches(source, plan, config, 0, 7)))
    assert len(each[0]) == len(each[1]) == 7
    for ours, theirs in zip(*each, strict=True):
        assert_same(ours, theirs)
    assert np.ptp([batch.image.sum() for batch in each[0]]) > 0


def test_labels_are_those_of_the_file(varied, built):
    truth, ours = read(varied).ground_truth(), shards.BuiltSet(built).ground_truth()
    assert ours["images"] == sorted(truth["images"], key=lambda entry: entry["id"])

    theirs = sorted(truth["annotations"], key=lambda person: person["image_id"])
    for one, other in zip(ours["annotations"], theirs, strict=True):
        for field in ("image_id", "num_keypoints", "iscrowd", "category_id"):
            assert one[field] == other[field], field
        for field in ("keypoints", "bbox", "area"):
            np.testing.assert_allclose(one[field], other[field], rtol=1e-6, err_msg=field)
    results = [
        {**{name: person[name] for name in ("image_id", "keypoints", "category_id")}, "score": 1.0}
        for person in theirs
        if person["num_keypoints"] and not person["iscrowd"]
    ]
    scores = [coco_ap.keypoint_ap(labels, results, COCO) for labels in (truth, ours)]
    assert scores[0] == scores[1]
    assert scores[0]["AP"] == 1


def test_masks_are_decoded_if_asked_for(built):
    source = shards.BuiltSet(built, with_masks=True)
    assert shards.BuiltSet(built)[0].masks is None
    assert source[1].masks[0].T.ravel().nonzero()[0].tolist() == list(range(100, 300)), "run lengths go down"
    assert source[1].masks[-1].all(), "the crowd"
    box = np.zeros((64, 64), bool)
    box[10:30, 20:50] = True
    np.testing.assert_array_equal(source[2].masks[0], box)
    polygon = source[0].masks[0]
    assert polygon[5, 20]
    assert polygon[45, 48]
    assert not polygon[50, 20]
    assert source[4].masks.shape == (0, 24, 40)
    assert not source[5].masks.any(), "unknown"
    assert masks.rle_of([], (4, 4)) is None


def test_parsing_equals_that_of_tfds(built):
    source = shards.BuiltSet(built, joint_pixel_offset=0.0)
    stored = tfds.builder_from_directory(source.folder).as_data_source(
        split="train", decoders={"image": tfds.decode.SkipDecoding()}
    )
    for i in range(6):
        ours, theirs = tf_example.parse(source.records[i]), stored[i]
        flat = {**{f"people/{name}": value for name, value in theirs.pop("people").items()}, **theirs}
        assert ours.keys() == flat.keys()
        for name, value in flat.items():
            assert ours[name].tolist() == ([value] if isinstance(value, bytes) else np.ravel(value).tolist()), name


def test_one_source_serves_threads(built):
    source, wrong = shards.BuiltSet(built), []
    expected = [source[i] for i in range(6)]

    def look(seed):
        for i in np.random.default_rng(seed).integers(0, 6, 60).tolist():
            if not np.array_equal(source[i].image, expected[i].image):
                wrong.append(i)

    threads = [threading.Thread(target=look, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def sum_of(source, index):
    return int(source[index].image.sum())


def in_process(method, source):
    """Sums of all images, computed by two processes of a pool."""
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.starmap(sum_of, [(source, i) for i in range(len(source))], chunksize=1)


def test_one_source_serves_processes(built):
    source = shards.BuiltSet(built)
    expected = [sum_of(source, i) for i in range(6)]  # the files are open when it is sent away
    assert [sum_of(pickle.loads(pickle.dumps(source)), i) for i in range(6)] == expected
    assert in_process("spawn", source) == expected


def test_the_source_may_be_given_by_its_outer_folder_and_from_anywhere(built, tmp_path, monkeypatch):
    monkeypatch.chdir(built.parent)
    source = shards.BuiltSet(type(built)(built.name), "val")
    monkeypatch.chdir(tmp_path)
    assert source[3].image.shape == (64, 64, 3)
    assert [shards.is_built(path) for path in (built, source.folder, tmp_path, tmp_path / "none")] == [1, 1, 0, 0]


def test_a_set_of_one_split_has_it_under_any_name_and_others_need_theirs(built, folder, tmp_path):
    tfds_builder.build(tmp_path / "one", {"train": read(folder)}, False, None, 1, lambda: None)
    assert shards.BuiltSet(tmp_path / "one", "val").split == "train"
    with pytest.raises(NotFound, match="has no split test; it has train, val"):
        shards.BuiltSet(built, "test")


def truncated(folder, name="keypoints-train.array_record-00001-of-00002"):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-100])


def exchanged(folder):
    """Exchange two shards, which happen to have the same size."""
    one, other = (folder / f"keypoints-train.array_record-0000{i}-of-00002" for i in (0, 1))
    size = max(one.stat().st_size, other.stat().st_size)
    about = shard_index.read(folder, "train")
    contents = dict(np.load(about.path))
    swapped = [(other.name, 3, other.stat().st_size), (one.name, 3, one.stat().st_size)]
    assert size
    changed(folder, shards=swapped, contents=contents)


def changed(folder, contents=None, **fields):
    """Write the index with other values in its description."""
    path = folder / "index-train.npz"
    contents = contents or dict(np.load(path))
    about = json.loads(contents["about"].tobytes())
    np.savez(path, **{**contents, "about": shard_index.as_bytes({**about, **fields})})


@pytest.mark.parametrize(
    ("harm", "error", "message"),
    [
        (truncated, UserError, r"00001-of-00002: has \d+ bytes instead of \d+; is it cut off\? build it again"),
        (
            lambda folder: (folder / "keypoints-train.array_record-00001-of-00002").unlink(),
            NotFound,
            "00001-of-00002: no such file, but index-train.npz lists it; copy it here",
        ),
        (damaged_record, UserError, r"record 0 of train cannot be read \(RuntimeError: .*hash mismatch"),
        (exchanged, UserError, r"record 0 of train is image 3, and the index says 0; are the files of one build\?"),
        (lambda folder: truncated(folder, "index-train.npz"), UserError, r"index-train.npz: cannot be read \(BadZip"),
        (
            lambda folder: (folder / "index-train.npz").unlink(),
            NotFound,
            r"a dataset of TFDS that `inspose data build` did not write, or not to its end \(there is no index-train",
        ),
        (lambda folder: (folder / "dataset_info.json").unlink(), NotFound, "dataset_info.json: no such file, so that"),
        (lambda folder: truncated(folder, "dataset_info.json"), UserError, "dataset_info.json: cannot be read"),
        (lambda folder: changed(folder, format=2), UserError, "was built in format 2, and this version reads 1"),
        (lambda folder: changed(folder, skeleton=3), UserError, r"index-train.npz: cannot be read \(TypeError"),
        (shutil.rmtree, NotFound, "not a built set; give the folder that `inspose data build` printed"),
        (
            lambda folder: shutil.copytree(folder, folder.parent / "2.0.0"),
            NotFound,
            r"not a built set; it holds .*1.0.0, .*2.0.0; give one of them",
        ),
    ],
)
def test_a_harmed_set_is_refused_in_one_line(built, tmp_path, harm, error, message):
    shutil.copytree(built, tmp_path / "set")
    harm(next((tmp_path / "set").glob("*/*/1.0.0")))

    def use():
        source = shards.BuiltSet(tmp_path / "set")
        return [source[i] for i in range(len(source))]

    with pytest.raises(error, match=message) as found:
        use()
    assert "\n" not in str(found.value)


def test_a_damaged_record_is_one_image_less_in_training(built, tmp_path):
    shutil.copytree(built, tmp_path / "set")
    damaged_record(next((tmp_path / "set").glob("*/*/1.0.0")))
    source = shards.BuiltSet(tmp_path / "set")
    with pytest.raises(UserError, match="record 0"):
        source[0]
    assert isinstance(source[1], Sample)

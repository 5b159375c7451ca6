"""`--data`: files and folders as people have them are recognised, and labels arrive on their pixels."""

import json
import shutil

import numpy as np
import pytest
import test_yolo_pose
from PIL import Image

from inspose_jax.cli import sources as command_line
from inspose_jax.data import categories, check, image_facts, repair, sources
from inspose_jax.data.coco import CocoFolder
from inspose_jax.errors import NotFound, UserError
from inspose_jax.evaluation import coco_ap
from inspose_jax.skeletons import COCO, CROWDPOSE

JOINTS = ["nose", "left_ear", "right_ear", "tail", "back"]
PLACES = [[(3, 4), (20, 1), (7, 11), (0, 0), (23, 15)], [(1, 14), (2, 3), (9, 9), (12, 2), (22, 7)]]  # x, y of a pixel
SQUARE = [2, 2, 6, 2, 6, 6, 2, 6]


def dots(folder, images="images", labels="labels.json", category=None, joints=JOINTS, change=lambda content: None):
    """Two black images of 24 x 16 pixels, each with a horse whose joints are white pixels; the tail is not labelled."""
    content = {"images": [], "annotations": [], "categories": [category or horse(joints)]}
    for number, places in enumerate(PLACES, start=1):
        picture = np.zeros((16, 24), np.uint8)
        flat = []
        for joint, (x, y) in enumerate(places):
            picture[y, x] = 255 * (joint != 3)
            flat += [x, y, 2] if joint != 3 else [0, 0, 0]
        (folder / images).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / images / f"{number}.png")
        content["images"].append({"id": number, "file_name": f"{number}.png", "height": 16, "width": 24})
        person = {"id": number, "image_id": number, "category_id": 8, "keypoints": flat, "bbox": [0, 0, 24, 16]}
        content["annotations"].append({**person, "area": 100, "segmentation": [SQUARE]})
    change(content)
    (folder / labels).parent.mkdir(parents=True, exist_ok=True)
    (folder / labels).write_text(json.dumps(content))
    return folder


def horse(joints=JOINTS, **fields):
    return {"id": 8, "name": "horse", "keypoints": list(joints), "skeleton": [[1, 2], [1, 3]], **fields}


def opened(path, split="train", category="", skeleton=None, **options):
    found = sources.read(path, split, category, skeleton)
    return CocoFolder.of(found.dataset, found.name, 0.5, **options)


def check_dots(source, order=range(5)):
    """Every labelled joint lies in the middle of a white pixel, and there are no other white pixels."""
    for index in range(2):
        sample = source[index]
        (joints,) = sample.keypoints
        expected = np.zeros((5, 3), np.float32)
        expected[[0, 1, 2, 4], :2] = np.array(PLACES[index])[[0, 1, 2, 4]] + 0.5
        expected[[0, 1, 2, 4], 2] = 2
        np.testing.assert_array_equal(joints, expected[list(order)])
        x, y = (joints[joints[:, 2] > 0, :2] - 0.5).astype(int).T
        assert (sample.image[y, x] == 255).all()
        assert (sample.image == 255).all(-1).sum() == 4


@pytest.mark.parametrize(
    ("images", "labels", "data"),
    [
        ("images", "labels.json", ""),
        ("images", "labels.json", "labels.json"),
        (".", "labels.json", ""),
        ("data", "labels.json", ""),
        ("train2017", "annotations/person_keypoints_train2017.json", ""),
        ("images/train2017", "annotations/person_keypoints_train2017.json", ""),
        ("images/default", "annotations/person_keypoints_default.json", ""),
        ("default", "annotations/person_keypoints_default.json", "annotations/person_keypoints_default.json"),
        ("images", "annotations/labels.json", "annotations"),
        ("images", "labels.JSON", ""),
        ("images", "annotations/Labels.Json", ""),
    ],
)
def test_labels_arrive_on_their_pixels_wherever_file_and_images_lie(tmp_path, images, labels, data):
    dots(tmp_path, images, labels)
    with pytest.warns(UserWarning, match="has 5 joints of its own"):
        source = opened(tmp_path / data)
    check_dots(source)
    assert source.images == tmp_path / images
    assert source.name == tmp_path / labels


def test_file_names_with_folders_start_from_the_folder_of_images(tmp_path):
    def deeper(content):
        for image in content["images"]:
            image["file_name"] = f"horses/{image['file_name']}"

    dots(tmp_path, "images/horses", change=deeper)
    with pytest.warns(UserWarning, match="joints of its own"):
        check_dots(opened(tmp_path))


@pytest.mark.filterwarnings("ignore:.*joints of its own")
def test_only_the_same_images_with_the_same_labels_are_those_of_training(tmp_path, recwarn):
    def moved(content):
        content["annotations"][1]["keypoints"][0] += 1

    training = opened(dots(tmp_path / "a"))
    command_line.warn_if_same(training, opened(dots(tmp_path / "b", change=moved)))  # tools count each part from 1
    assert not [one for one in recwarn if "same images" in str(one.message)]
    with pytest.warns(UserWarning, match="validation takes the same images as training"):
        command_line.warn_if_same(training, opened(dots(tmp_path / "c")))


def test_of_several_files_the_one_of_the_split_is_read(tmp_path):
    for split, other in (("train2017", "captions_train2017.json"), ("val2017", "instances_val2017.json")):
        dots(tmp_path, split, f"annotations/person_keypoints_{split}.json")
        (tmp_path / "annotations" / other).write_text("{}")
    for split in ("train", "val"):
        with pytest.warns(UserWarning, match="joints of its own"):
            assert opened(tmp_path, split).images == tmp_path / f"{split}2017"
    with pytest.raises(UserError, match="holds 4 JSON files, and none of them is for test by its name"):
        opened(tmp_path, "test")


def test_the_skeleton_is_that_of_the_category(tmp_path):
    with pytest.warns(UserWarning, match="of its own") as warned:
        source = opened(dots(tmp_path))
    (line,) = [str(one.message) for one in warned]
    assert line == (
        f'{tmp_path}/labels.json: category "horse" (id 8) has 5 joints of its own: in a mirrored image left_ear and '
        "right_ear change places, but not nose, tail, back; OKS takes 0.067, the mean of COCO's sigmas, for every joint"
    )
    skeleton = source.skeleton
    assert (skeleton.name, skeleton.keypoint_names) == ("horse", tuple(JOINTS))
    assert (skeleton.limbs, skeleton.flip_pairs) == (((0, 1), (0, 2)), ((1, 2),))
    assert skeleton.oks_sigmas == (0.067,) * 5


@pytest.mark.parametrize("pairs", [[[1, 5]], [[1, 2], [2, 3]], [["left_ear", "right_ear"]], [[0, 1, 2]], "none", 3])
def test_flip_pairs_that_are_none_are_refused(tmp_path, pairs):
    with pytest.raises(
        UserError, match=r"flip_pairs must be pairs of joints, counted from 0 to 4, such as \[\[1, 2\]\]"
    ):
        opened(dots(tmp_path, category=horse(flip_pairs=pairs)))


def test_a_cleaned_file_keeps_sigmas_of_its_own(tmp_path):
    sigmas = [0.02, 0.03, 0.03, 0.1, 0.2]
    for category, written in ((horse(sigmas=sigmas), sigmas), (horse(), None)):
        dots(tmp_path, category=category)
        with pytest.warns(UserWarning, match="of its own"):
            dataset = sources.read(tmp_path, "train").dataset
        facts = image_facts.read(check.files_of(dataset), 1)
        (clean,) = repair.repaired(dataset, facts, {}, [])[0].content["categories"]
        assert clean.get("sigmas") == written
        with pytest.warns(UserWarning, match="of its own"):
            assert opened(dots(tmp_path, category=clean)).skeleton == dataset.skeleton


def test_labels_as_predictions_have_an_ap_of_one(tmp_path):
    with pytest.warns(UserWarning, match="joints of its own"):
        source = opened(dots(tmp_path))
    truth = source.ground_truth()
    results = [{**person, "score": 1.0} for person in truth["annotations"]]
    assert coco_ap.keypoint_ap(truth, results, source.skeleton)["AP"] == pytest.approx(1)
    for result in results:
        result["keypoints"] = [number + 3 * (i % 3 == 0) for i, number in enumerate(result["keypoints"])]
    assert coco_ap.keypoint_ap(truth, results, source.skeleton)["AP"] < 0.5  # the sigmas are those of the skeleton


@pytest.mark.parametrize("preset", [COCO, CROWDPOSE])
def test_a_preset_is_recognised_by_its_names_in_any_order(tmp_path, preset):
    def backwards(content):
        content["categories"] = [horse(preset.keypoint_names[::-1], name="person")]
        for person in content["annotations"]:
            person["keypoints"] = [5, 6, 2] + [0] * (3 * preset.num_keypoints - 3)  # the last joint of the preset

    with pytest.warns(UserWarning, match=f"in another order than {preset.name}'s; they are sorted by name"):
        source = opened(dots(tmp_path, change=backwards))
    assert source.skeleton == preset
    assert source[0].keypoints[0, -1].tolist() == [5.5, 6.5, 2]


def test_a_skeleton_that_is_wanted_sorts_the_joints_or_refuses_them(tmp_path):
    dots(tmp_path)
    with pytest.warns(UserWarning, match="joints of its own"):
        own = opened(tmp_path).skeleton
    order = [4, 0, 2, 1, 3]
    with pytest.warns(UserWarning, match="sorted by name"):
        check_dots(opened(tmp_path, skeleton=own.subset(*(JOINTS[i] for i in order))), order)
    with pytest.raises(
        UserError, match=r'"horse" .id 8. has other joints than coco: .* or in training --skeleton data'
    ):
        opened(tmp_path, skeleton=COCO)


def test_a_category_is_chosen_by_name_or_by_its_joints(tmp_path):
    def two(content):
        content["categories"] = [{"id": 0, "name": "animals"}, horse(), {"id": 3, "name": "dog", "keypoints": ["paw"]}]
        dog = {**content["annotations"][0], "id": 9, "category_id": 3, "keypoints": [5, 5, 2], "iscrowd": 0}
        content["annotations"].append(dog)

    dots(tmp_path, change=two)
    with pytest.raises(
        UserError, match=r'2 categories have keypoints: "horse" .id 8., "dog" .id 3.; choose one with --c'
    ):
        opened(tmp_path)
    with pytest.warns(UserWarning, match="left out|of its own"):
        check_dots(opened(tmp_path, category="Horse"))
    with pytest.warns(UserWarning, match="left out|of its own"):
        source = opened(tmp_path, category="dog")
    assert source.skeleton.keypoint_names == ("paw",)
    assert source.has_people.tolist() == [True, False]
    with pytest.raises(UserError, match='no category is named "hose"; did you mean horse'):
        opened(tmp_path, category="hose")

    def unlisted(content):
        two(content)
        del content["categories"][2]["keypoints"]

    with pytest.warns(UserWarning, match="left out|of its own"):
        check_dots(opened(dots(tmp_path, change=unlisted), category="horse"))
    with (
        pytest.warns(UserWarning, match="of its own"),
        pytest.raises(UserError, match="3 numbers for keypoints; horse needs 15"),
    ):
        opened(tmp_path)

    def unused(content):
        two(content)
        content["annotations"].pop()

    with pytest.warns(UserWarning, match="of its own"):
        check_dots(opened(dots(tmp_path, change=unused)))  # only horses have labels


def test_of_categories_with_the_chosen_name_the_one_with_joints_is_taken(tmp_path):
    def with_project(content, **fields):
        content["categories"].insert(0, {"id": 0, "name": "horse", "supercategory": "none", **fields})

    with pytest.warns(UserWarning, match="of its own"):
        check_dots(opened(dots(tmp_path, change=with_project), category="horse"))
    dots(tmp_path, change=lambda content: with_project(content, keypoints=["hoof"]))
    with pytest.raises(UserError, match="2 categories are named horse; give them different names"):
        opened(tmp_path, category="horse")


@pytest.mark.parametrize("fields", [{}, {"keypoints": []}, {"keypoints": ["axle", "wheel"]}])
def test_a_chosen_category_without_joints_is_refused(tmp_path, fields):
    def with_cart(content):
        content["categories"].append({"id": 3, "name": "cart", **fields})
        box = {"id": 9, "image_id": 1, "category_id": 3, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}
        content["annotations"].append(box)

    dots(tmp_path, change=with_cart)
    with pytest.raises(UserError, match=r'category "cart" \(id 3\) has no labelled joints; "horse" \(id 8\) has$'):
        opened(tmp_path, category="cart")


def test_joints_without_names_are_numbered(tmp_path):
    line = "names no joints; they are numbered, and none change places in a mirrored image: name them, or train"
    with pytest.warns(UserWarning, match=line):
        source = opened(dots(tmp_path, category={"id": 8, "name": "horse"}))
    assert source.skeleton.keypoint_names == tuple(f"joint_{number}" for number in range(5))
    check_dots(source)


def test_joints_without_names_keep_what_the_category_says_of_them(tmp_path):
    def unnamed(content):
        content["categories"][0] |= {"flip_pairs": [[1, 2]], "sigmas": [0.1, 0.2, 0.2, 0.1, 0.1]}
        del content["categories"][0]["keypoints"]

    dots(tmp_path, change=unnamed)
    with (
        pytest.warns(UserWarning, match="names no joints; they are called joint_0 to joint_4"),
        pytest.warns(UserWarning, match="5 joints of its own: in a mirrored image joint_1 and joint_2 change places"),
    ):
        skeleton = opened(tmp_path).skeleton
    assert (skeleton.flip_pairs, skeleton.oks_sigmas) == (((1, 2),), (0.1, 0.2, 0.2, 0.1, 0.1))
    assert skeleton.limbs == ((0, 1), (0, 2))


def test_what_a_file_says_otherwise_of_known_joints_is_told(tmp_path):
    pairs = [list(pair) for pair in COCO.flip_pairs]
    for fields, said in (
        ({"sigmas": [0.2] * 17}, ["its `sigmas` are not those of coco, which are used"]),
        ({"sigmas": list(COCO.oks_sigmas), "flip_pairs": pairs}, []),
        ({"flip_pairs": []}, ["its `flip_pairs` are not those of coco, which are used"]),
    ):
        category = {"id": 1, "name": "person", "keypoints": list(COCO.keypoint_names), **fields}
        people = [{"category_id": 1, "keypoints": [1, 1, 2] * 17}]
        found = categories.find_person({"categories": [category], "annotations": people}, tmp_path, COCO)
        assert list(found.remarks) == said


def test_ids_as_text_and_floats_are_read(tmp_path):
    def as_text(content):
        content["categories"][0]["id"] = "8"
        for image in content["images"]:
            image.update(id=f"{image['id']}", height=16.0, width=24.0)
        for person in content["annotations"]:
            person.update(image_id=float(person["image_id"]), category_id="8", iscrowd=0.0, id=1.0 * person["id"])

    with pytest.warns(UserWarning, match="of its own"):
        source = opened(dots(tmp_path, change=as_text))
    check_dots(source)
    assert source.image_ids.tolist() == [1, 2]


@pytest.mark.parametrize("image_id", ["007", "1e0", "-1", 1.5, "one", " 1", "9" * 25])
def test_ids_that_are_no_clear_number_are_refused(tmp_path, image_id):
    def change(content):
        content["images"][0]["id"] = image_id

    with (
        pytest.warns(UserWarning, match="of its own"),
        pytest.raises(UserError, match=r"id is .*, not a whole number below"),
    ):
        opened(dots(tmp_path, change=change))


def test_masks_come_only_when_asked_for(tmp_path):
    def one_without(content):
        del content["annotations"][1]["segmentation"]

    dots(tmp_path, change=one_without)
    with pytest.warns(UserWarning, match="of its own"):
        plain, source = opened(tmp_path), opened(tmp_path, with_masks=True)
    assert plain[0].masks is None
    assert plain.record(0).masks == (None,)
    first, second = source[0].masks, source[1].masks
    assert first.shape == second.shape == (1, 16, 24)
    assert first[0, 2:6, 2:6].all()
    assert (first.sum(), second.sum()) == (16, 0)


def test_a_record_is_the_file_with_its_labels(tmp_path):
    dots(tmp_path)
    with pytest.warns(UserWarning, match="of its own"):
        source = opened(tmp_path, with_masks=True)
    record, sample = source.record(1), source[1]
    assert record.image == (tmp_path / "images/2.png").read_bytes()
    assert (record.file_name, record.image_id, record.size) == ("2.png", 2, (16, 24))
    for name in ("keypoints", "boxes_xyxy", "area", "is_crowd"):
        np.testing.assert_array_equal(getattr(record, name), getattr(sample, name))
    (rle,) = record.masks
    assert rle == {"size": [16, 24], "counts": rle["counts"]}
    assert isinstance(rle["counts"], str)


@pytest.mark.filterwarnings("ignore:.*joints of its own")
def test_a_folder_that_is_called_like_the_file_but_for_no_split_may_hold_other_images(tmp_path):
    dots(tmp_path)
    shutil.copytree(tmp_path / "images", tmp_path / "labels")  # masks, say, beside labels.json
    assert opened(tmp_path).images == tmp_path / "images"


@pytest.mark.filterwarnings("ignore:.*joints of its own")
def test_a_file_that_is_called_like_a_split_has_its_images_in_a_folder_of_that_name(tmp_path):
    for split in ("train", "val"):
        dots(tmp_path, f"images/{split}", f"annotations/{split}.json")
        assert opened(tmp_path, split).images == tmp_path / "images" / split


@pytest.mark.filterwarnings("ignore:.*joints of its own")
def test_names_that_were_written_on_windows_are_found(tmp_path):
    def backslashes(content):
        for image in content["images"]:
            image["file_name"] = f"horses\\{image['file_name']}"

    dots(tmp_path, "images/horses", change=backslashes)
    check_dots(opened(tmp_path))


@pytest.mark.filterwarnings("ignore:.*joints of its own")
def test_the_folder_is_told_even_if_the_first_images_are_missing(tmp_path):
    dots(tmp_path)
    content = json.loads((tmp_path / "labels.json").read_text())
    missing = [{**content["images"][0], "id": 100 + i, "file_name": f"gone{i}.png"} for i in range(300)]
    (tmp_path / "labels.json").write_text(json.dumps({**content, "images": [*missing, *content["images"]]}))
    dataset = sources.read(tmp_path, "train").dataset
    assert dataset.images == tmp_path / "images"


def test_an_image_that_is_missing_is_named(tmp_path):
    dots(tmp_path)
    (tmp_path / "images/2.png").unlink()
    with pytest.warns(UserWarning, match="of its own"), pytest.raises(NotFound, match=r"images/2\.png: no such image"):
        opened(tmp_path)
    (tmp_path / "images/1.png").unlink()
    with pytest.raises(
        NotFound, match=r"labels.json: its images, such as 1\.png, are neither beside it nor in a folder images, data;"
    ):
        opened(tmp_path)


@pytest.mark.filterwarnings("ignore:.*joints of its own")
@pytest.mark.parametrize(
    "labels", ["labels.json", "annotations/train.json", "json/crowdpose_train.json", "_annotations.coco.json"]
)
def test_hidden_files_are_passed_over_unless_they_are_given(tmp_path, labels):
    dots(tmp_path, "." if labels.startswith("_") else "images", labels)
    hidden = (tmp_path / labels).with_name(f"._{(tmp_path / labels).name}")
    for file in (hidden, tmp_path / "._data.yaml"):
        file.write_bytes(b"\0\5\x16\7")  # as macOS writes them
    assert sources.splits(tmp_path) == ("train",)
    check_dots(opened(tmp_path))
    with pytest.raises(UserError, match=r"not JSON"):
        opened(hidden)


@pytest.mark.filterwarnings("ignore:.*joints of its own")
@pytest.mark.parametrize(
    ("images", "labels", "named"),
    [
        ("train/images", "train/annotations.json", "train"),
        ("images/train", "labels/train.json", "labels"),
        (".", "labels/train.json", "labels"),  # not a folder of images without labels
        ("horses/train", "horses/annotations/train.json", "horses"),
        ("data/horses/images", "data/horses/labels.json", "data/horses"),
        ("horses/train", "horses/train/_annotations.coco.json", "horses"),
    ],
)
def test_a_dataset_in_a_folder_of_the_given_one_is_named(tmp_path, images, labels, named):
    dots(tmp_path, images, labels)
    (tmp_path / "settings.json").write_text('{"images": "here"}')
    with pytest.raises(UserError, match=rf"but in its folder {named}; give --data {tmp_path / named}$"):
        opened(tmp_path)
    check_dots(opened(tmp_path / named))


def test_a_yolo_dataset_in_a_folder_of_the_given_one_is_named(tmp_path):
    folder = test_yolo_pose.written(tmp_path / "a/b")
    with pytest.raises(UserError, match=f"but in its folder a/b; give --data {folder}$"):
        sources.kind_of(tmp_path)


@pytest.mark.parametrize("file", ["a/b/c/labels.json", ".cache/labels.json", "a/.b/labels.json", "a/._labels.json"])
def test_files_that_are_hidden_or_too_deep_are_not_named(tmp_path, file):
    (tmp_path / file).parent.mkdir(parents=True)
    for name, text in ((file, '{"images": []}'), ("a/settings.json", '{"images": "here"}'), ("a/empty.json", "")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match="no kind of dataset is recognised in it; give a COCO"):
        sources.kind_of(tmp_path)


@pytest.mark.filterwarnings("ignore:.*joints of its own")
def test_other_json_does_not_hide_a_dataset(tmp_path):
    yolo = test_yolo_pose.written(tmp_path / "yolo")
    boxes = dots(tmp_path / "boxes", "train", "train/_annotations.coco.json")
    for folder in (yolo, boxes):
        (folder / "notes.json").write_text('{"categories": [], "info": {}}')
    assert sources.kind_of(yolo).name == "YOLO-pose"
    check_dots(opened(boxes))


@pytest.mark.filterwarnings("ignore:.*joints of its own")
@pytest.mark.parametrize("between", ["", " ", "\n  "])
def test_yolo_labels_beside_a_coco_file_do_not_hide_it(tmp_path, between):
    dots(tmp_path)
    text = (tmp_path / "labels.json").read_text().replace('"images": [', f'"images"{between}:{between}[')
    (tmp_path / "labels.json").write_text(text)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/1.txt").write_text("0 .5 .5 .2 .2 .1 .1 2")
    check_dots(opened(tmp_path))


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["annotations.json"], ("train",)),
        (["annotations/person_keypoints_val2017.json"], ("train",)),  # the only part
        (["train.json", "valid.json", "test.json"], ("train", "val", "test")),
        (
            [f"annotations/{kind}_{split}2017.json" for kind in ("keypoints", "x") for split in ("train", "val")],
            ("train", "val"),
        ),
        (["a.json", "b.json"], ("train",)),  # reading it says what is wrong
        (["train/_annotations.coco.json", "valid/_annotations.coco.json"], ("train", "val")),
        (["test/_annotations.coco.json"], ("train",)),
    ],
    ids=str,
)
def test_the_splits_of_a_folder_are_those_that_its_files_tell_apart(tmp_path, files, splits):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert sources.splits(tmp_path) == splits


@pytest.mark.parametrize(
    ("changes", "splits"),
    [
        ({}, ("train", "val")),
        ({"train": None}, ("val",)),
        ({"val": None, "validation": "images/train"}, ("train", "val")),
        ({"test": "images/train"}, ("train", "val", "test")),
        ({"test": "../test/images"}, ("train", "val")),  # named, but not there
        ({"val": "gone"}, ("train", "val")),  # reading it says so
        ({"train": None, "val": None}, ("train",)),
    ],
    ids=str,
)
def test_the_splits_of_a_yolo_dataset_are_those_that_its_yaml_file_names(tmp_path, changes, splits):
    assert sources.splits(test_yolo_pose.written(tmp_path, **changes)) == splits

"""YOLO-pose folders: labels on the right pixels, every way to name images, every fault with its file and line."""

import json
import shutil
import warnings

import horses
import numpy as np
import pytest
import yaml
from PIL import Image

from inspose_jax import skeletons
from inspose_jax.data import categories, sources, yolo_pose
from inspose_jax.errors import NotFound, UserError

SETTINGS = {
    "path": ".",
    "train": "images/train",
    "val": "images/train",
    "names": {0: "horse"},
    "kpt_shape": [5, 3],
    "flip_idx": [1, 0, 2, 4, 3],
    "kpt_names": {0: list(horses.NAMES)},
}


def row(horse, size, per_joint, number=0):
    height, width = size
    x, y, w, h = horse.box
    numbers = [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
    for place in horse.joints:
        numbers += [place[0] / width, place[1] / height, 2][:per_joint] if place else [0, 0, 0][:per_joint]
    return " ".join([str(number), *(f"{value:.6f}" for value in numbers)])


def written(folder, per_joint=3, **changes):
    settings = {**SETTINGS, "kpt_shape": [5, per_joint], **changes}
    settings = {name: value for name, value in settings.items() if value is not None}
    horses.write_images(folder / "images/train")
    for name, (size, listed) in horses.IMAGES.items():
        path = (folder / "labels/train" / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        if listed:  # 4.png has no text file
            path.write_text("".join(row(horse, size, per_joint) + "\n" for horse in listed))
    (folder / "data.yaml").write_text(yaml.safe_dump(settings))
    return folder


@pytest.mark.parametrize("per_joint", [2, 3])
def test_labels_lie_on_their_pixels(tmp_path, per_joint):
    content, images = yolo_pose.read(written(tmp_path, per_joint), "train", "")
    assert images == tmp_path / "images/train"
    source = horses.opened((content, images))
    assert (source.skeleton.name, source.skeleton.keypoint_names) == ("horse", horses.NAMES)
    assert source.skeleton.flip_pairs == ((0, 1), (3, 4))
    horses.check_lit_pixels(source)
    horses.check_perfect(source)
    assert source.has_people.tolist().count(False) == 1


def test_labels_that_are_all_elsewhere_are_looked_for_in_the_message(tmp_path):
    folder = written(tmp_path)
    (folder / "labels").rename(folder / "annotations")
    number, first = len(horses.IMAGES), (folder / "labels/train" / min(horses.IMAGES)).with_suffix(".txt")
    with pytest.raises(NotFound, match=f"none of the {number} images of `train` has a text file .* at {first}"):
        yolo_pose.read(folder, "train", "")


def test_boxes_are_continuous(tmp_path):
    content, _ = yolo_pose.read(written(tmp_path), "train", "")
    (first,) = [one for one in content["annotations"] if one["image_id"] == 1]
    np.testing.assert_allclose(first["bbox"], horses.IMAGES["1.png"][1][0].box, atol=1e-4)


def test_they_are_recognised_and_checked_as_any_data(tmp_path):
    with (
        pytest.warns(UserWarning, match=r"data.yaml: category \"horse\" .* joints of its own"),
        pytest.warns(UserWarning, match=r"data.yaml: the people have no area in the file; 0.53 x the area"),
    ):
        found = sources.read(written(tmp_path), "train")
    assert (found.name, found.kind) == (tmp_path / "data.yaml", "YOLO-pose")
    assert found.dataset.content["annotations"][0]["area"] == pytest.approx(0.53 * 30 * 38, abs=0.01)
    with pytest.raises(UserError, match=r"joint 1 is \"l_ear\", \"nose\" is missing"):
        sources.read(tmp_path, "train", skeleton=skeletons.COCO)


def test_visibilities_are_kept(tmp_path):
    written(tmp_path)
    path = tmp_path / "labels/train/1.txt"
    numbers = path.read_text().split()
    numbers[7], numbers[10] = "1", "0"  # of the first two joints
    path.write_text(" ".join(numbers))
    content, _ = yolo_pose.read(tmp_path, "train", "")
    assert content["annotations"][0]["keypoints"][2::3] == [1, 0, 2, 2, 0]
    assert content["annotations"][0]["keypoints"][3:6] == [0, 0, 0]


@pytest.mark.parametrize(
    "changes",
    [
        {"path": None},
        {"path": "/content/datasets/horses"},  # of the machine where it was made
        {"path": "../datasets/horses", "train": "images/train/"},
        {"path": None, "train": "../images/train"},  # Roboflow's
        {"train": "train.txt"},
        {"train": ["images/train/sub", "two.txt"]},
        {"train": None},
    ],
    ids=str,
)
def test_images_are_found_however_they_are_named(tmp_path, changes):
    written(tmp_path, **changes)
    names = sorted(horses.IMAGES)
    (tmp_path / "train.txt").write_text("".join(f"./images/train/{name}\n" for name in names))
    (tmp_path / "two.txt").write_text("\n".join(f"{tmp_path}/images/train/{name}" for name in names if "/" not in name))
    content, images = yolo_pose.read(tmp_path / "data.yaml", "train" if changes.get("train", "") else "val", "")
    found = [images.joinpath(one["file_name"]).relative_to(tmp_path / "images/train") for one in content["images"]]
    assert sorted(map(str, found)) == names
    assert len(content["annotations"]) == 4


def test_labels_without_a_folder_of_images_lie_beside_the_image(tmp_path):
    written(tmp_path, train="photos")
    (tmp_path / "images/train").rename(tmp_path / "photos")
    for path in (tmp_path / "labels/train").rglob("*.txt"):
        path.rename(tmp_path / "photos" / path.relative_to(tmp_path / "labels/train"))
    assert len(yolo_pose.read(tmp_path, "train", "")[0]["annotations"]) == 4


def test_only_the_last_folder_called_images_is_replaced(tmp_path):
    assert yolo_pose.label_file(tmp_path / "images/a/images/b/1.jpg") == tmp_path / "images/a/labels/b/1.txt"


def test_one_of_several_classes_is_chosen(tmp_path):
    written(tmp_path, names=["cow", "horse"], kpt_names=None)
    path = tmp_path / "labels/train/1.txt"
    path.write_text(path.read_text() + "1" + path.read_text()[1:])
    content, images = yolo_pose.read(tmp_path, "train", "Horse")
    assert len(content["annotations"]) == 1
    skeleton = horses.opened((content, images)).skeleton
    assert skeleton.name == "horse"
    assert skeleton.keypoint_names == ("joint_0", "joint_1", "joint_2", "joint_3", "joint_4")
    with pytest.raises(UserError, match=r"data.yaml: 2 classes \(cow, horse\); choose one by --category NAME"):
        yolo_pose.read(tmp_path, "train", "")
    with pytest.raises(UserError, match=r'data.yaml: no category is named "dog"; there are cow, horse'):
        yolo_pose.read(tmp_path, "train", "dog")
    with pytest.raises(UserError, match=r"did you mean horse\?"):
        yolo_pose.read(tmp_path, "train", "horses")


def test_each_class_may_have_its_own_names_of_joints(tmp_path):
    of_cows = ["l_horn", "r_horn", "tail", "l_hoof", "r_hoof"]
    folder = written(tmp_path, names=["cow", "horse"], kpt_names={0: of_cows, 1: list(horses.NAMES)})
    for category, names in (("horse", list(horses.NAMES)), ("cow", of_cows)):
        content, _ = yolo_pose.read(folder, "train", category)
        assert content["categories"][0]["keypoints"] == names


def test_seventeen_joints_with_cocos_pairs_are_cocos(tmp_path):
    settings = {"names": ["person"], "kpt_shape": [17, 3], "flip_idx": list(skeletons.COCO.flip_order), "train": "."}
    (tmp_path / "data.yaml").write_text(json.dumps(settings))  # JSON is YAML
    assert yolo_pose.read_yaml(tmp_path / "data.yaml").joints == skeletons.COCO.keypoint_names
    settings["flip_idx"] = list(range(17))  # nothing changes places: other joints, which just are as many
    (tmp_path / "data.yaml").write_text(json.dumps(settings))
    assert yolo_pose.read_yaml(tmp_path / "data.yaml").joints[0] == "joint_0"


def test_flip_idx_counts_more_than_names(tmp_path):
    written(tmp_path, flip_idx=[0, 1, 2, 4, 3])
    assert horses.opened(yolo_pose.read(tmp_path, "train", "")).skeleton.flip_pairs == ((3, 4),)
    written(tmp_path, flip_idx=None)
    assert horses.opened(yolo_pose.read(tmp_path, "train", "")).skeleton.flip_pairs == ((0, 1), (3, 4))


def test_pairs_and_sigmas_are_said_as_for_any_data(tmp_path):
    def said(folder, **options):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            sources.read(folder, "train", **options)
        return "; ".join(str(one.message) for one in caught)

    folder = written(tmp_path, names={"0": "cow", "1": "horse"}, kpt_names=None, flip_idx=[0, 1, 2, 4, 3])
    assert (
        '"horse" (id 1) has 5 joints of its own: in a mirrored image joint_3 and joint_4 change places, '
        "but not joint_0, joint_1, joint_2; OKS takes 0.067"
    ) in said(folder, category="horse")
    assert "none of them change places in a mirrored image" in said(written(tmp_path, flip_idx=[0, 1, 2, 3, 4]))


def test_joints_that_are_named_as_a_presets_are_its_joints_unless_the_pairs_are_others(tmp_path):
    names = [name.replace("_", " ") for name in skeletons.COCO.keypoint_names]
    names[0], names[1] = names[1], names[0]
    order = list(skeletons.COCO.flip_order)
    order[0], order[1], order[2] = 2, 1, 0  # of left eye, nose, right eye
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "person", "keypoints": names}]}
    for flip, expected in ((order, skeletons.COCO), (list(range(17)), None), (None, skeletons.COCO)):
        settings = {"names": ["person"], "kpt_shape": [17, 3], "kpt_names": names, "train": "."}
        (tmp_path / "data.yaml").write_text(json.dumps(settings | ({"flip_idx": flip} if flip else {})))
        pairs = yolo_pose.read_yaml(tmp_path / "data.yaml").pairs
        content["categories"][0] |= {"flip_pairs": pairs}
        if pairs is None:
            del content["categories"][0]["flip_pairs"]
        found = categories.find_person(content, tmp_path, None)
        assert found.skeleton == expected if expected else found.skeleton.flip_pairs == ()
        assert found.order[:3] == ((1, 0, 2) if expected else (0, 1, 2))


def test_labels_are_of_the_image_as_a_viewer_shows_it(tmp_path):
    written(tmp_path)
    horses.turn(tmp_path / "images/train/1.png", 6)
    with pytest.warns(UserWarning, match="1 are rotated accordingly"):
        source = horses.opened(yolo_pose.read(tmp_path, "train", ""))
    assert source.sizes[0].tolist() == [40, 64]
    horses.check_lit_pixels(source)


def test_images_whose_orientation_their_size_does_not_tell_are_left_out(tmp_path):
    written(tmp_path)
    horses.turn(tmp_path / "images/train/1.png", 3)
    with pytest.warns(UserWarning, match=r"data.yaml: left out for their EXIF orientation .*: 1, such as .*1.png"):
        source = horses.opened(yolo_pose.read(tmp_path, "train", ""))
    horses.check_lit_pixels(source, num_horses=3)


def test_bitmaps_have_a_size_too(tmp_path):
    written(tmp_path)
    path = tmp_path / "images/train/1.png"
    with Image.open(path) as image:
        image.save(path.with_suffix(".bmp"))
    path.unlink()
    horses.check_lit_pixels(horses.opened(yolo_pose.read(tmp_path, "train", "")))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"kpt_shape": None}, "no kpt_shape, so its labels have no joints; give a pose dataset, as [17, 3]"),
        ({"kpt_shape": [5, 4]}, "kpt_shape is [5, 4], not the number of joints and 2 or 3 numbers each, as [17, 3]"),
        ({"kpt_shape": "5, 3"}, "kpt_shape is 5, 3, not the number of joints and 2 or 3 numbers each, as [17, 3]"),
        ({"names": None}, "no names of classes; write them as `names: [person]`"),
        ({"names": "horse"}, "no names of classes; write them as `names: [person]`"),
        ({"flip_idx": None, "kpt_names": None}, "no flip_idx; give each joint's index in a mirrored image, its own"),
        ({"flip_idx": [1, 0, 2]}, "flip_idx is not a list of 5 whole numbers, one for each joint of kpt_shape"),
        ({"flip_idx": [1, 0, 2, 5, 3]}, "flip_idx has 5; joints are counted from 0 to 4"),
        ({"flip_idx": [1, 2, 0, 4, 3]}, "flip_idx does not pair: joint 0 becomes 1, but 1 becomes 2"),
        ({"kpt_names": ["a", "b"]}, "kpt_names must be 5 different names, one for each joint of kpt_shape"),
        ({"kpt_names": ["a", "b", "c", "d", "a"]}, "kpt_names must be 5 different names"),
        ({"train": None}, "no images are named by `train`; it has val"),
        ({"train": "images/nowhere"}, "images/nowhere is not there; tried "),
        ({"train": "labels"}, "`train` names labels, where there is no image"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_faults_of_the_yaml_file_are_one_line(tmp_path, changes, line):
    written(tmp_path, **{"kpt_shape": [5, 3], **changes})
    with pytest.raises(UserError) as caught:
        yolo_pose.read(tmp_path, "train", "")
    assert str(caught.value).startswith(f"{tmp_path}/data.yaml: {line}")
    assert "\n" not in str(caught.value)


def test_a_yaml_file_that_is_none_is_one_line(tmp_path):
    written(tmp_path)
    (tmp_path / "data.yaml").write_text("names: [horse\nkpt_shape: {")
    with pytest.raises(UserError, match=r"data.yaml: not YAML \(.* line 2, column 10.*\); correct the file$"):
        yolo_pose.read(tmp_path, "train", "")
    (tmp_path / "data.yaml").write_text("just text")
    with pytest.raises(
        UserError, match=r"data.yaml: not a YOLO dataset; it needs names, kpt_shape, flip_idx and train"
    ):
        yolo_pose.read(tmp_path, "train", "")


def test_what_is_no_yolo_dataset_is_not_taken_for_one(tmp_path):
    assert not yolo_pose.is_kind(tmp_path)
    with pytest.raises(NotFound, match=r"no data.yaml; give the YAML file of a YOLO-pose dataset, or its folder"):
        yolo_pose.read(tmp_path, "train", "")
    written(tmp_path)
    assert yolo_pose.is_kind(tmp_path)
    (tmp_path / "data.yaml").rename(tmp_path / "horses.yml")
    assert yolo_pose.is_kind(tmp_path)
    assert yolo_pose.is_kind(tmp_path / "horses.yml")
    assert not yolo_pose.is_kind(tmp_path / "images/train/1.png")


GOOD = "0 .5 .5 .5 .5 .1 .1 2 .2 .2 2 .3 .3 1 .4 .4 0 .5 .5 2"


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        ("0 .5 .5 .5 .5", "5 numbers, not 20: class, x, y, width, height, and 5 joints of 3 (kpt_shape)"),
        (GOOD + " 1", "21 numbers, not 20: class, x, y, width, height, and 5 joints of 3 (kpt_shape)"),
        (GOOD.replace(".3 .3", ".3 x"), "could not convert string to float: 'x'; a row is numbers separated by spaces"),
        ("7" + GOOD[1:], "class 7 is not among the names 0 to 0"),
        ("0.5" + GOOD[1:], "class 0.5 is not among the names 0 to 0"),
        (GOOD.replace("0 .5 .5", "0 32 .5", 1), "32 in the box is not from 0 to 1; boxes are fractions of the image's"),
        (GOOD.replace("0 .5 .5", "0 nan .5", 1), "nan in the box is not from 0 to 1"),
        (
            GOOD.replace(".2 .2", ".2 -.2"),
            "joint 1 at 0.2, -0.2 is not from 0 to 1; joints are fractions of the image",
        ),
        (GOOD.replace(".3 .3 1", "12 30 1"), "joint 2 at 12, 30 is not from 0 to 1"),
        (GOOD.replace(".3 .3 1", ".3 .3 3"), "joint 2 has visibility 3, not 0, 1 or 2"),
        (
            "0 .5 .5 40 60 32 48 2 .2 .2 5 .3 30 1 .4 .4 0 .5 50 2",
            "40 in the box is not from 0 to 1; boxes are fractions of the image's size; joint 1 has visibility 5, not "
            "0, 1 or 2; joint 0 at 32, 48 is not from 0 to 1; joints are fractions of the image's size (and 2 more "
            "joints)",
        ),
    ],
)
def test_faults_of_a_row_name_file_and_line(tmp_path, bad, line):
    written(tmp_path)
    path = tmp_path / "labels/train/1.txt"
    path.write_text(f"{GOOD}\n\n{bad}\n")
    with pytest.raises(UserError) as caught:
        horses.opened(yolo_pose.read(tmp_path, "train", ""))
    assert str(caught.value).startswith(f"{path}, line 3: {line}")
    assert str(caught.value).endswith("; `inspose data check` lists all faults")


def test_where_an_unlabelled_joint_lies_does_not_matter(tmp_path):
    written(tmp_path)
    (tmp_path / "labels/train/1.txt").write_text(GOOD.replace(".4 .4 0", "-1 -1 0"))
    assert yolo_pose.read(tmp_path, "train", "")[0]["annotations"][0]["keypoints"][9:12] == [0, 0, 0]


def test_a_joint_just_outside_the_image_is_that_joint_s_fault_alone(tmp_path):
    written(tmp_path)
    place = tmp_path / "labels/train/1.txt"
    place.write_text(GOOD.replace(".2 .2 2", "-.001 .2 2"))
    dataset, _ = yolo_pose.read(tmp_path, "train", "")
    (person,) = [one for one in dataset["annotations"] if one["image_id"] == 1]
    height, width = (dataset["images"][0][side] for side in ("height", "width"))
    np.testing.assert_allclose(person["keypoints"][3:6], [-0.001 * width, 0.2 * height, 2])
    assert person["num_keypoints"] == 4


def test_a_list_that_names_a_missing_image_gives_its_line(tmp_path):
    written(tmp_path, train="train.txt")
    (tmp_path / "train.txt").write_text("images/train/1.png\nimages/train/9.png\n")
    with pytest.raises(
        UserError, match=r"train.txt, line 2: images/train/9.png is not there; tried .*lists all faults"
    ):
        horses.opened(yolo_pose.read(tmp_path, "train", ""))
    (tmp_path / "train.txt").write_text("images/train/8.png\nimages/train/9.png\n")
    with pytest.raises(NotFound, match=r"train.txt, line 1: images/train/8.png is not there"):
        yolo_pose.read(tmp_path, "train", "")


def test_paths_of_another_machine_are_found_by_their_ends(tmp_path):
    written(tmp_path, train="/content/horses/images/train")
    there = {image["file_name"] for image in yolo_pose.read(tmp_path, "train", "")[0]["images"]}
    written(tmp_path, train=r"C:\horses\images\train")
    assert {image["file_name"] for image in yolo_pose.read(tmp_path, "train", "")[0]["images"]} == there
    shutil.copytree(tmp_path / "images", tmp_path / "other/images")
    written(tmp_path / "other", train="/content/horses/train/images")
    with pytest.raises(NotFound, match="/content/horses/train/images is not there"):  # its folder images has all parts
        yolo_pose.read(tmp_path / "other", "train", "")
    written(tmp_path, train=r"images\train")
    assert {image["file_name"] for image in yolo_pose.read(tmp_path, "train", "")[0]["images"]} == there != set()
    written(tmp_path, train="train.txt")
    (tmp_path / "train.txt").write_text("images\\train\\1.png\n/content/horses/images/train/2.png\n")
    assert [image["file_name"] for image in yolo_pose.read(tmp_path, "train", "")[0]["images"]] == ["1.png", "2.png"]


def test_a_file_that_is_no_image_is_named(tmp_path):
    written(tmp_path)
    (tmp_path / "images/train/1.png").write_bytes(b"text")
    with pytest.raises(UserError, match=r"^\S*/1.png: not an image that can be read"):
        horses.opened(yolo_pose.read(tmp_path, "train", ""))

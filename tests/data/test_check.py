"""The check of a dataset names each fault once, with its id and severity, and finds none in a valid one."""

import copy
import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from inspose_jax import skeletons
from inspose_jax.data import annotations, category_skeleton, check, copies, image_facts
from inspose_jax.data.annotations import Dataset
from inspose_jax.skeletons import COCO


@pytest.fixture
def valid(tmp_path):
    """One image, 8 wide and 6 high, with one person in it."""
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    joints = [3, 5, 2, *[0] * 48]
    person = {"id": 1, "image_id": 2, "bbox": [1, 2, 3, 4], "area": 5, "keypoints": joints, "category_id": 1}
    image = {"id": 2, "file_name": "a.png", "height": 6, "width": 8}
    category = {"id": 1, "name": "person", "keypoints": list(COCO.keypoint_names)}
    return {"images": [image], "annotations": [person], "categories": [category]}


def found(tmp_path, content):
    (tmp_path / "truth.json").write_text(json.dumps(content))
    dataset = annotations.read(tmp_path, tmp_path / "truth.json", COCO)
    return check.faults(dataset, image_facts.read(check.files_of(dataset), 2))


def faults(tmp_path, content):
    """The errors and warnings, as lines."""
    return [one.line() for one in found(tmp_path, content) if one.severity != "remark"]


def test_a_valid_folder_has_no_fault(tmp_path, valid):
    assert found(tmp_path, valid) == []
    del valid["annotations"][0]["keypoints"]
    valid["annotations"].append({**valid["annotations"][0], "id": 3, "keypoints": [8, 6, 1, *[0] * 48]})
    assert found(tmp_path, valid) == []  # a person without joints, and a joint on the last corner


@pytest.mark.parametrize(
    ("person", "message"),
    [
        ({"bbox": [1, 2, -3, 4]}, "bbox is [1, 2, -3, 4], not x, y, width, height"),
        ({"bbox": [1, 2, 3]}, "bbox is [1, 2, 3], not x, y, width, height"),
        ({"area": float("nan")}, "area is NaN, not a number of pixels"),
        ({"keypoints": [float("nan"), 5, 2, *[0] * 48]}, "keypoints are not all finite numbers below 1e9"),
        ({"keypoints": [5, 7, 2, *[0] * 48]}, "a labelled joint lies outside the image: nose"),
        ({"keypoints": [5, 5, 2, -1, 3, 2, *[0] * 45]}, "a labelled joint lies outside the image: left_eye"),
        ({"area": "5"}, 'area is "5", not a number of pixels'),
        ({"bbox": None}, "bbox is null, not x, y, width, height"),
        ({"image_id": [2]}, "image_id is [2], not an image's id"),
        ({"category_id": 2}, "category_id is 2, not 1, the person category"),
        ({"category_id": True}, "category_id is true, not a category's id"),
        ({"keypoints": None}, "keypoints are null, not a list of numbers"),
        ({"keypoints": ["x"] * 51}, f"keypoints are {str(['x'] * 51)[:39]}…, not a list of numbers".replace("'", '"')),
        ({"iscrowd": "no"}, 'iscrowd is "no", not 0 or 1'),
        ({"num_keypoints": -1}, "num_keypoints is -1, not a number of labelled joints"),
        ({"area": 10**400}, f"area is 1{'0' * 38}…, not a number of pixels"),
        ({"keypoints": [9, 5, True, *[0] * 48]}, "keypoints are not all finite numbers below 1e9"),
        ({"keypoints": [1e300, 5, 2, *[0] * 48]}, "keypoints are not all finite numbers below 1e9"),
        ({"area": 0}, "area is 0; OKS divides by it"),
        ({"image_id": 3}, "its image 3 is not listed in `images`"),
    ],
)
def test_a_fault_in_an_annotation_is_the_only_one_reported(tmp_path, valid, person, message):
    file = "" if "image_id" in person else " (a.png)"
    valid["annotations"][0].update(person)
    assert faults(tmp_path, valid) == [f"error: annotation 1{file}: {message}"]


@pytest.mark.parametrize("person", [{"iscrowd": 1}, {"keypoints": [0] * 51}])
def test_a_dataset_without_labelled_joints_is_an_error(tmp_path, valid, person):
    valid["annotations"][0].update(person)
    assert faults(tmp_path, valid) == ["error: no person has a labelled joint"]


@pytest.mark.parametrize(
    ("person", "message"),
    [
        ({"num_keypoints": 2}, "num_keypoints is 2, but 1 are labelled"),
        ({"bbox": [1, 2, 0, 4]}, "its box [1, 2, 0, 4] has no area inside the image"),
        ({"bbox": [8, 0, 4, 4]}, "its box [8, 0, 4, 4] has no area inside the image"),
        ({"bbox": [1, -9, 4, 9]}, "its box [1, -9, 4, 9] has no area inside the image"),
    ],
)
def test_what_harms_no_training_is_a_warning(tmp_path, valid, person, message):
    valid["annotations"][0].update(person)
    assert faults(tmp_path, valid) == [f"warning: annotation 1 (a.png): {message}"]


def test_faults_of_the_lists_are_named(tmp_path, valid):
    valid["annotations"] *= 2
    assert faults(tmp_path, valid) == ["error: annotation 1 (a.png): another annotation has the same id"]
    valid["annotations"] = valid["annotations"][:1]
    valid["images"].append({"id": 3, "file_name": "a.png", "width": 8})
    assert faults(tmp_path, valid) == ["error: image 3 (a.png): no height"]
    valid["images"][1] = {"id": 3, "file_name": 5, "height": "6", "width": 0}
    valid["annotations"].append(1)
    assert faults(tmp_path, valid) == [
        "error: image 3: file_name is 5, not a file's name in the folder of images",
        'error: image 3: height is "6", not a number of pixels',
        "error: image 3: width is 0, not a number of pixels",
        "error: annotation ?: 1 is not an object with fields",
    ]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif"])
def test_a_truncated_image_is_named(tmp_path, valid, suffix):
    name = f"a{suffix}"
    Image.effect_noise((8, 6), 50).convert("RGB").save(tmp_path / name)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-3])
    valid["images"][0]["file_name"] = name
    (fault,) = faults(tmp_path, valid)
    assert fault.startswith(f"error: image 2 ({name}): not an image that can be read; is it damaged")


def test_a_file_that_is_no_image_or_is_missing_is_named(tmp_path, valid):
    (tmp_path / "a.png").write_bytes(b"no image")
    (fault,) = faults(tmp_path, valid)
    assert fault.startswith("error: image 2 (a.png): not an image that can be read")
    (tmp_path / "a.png").unlink()
    assert faults(tmp_path, valid) == ["error: image 2 (a.png): no such image; check the path"]


def test_the_size_may_be_that_of_the_stored_or_the_rotated_image(tmp_path, valid):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png", exif=exif)
    assert faults(tmp_path, valid) == []
    valid["images"][0].update(height=8, width=6)
    (remark,) = found(tmp_path, valid)
    assert (remark.severity, remark.kind) == ("remark", "exif-orientation")
    assert "1 of 1 images have an EXIF orientation other than 1; 1 are rotated" in remark.message
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    message = "the file has (6, 8), but the JSON says (8, 6) (height, width)"
    assert faults(tmp_path, valid) == [f"error: image 2 (a.png): {message}"]


@pytest.mark.parametrize(("orientation", "is_fault"), [(1, False), (3, True), (6, False)])
def test_an_image_whose_size_does_not_tell_how_a_tool_showed_it_is_an_error(tmp_path, valid, orientation, is_fault):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png", exif=exif)
    if orientation == 6:
        valid["images"][0].update(height=8, width=6)
    assert faults(tmp_path, valid) == []  # nobody knows who labelled it
    line = "error: image 2 (a.png): was labelled as displayed, but is read as stored, since by its EXIF orientation"
    person = {**valid["annotations"][0], "attributes": {"occluded": False}}
    for written_by in ({"annotations": [person]}, {"info": {"contributor": "Label Studio"}}):  # the first is CVAT's
        assert [one.startswith(line) for one in faults(tmp_path, valid | written_by)] == [True] * is_fault


def test_copies_are_found_by_their_bytes_and_by_their_pixels(tmp_path, valid):
    noise = Image.effect_noise((8, 6), 50).convert("RGB")
    for name in ("a.png", "b.png"):
        noise.save(tmp_path / name)
    noise.save(tmp_path / "c.bmp")
    Image.fromarray(np.asarray(noise).reshape(8, 6, 3)).save(tmp_path / "d.png")  # the same bytes in another shape
    for number, name in enumerate(("b.png", "c.bmp", "d.png"), start=3):
        height, width = (8, 6) if name == "d.png" else (6, 8)
        valid["images"].append({"id": number, "file_name": name, "height": height, "width": width})
        valid["annotations"].append({**valid["annotations"][0], "id": number, "image_id": number})
    valid["annotations"][-1]["keypoints"] = [2, 3, 2, *[0] * 48]
    assert faults(tmp_path, valid) == [
        "warning: image 3 (b.png): the same file as image 2 (a.png); it counts twice",
        "warning: image 4 (c.bmp): the same pixels as image 2 (a.png); it counts twice",
    ]
    valid["annotations"][2]["keypoints"] = [2, 5, 2, *[0] * 48]
    first, _ = faults(tmp_path, valid)
    assert first.startswith("error: image 4 (c.bmp): the same pixels as image 2 (a.png), with other labels; who is")


def test_images_of_another_split_are_found_by_their_bytes_and_by_their_pixels(tmp_path, valid):
    (tmp_path / "val").mkdir()
    noise = Image.effect_noise((8, 6), 50).convert("RGB")
    for name in ("a.png", "val/x.png", "val/y.bmp"):
        noise.save(tmp_path / name)
    Image.new("RGB", (8, 6)).save(tmp_path / "val/black.png")
    (tmp_path / "val/broken.png").write_bytes(b"no image")
    dataset = Dataset(valid, tmp_path, COCO)
    facts = image_facts.read(check.files_of(dataset), 1)
    for name, what in (("x.png", "the same file"), ("y.bmp", "the same pixels")):
        paths = [tmp_path / "val" / one for one in (name, "black.png", "broken.png")]
        (fault,) = check.faults(dataset, facts, image_facts.read(image_facts.on_disk(paths), 1))
        assert (fault.severity, fault.kind, fault.id) == ("error", "leak", 2)
        assert fault.message.startswith(f"{what} as {tmp_path / 'val' / name}, in another split")


def test_images_below_a_folder_are_found_and_never_those_that_are_checked(tmp_path):
    (tmp_path / "val/more").mkdir(parents=True)
    (tmp_path / "none").mkdir()
    for name in ("a.png", "val/c.jpg", "val/more/d.PNG"):
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    (tmp_path / "val/notes.txt").write_text("no image")
    val = tmp_path / "val"
    assert copies.images_below(val, tmp_path / "train") == [val / "c.jpg", val / "more/d.PNG"]
    for folder in (tmp_path, val):
        with pytest.raises(ValueError, match="holds the images that are checked too"):
            copies.images_below(folder, val)
    with pytest.raises(FileNotFoundError, match="no images in this folder"):
        copies.images_below(tmp_path / "none", val)


def test_the_share_of_images_without_people_is_a_remark(tmp_path, valid):
    for number in (3, 4):
        Image.effect_noise((8, 6), 50).convert("RGB").save(tmp_path / f"{number}.png")
        valid["images"].append({**valid["images"][0], "id": number, "file_name": f"{number}.png"})
    (remark,) = found(tmp_path, valid)
    assert (remark.severity, remark.kind, remark.entry) == ("remark", "without-people", "dataset")
    assert remark.message.startswith("2 of 3 images (67%) have no people;")


def test_people_without_labelled_joints_are_not_the_same_person(tmp_path, valid):
    for number, keypoints in ((2, [-1, -1, 0] * 17), (3, [-1, -1, 0] * 17), (4, [3, 5, 2, *[7, 7, 0] * 16])):
        person = {**valid["annotations"][0], "id": number, "bbox": [1, 2, 3, 1], "keypoints": keypoints}
        valid["annotations"].append(person)
    message = "the same joints as annotation 1; the person counts twice"  # wherever the unlabelled ones lie
    assert faults(tmp_path, valid) == [f"warning: annotation 4 (a.png): {message}"]


def test_a_joint_that_many_people_lack_is_a_warning(tmp_path, valid):
    def person(i):
        return {**valid["annotations"][0], "id": i, "keypoints": [3, 3 + i / 100, 2] * 16 + [0] * 3}

    for number, lines in ((19, []), (20, ["warning: joint right_ankle is never labelled; the model cannot learn it"])):
        valid["annotations"] = [person(i) for i in range(number)]
        assert faults(tmp_path, valid) == lines


def named(*names, pairs=()):
    return skeletons.Skeleton("own", names, (), pairs, (0.1,) * len(names))


@pytest.mark.parametrize(
    ("skeleton", "lines"),
    [
        (named("left_eye", "right_eye", "tail", pairs=((0, 1),)), []),
        (named("joint_0", "joint_1", pairs=((0, 1),)), []),  # nothing is known of such names
        (named("left_eye", "other_eye", pairs=((0, 1),)), []),  # paired, whatever the other is called
        (named("left_eye", "right_eye"), ["error: the flip partner of left_eye is none, not right_eye; correct"]),
        (
            named("L_Eye", "R_Eye", "L_Ear", "R_Ear", pairs=((0, 3), (1, 2))),
            [
                "error: the flip partner of L_Eye is R_Ear, not R_Eye; correct",
                "error: the flip partner of L_Ear is R_Eye, not R_Ear; correct",
            ],
        ),
        (
            named("nose", "LWrist"),
            ["warning: joint LWrist has no partner on the other side; flips would mix up the sides"],
        ),
        *(
            (joints, ["warning: no two joints change places in a mirrored image; if some are left and right of the"])
            for joints in (category_skeleton.numbered(4), named("poll", "hoof_near", "hoof_off"), named("1", "2"))
        ),
        (named("poll"), []),
    ],
)
def test_flips_that_do_not_pair_the_sides_are_named(skeleton, lines):
    given = [one.line() for one in check.flip_faults(skeleton, are_stated=False)]
    assert len(given) == len(lines)
    assert all(one.startswith(line) for one, line in zip(given, lines, strict=True))


def test_joints_without_pairs_are_only_remarked_on_if_the_data_states_it():
    (one,) = check.flip_faults(named("poll", "tail"), are_stated=True)
    assert one.line().startswith("remark: no two joints change places")
    for numbered in (category_skeleton.numbered(3), named("0", "1"), named("point-1", "point-2")):
        (one,) = check.flip_faults(numbered, are_stated=True)  # as Roboflow does for joints that have sides too
        assert one.line().startswith("warning: no two joints change places")


def test_a_preset_with_one_pair_left_out_is_named():
    for preset in skeletons.PRESETS.values():
        assert list(check.flip_faults(preset, are_stated=False)) == []
        fewer = dataclasses.replace(preset, flip_pairs=preset.flip_pairs[:-1])
        (one,) = check.flip_faults(fewer, are_stated=True)
        first, second = (preset.keypoint_names[joint] for joint in preset.flip_pairs[-1])
        assert one.message.startswith(f"the flip partner of {first} is none, not {second}")


def test_the_check_changes_nothing_that_it_is_given(tmp_path, valid):
    before = copy.deepcopy(valid)
    dataset = Dataset(valid, tmp_path, COCO)
    check.faults(dataset, image_facts.read(check.files_of(dataset), 1))
    assert valid == before

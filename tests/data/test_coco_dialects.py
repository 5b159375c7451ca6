"""What datasets and labelling tools write otherwise than COCO: read with the labels on the right pixels."""

import copy
import json
from pathlib import Path

import horses
import numpy as np
import pytest

from inspose_jax.data import annotations, check, coco_dialects, export_folders, image_facts, repair, sources
from inspose_jax.data.coco import CocoFolder
from inspose_jax.data.values import NOT_READ
from inspose_jax.errors import NotFound, UserError
from inspose_jax.skeletons import COCO, CROWDPOSE, PRESETS

WHOLE_BODY = PRESETS["coco_wholebody"]
CATEGORY = {"id": 1, "name": "person", "keypoints": list(horses.NAMES), "skeleton": [[1, 2], [1, 3]]}


def rewritten(content):
    content = copy.deepcopy(content)
    tool = coco_dialects.rewritten(content, "labels.json")
    return content, tool


def test_cocos_own_files_are_left_as_they_are():
    content = horses.coco(CATEGORY)
    assert rewritten(content) == (content, "")
    assert rewritten({"images": [7], "annotations": "none", "info": 3}) == (
        {"images": [7], "annotations": "none", "info": 3},
        "",
    )


# CrowdPose ----------------------------------------------------------------------------------------------------------


def crowdpose():
    names = ["head" if name == "top_head" else name for name in CROWDPOSE.keypoint_names]
    category = {"id": 1, "name": "person", "keypoints": names, "skeleton": [[16, 14], [14, 12]]}
    content = horses.coco(category)
    for image in content["images"]:
        image["crowdIndex"] = 0.33
    for one in content["annotations"]:
        one["num_keypoints"] = 3  # without head and neck
        one["keypoints"] = [0] * 27 + one["keypoints"]  # the last joints are lit: right_knee, .., top_head, neck
    return content


def test_crowdposes_joints_and_limbs_are_the_presets():
    content, dialect = rewritten(crowdpose())
    assert dialect == "CrowdPose"
    assert tuple(content["categories"][0]["keypoints"]) == CROWDPOSE.keypoint_names
    assert not any("num_keypoints" in one for one in content["annotations"])
    assert content["categories"][0]["skeleton"][0] == [11, 9]  # from right to left: ankle, knee


def test_crowdposes_labels_lie_on_their_pixels(tmp_path):
    horses.write_images(tmp_path)
    source = horses.opened((rewritten(crowdpose())[0], tmp_path))
    horses.check_lit_pixels(source, first=9)
    horses.check_perfect(source)


# COCO-WholeBody -----------------------------------------------------------------------------------------------------


def whole_body():
    """Horses whose five joints are the last one of each of the five fields."""
    content = horses.coco({**CATEGORY, "keypoints": list(COCO.keypoint_names)})
    for one in content["annotations"]:
        five = np.array(one.pop("keypoints")).reshape(5, 3).tolist()
        for (field, number), joint in zip(coco_dialects.PARTS.items(), five, strict=True):
            one[field] = [0] * (3 * number - 3) + joint
        one["num_keypoints"] = 1
    return content


def test_whole_bodies_are_joined_from_five_fields(tmp_path):
    horses.write_images(tmp_path)
    content, dialect = rewritten(whole_body())
    assert dialect == "COCO-WholeBody"
    assert content["categories"][0]["keypoints"] == list(WHOLE_BODY.keypoint_names)
    source = horses.opened((rewritten(whole_body())[0], tmp_path))
    names = ("right_ankle", "right_heel", "face-67", "left_pinky_finger4", "right_pinky_finger4")
    horses.check_lit_pixels(source, joints=tuple(map(WHOLE_BODY.keypoint_names.index, names)))
    horses.check_perfect(source)


def test_a_missing_part_is_unlabelled_and_one_of_another_length_is_a_fault_of_its_person(tmp_path):
    content = whole_body()
    del content["annotations"][1]["foot_kpts"]
    keypoints = rewritten(content)[0]["annotations"][1]["keypoints"]
    assert len(keypoints) == 3 * 133
    assert keypoints[3 * 17 : 3 * 23] == [0] * 18
    content["annotations"][2]["face_kpts"].pop()
    after = rewritten(content)[0]
    assert [NOT_READ in one for one in after["annotations"]] == [False, False, True, False]
    horses.write_images(tmp_path)
    line = r"labels: annotation 3: 203 numbers for face_kpts, not 204 \(x, y, visibility of 68 joints\); `inspose"
    with pytest.raises(UserError, match=line):
        horses.opened((after, tmp_path))


# Label Studio -------------------------------------------------------------------------------------------------------


def label_studio(rectangles=(1, 1, 0, 0)):
    """Its COCO export of the images with one horse: rectangles are annotations of their own, there is no area."""
    content = horses.coco({"id": 1, "name": "default", "keypoints": list(horses.NAMES), "skeleton": []})
    content["info"] = {"contributor": "Label Studio"}
    content["categories"].insert(0, {"id": 0, "name": "horse"})
    for kind, image_id in (("annotations", "image_id"), ("images", "id")):
        content[kind] = [one for one in content[kind] if one[image_id] != 3]
    for image in content["images"]:
        image["file_name"] = f"images/{image['file_name']}"
    for image_id, count in enumerate(rectangles, start=1):
        for _ in range(count):
            box = list(horses.IMAGES["1.png"][1][0].box)
            one = {"id": 90, "image_id": image_id, "category_id": 0, "bbox": box, "area": 9, "segmentation": []}
            content["annotations"].append(one)
    for one in content["annotations"]:
        one["bbox"] = one["bbox"] if "area" in one else [3, 3, 2, 2]  # a point's box is of the joints
    return content


def test_label_studios_coco_export_has_one_person_an_image(tmp_path):
    horses.write_images(tmp_path / "images")
    content, dialect = rewritten(label_studio())
    assert dialect == "Label Studio"
    assert [image["file_name"] for image in content["images"]] == ["images/1.png", "images/2.png", "images/4.png"]
    assert content["annotations"][0]["bbox"] == [0, 2, 30, 38]  # of the rectangle
    content["categories"] = content["categories"][1:]
    export = export_folders.Export(tmp_path, tmp_path)
    source = horses.opened((content, export.images))
    horses.check_lit_pixels(source, num_horses=2)
    horses.check_perfect(source)


def test_people_whom_label_studio_merged_are_faults_and_their_rectangles_remain():
    people = rewritten(label_studio(rectangles=(1, 2, 0, 0)))[0]["annotations"]
    first, merged, *two = people
    assert (len(two), NOT_READ in first) == (2, False)
    assert merged[NOT_READ].startswith("its image has 2 rectangles, but Label Studio's COCO export joins all points of")
    assert "bbox" not in merged
    assert [(one["category_id"], one["keypoints"]) for one in two] == [(1, []), (1, [])]
    assert len({one["id"] for one in people}) == 4


@pytest.mark.filterwarnings("ignore:.*(no area|joints of its own|left out)")
def test_the_cleaned_file_has_merged_people_as_places_to_ignore(tmp_path):
    horses.write_images(tmp_path / "images")
    dataset = annotations.prepared(label_studio(rectangles=(1, 2, 0, 0)), tmp_path, horses.NAME, None)
    facts = image_facts.read(check.files_of(dataset), 1)
    found = check.faults(dataset, facts)
    assert [(one.kind, one.id) for one in found if one.severity == "error"] == [("entry", 2)]
    clean, (change,), left = repair.repaired(dataset, facts, {}, found)
    assert (change.action, change.id, left) == ("dropped", 2, [])
    assert change.reason.startswith("its image has 2 rectangles, but Label Studio's COCO export joins all points")
    people = clean.content["annotations"]
    assert [(one["image_id"], any(one["keypoints"])) for one in people] == [(1, True), (2, False), (2, False)]


def test_rectangles_of_label_studio_without_points_are_people_without_joints(tmp_path):
    horses.write_images(tmp_path / "images")
    content = label_studio(rectangles=(1, 0, 0, 2))
    other = {"id": 2, "image_id": 4, "category_id": 7, "bbox": [1, 1, 2, 2], "area": 4, "segmentation": []}
    content["annotations"].append(other)
    content["categories"].append({"id": 7, "name": "cart"})
    after, _ = rewritten(content)
    assert after["annotations"][-1] == other, "of another label"
    source = horses.opened((content, tmp_path))
    assert source.has_people.tolist() == [True, True, True]
    assert source.is_labelled.tolist() == [True, True, False]
    assert [len(source.people(i)[0]) for i in range(3)] == [1, 1, 2]
    np.testing.assert_array_equal(source.people(2)[1], [[0, 2, 30, 40]] * 2)
    del after["annotations"][-1]
    assert rewritten(after)[0] == after, "what --fix writes is read again"


def test_without_points_in_a_rectangle_only_those_called_person_are_people():
    content = label_studio(rectangles=(0, 0, 0, 1))
    assert "keypoints" not in rewritten(content)[0]["annotations"][-1]
    content["categories"][0]["name"] = "person"
    assert rewritten(content)[0]["annotations"][-1]["keypoints"] == []
    content["annotations"] = content["annotations"][-1:]  # no points at all, which is reported elsewhere
    assert rewritten(content)[0]["annotations"] == content["annotations"]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("../../media/upload/1/a%20b.png", "a%20b.png"),
        ("http://localhost:8080/data/upload/1/1.png", "1.png"),
        ("https://host/photos/a%20b.png?token=1/2", "a b.png"),
        ("http://localhost:8080/data/local-files/?d=a%5C1.png", "1.png"),
        ("s3://bucket/1.png", "1.png"),
    ],
)
def test_files_that_label_studio_did_not_copy_are_looked_for_by_name(name, read):
    content = label_studio()
    content["images"][0]["file_name"] = name
    assert rewritten(content)[0]["images"][0]["file_name"] == f"images/{read}"


# CVAT ---------------------------------------------------------------------------------------------------------------


def cvat():
    content = horses.coco(CATEGORY, attributes={"occluded": False}, segmentation=[], iscrowd=0)
    content["categories"].append({"id": 2, "name": "cart", "keypoints": [], "skeleton": [], "supercategory": ""})
    for one in content["annotations"]:
        one["area"] = one["bbox"][2] * one["bbox"][3]
    return content


def test_a_box_around_a_single_joint_is_left_to_be_filled_in():
    content = cvat()
    content["annotations"][0] |= {"bbox": [3, 5, 0, 0], "area": 0}
    content["annotations"][1] |= {"bbox": [3, 5, 4, 0], "area": 0, "keypoints": [0] * 15}
    content["annotations"][2] |= {"bbox": [3, 5, 0, 0], "keypoints": 7}  # for the rules to report
    after, dialect = rewritten(content)
    assert dialect == "CVAT"
    assert "bbox" not in after["annotations"][0]
    assert "area" not in after["annotations"][0]
    assert after["annotations"][1:] == content["annotations"][1:]  # without joints there is nothing to fill it from


# Folders ------------------------------------------------------------------------------------------------------------


def write(folder, images, file, content):
    """Write a COCO file, and its images where its file names are when they start from `images`."""
    last = content["images"][-1]["file_name"].replace("\\", "/")  # 4.png, in no folder of its own
    horses.write_images(folder / images / Path(last).parent)
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps(content))


ROBOFLOW_CATEGORIES = [{"id": 0, "name": "horses-x1y2", "supercategory": "none"}]


def roboflow():
    content = horses.coco({**CATEGORY, "id": 1, "supercategory": "horses-x1y2"})
    content["categories"] = ROBOFLOW_CATEGORIES + content["categories"]
    for one in content["annotations"]:
        one |= {"id": one["id"] - 1, "area": one["bbox"][2] * one["bbox"][3], "segmentation": []}
    return content


def below(folder):
    """CVAT's content whose file names begin with a folder."""
    content = cvat()
    for image in content["images"]:
        image["file_name"] = f"{folder}/{image['file_name']}"
    return content


LAYOUTS = {  # kind: folder that file names start from, file of labels, its content, the split here and in the folder
    "Roboflow": ("valid", "valid/_annotations.coco.json", roboflow, "val", "valid"),
    "CVAT": ("images/default", "annotations/person_keypoints_default.json", cvat, "train", "default"),
    "CVAT with COCO's splits": ("images/val2017", "annotations/person_keypoints_val2017.json", cvat, "val", "val2017"),
    "CVAT without splits": ("images", "annotations/person_keypoints_train.json", cvat, "train", "train"),
    "CVAT with COCO's tree": ("train2017", "annotations/person_keypoints_train2017.json", cvat, "train", "train2017"),
    "CVAT with a file name that names the split": (
        "images",
        "annotations/person_keypoints_train.json",
        lambda: below("train"),
        "train",
        "train",
    ),
    "CVAT with a file name that names all folders": (
        ".",
        "annotations/person_keypoints_default.json",
        lambda: below("images/default"),
        "train",
        "default",
    ),
    "CrowdPose": ("images", "json/crowdpose_test.json", crowdpose, "test", "test"),
    "OCHuman": (
        "images",
        "ochuman_coco_format_val_range_0.00_1.00.json",
        lambda: horses.coco(CATEGORY),
        "val",
        "",  # no export, but a COCO file
    ),
}


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.filterwarnings("ignore:.*(have no area|joints of its own)")
def test_exports_are_found_and_their_labels_lie_on_their_pixels(tmp_path, kind):
    images, file, content, split, name = LAYOUTS[kind]
    write(tmp_path, images, file, content())
    (tmp_path / "images/more").mkdir(parents=True)  # of something else
    assert list(export_folders.find(tmp_path)) == [name] * bool(name)
    found = sources.read(tmp_path, split)
    assert (found.name, found.kind) == (tmp_path / file, f"COCO keypoints of {kind.split(' with')[0]}")
    assert found.dataset.images == tmp_path / images
    source = CocoFolder.of(found.dataset, found.name, horses.OFFSET)
    assert source.skeleton.keypoint_names == (CROWDPOSE.keypoint_names if kind == "CrowdPose" else horses.NAMES)
    horses.check_lit_pixels(source, first=9 if kind == "CrowdPose" else 0)
    horses.check_perfect(source)


@pytest.mark.filterwarnings("ignore:.*(have no area|joints of its own)")
def test_label_studios_folder_is_found(tmp_path):
    write(tmp_path, ".", "result.json", label_studio())
    assert export_folders.choose(tmp_path, "val") == export_folders.Export(tmp_path / "result.json", tmp_path)
    assert sources.read(tmp_path, "val").kind == "COCO keypoints of Label Studio"


def test_ochumans_files_are_told_by_their_names():
    content = horses.coco(CATEGORY)
    assert coco_dialects.rewritten(content, "x/ochuman_coco_format_val_range_0.00_1.00.json") == "OCHuman"
    assert coco_dialects.rewritten(content, "ochuman/labels.json") == ""


def test_crowdposes_own_files_come_before_those_of_mmpose(tmp_path):
    write(tmp_path, "images", "json/crowdpose_val.json", crowdpose())
    write(tmp_path, "images", "annotations/mmpose_crowdpose_val.json", crowdpose())
    assert export_folders.file_of(tmp_path, "val") == tmp_path / "json/crowdpose_val.json"


def test_a_folder_that_is_named_as_the_split_comes_before_others_with_its_word(tmp_path):
    for name in ("old_train", "train", "valid"):
        write(tmp_path, name, f"{name}/_annotations.coco.json", roboflow())
    assert export_folders.file_of(tmp_path, "train").parent.name == "train"
    (tmp_path / "train").rename(tmp_path / "new_train")
    with pytest.raises(UserError, match="has several parts for train, new_train, old_train; give the folder"):
        export_folders.file_of(tmp_path, "train")


def test_a_single_folder_of_roboflow_is_a_split_of_its_own(tmp_path):
    write(tmp_path, "train", "train/_annotations.coco.json", roboflow())
    assert export_folders.choose(tmp_path / "train", "val").images == tmp_path / "train"


def test_splits_go_by_several_names(tmp_path):
    for name in ("train", "valid", "test"):
        write(tmp_path, name, f"{name}/_annotations.coco.json", roboflow())
    chosen = [export_folders.file_of(tmp_path, split).parent.name for split in ("train", "val", "test")]
    assert chosen == ["train", "valid", "test"]


def test_cocos_own_names_of_splits_are_understood(tmp_path):
    for name in ("train2017", "val2017"):
        write(tmp_path, f"images/{name}", f"annotations/person_keypoints_{name}.json", cvat())
    assert export_folders.read(tmp_path, "val", "")[1] == tmp_path / "images/val2017"


def test_the_folder_of_the_split_comes_before_one_with_files_of_the_same_names(tmp_path):
    write(tmp_path, "images/val", "annotations/person_keypoints_val.json", cvat())
    horses.write_images(tmp_path / "images")
    assert export_folders.read(tmp_path, "val", "")[1] == tmp_path / "images/val"


def test_a_split_that_is_not_there_is_refused_unless_there_is_only_one(tmp_path):
    assert not export_folders.is_kind(tmp_path)
    write(tmp_path, "valid", "valid/_annotations.coco.json", roboflow())
    assert export_folders.choose(tmp_path, "test").images == tmp_path / "valid"
    write(tmp_path, "train", "train/_annotations.coco.json", roboflow())
    with pytest.raises(
        UserError, match=r": has no part for test, only train, valid; give the folder or the file of that part$"
    ):
        export_folders.choose(tmp_path, "test")


def test_an_export_without_images_is_refused(tmp_path):
    write(tmp_path, "images", "json/crowdpose_val.json", crowdpose())
    (tmp_path / "images").rename(tmp_path / "photos")
    with pytest.raises(NotFound, match=r"images: no such folder; the images of .*crowdpose_val.json belong there"):
        export_folders.read(tmp_path, "val", "")


# The real samples ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "skeleton"), [("crowdpose", CROWDPOSE), ("ochuman", COCO)])
@pytest.mark.filterwarnings("ignore:.*have no area")
def test_the_labels_of_real_samples_have_an_ap_of_one(coco_real, kind, skeleton):
    folder = coco_real.parent / f"{kind}_small"
    source = CocoFolder(folder / "images", folder / f"test_{kind}.json", None, 0.5)
    assert source.skeleton == skeleton
    horses.check_perfect(source)

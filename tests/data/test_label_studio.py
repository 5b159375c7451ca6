"""Label Studio's own JSON: points become people by their rectangles, on the right pixels, or are refused."""

import json
import shlex

import horses
import numpy as np
import pytest
from PIL import Image

from inspose_jax import cli
from inspose_jax.data import annotations, label_studio, sources
from inspose_jax.errors import NotFound, UserError
from inspose_jax.skeletons import COCO, Skeleton


def region(kind, size, name, value, **fields):
    height, width = size
    one = {"id": name, "type": kind, "original_width": width, "original_height": height, "image_rotation": 0}
    return one | {"value": value, **fields}


def percent(x, y, size):
    """The middle of a pixel."""
    return {"x": 100 * (x + 0.5) / size[1], "y": 100 * (y + 0.5) / size[0]}


def rectangle(name, box, size, **value):
    x, y, w, h = box
    at = {"x": 100 * x / size[1], "y": 100 * y / size[0], "width": 100 * w / size[1], "height": 100 * h / size[0]}
    return region("rectanglelabels", size, name, at | {"rotation": 0, "rectanglelabels": ["horse"]} | value)


def point(name, joint, place, size, **fields):
    return region(
        "keypointlabels", size, name, percent(*place, size) | {"width": 1, "keypointlabels": [joint]}, **fields
    )


def export(by="parentID", with_rectangles=True):
    """The tasks of all images; points belong to their rectangle by a field, or by a relation in either direction."""
    tasks = []
    for number, (name, (size, listed)) in enumerate(horses.IMAGES.items(), start=1):
        result = []
        for n, horse in enumerate(listed):
            if with_rectangles:
                result.append(rectangle(f"r{n}", horse.box, size))
            for k, place in enumerate(horse.joints):
                if place is not None:
                    result.append(point(f"p{n}{k}", horses.NAMES[k], place, size))
                    if by == "parentID" and with_rectangles:
                        result[-1]["parentID"] = f"r{n}"
                    if by == "relation":
                        ends = (
                            {"from_id": f"r{n}", "to_id": f"p{n}{k}"}
                            if k % 2
                            else {"from_id": f"p{n}{k}", "to_id": f"r{n}"}
                        )
                        result.append({"type": "relation", "direction": "right", **ends})
        result.append({"id": "c", "type": "choices", "value": {"choices": ["good"]}})
        image = f"/data/upload/1/0123abcd-{name.rsplit('/', 1)[-1]}"
        tasks.append({"id": number, "data": {"image": image, "note": "x"}, "annotations": [{"result": result}]})
    return tasks


def written(tmp_path, tasks):
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    return path


def with_images(tmp_path):
    """The images, all in one folder, as they were before they were uploaded."""
    horses.write_images(tmp_path / "images")
    (tmp_path / "images/sub/3.png").rename(tmp_path / "images/3.png")
    return tmp_path / "images"


@pytest.mark.parametrize("by", ["parentID", "relation"])
def test_labels_lie_on_their_pixels(tmp_path, by):
    images = with_images(tmp_path)
    content, remarks = label_studio.read(written(tmp_path, export(by)), images)
    assert content["categories"] == [{"id": 1, "name": "horse", "keypoints": sorted(horses.NAMES), "skeleton": []}]
    assert remarks == ()
    boxes = [horse.box for _, listed in horses.IMAGES.values() for horse in listed]
    np.testing.assert_allclose([one["bbox"] for one in content["annotations"]], boxes, atol=2e-3)
    source = horses.opened((content, images))
    joints = tuple(source.skeleton.keypoint_names.index(name) for name in horses.NAMES)
    horses.check_lit_pixels(source, joints=joints)
    horses.check_perfect(source)
    assert source.has_people.tolist() == [True, True, True, False]  # the size of the last is its file's


MORE = Skeleton("six", ("Tail", "r_ear", "l_ear", "nose", "L-hoof", "r_hoof"), ((0, 3),), ((1, 2),), (0.1,) * 6)


def test_a_skeleton_tells_the_joints_and_their_order_whatever_occurs(tmp_path):
    images = with_images(tmp_path)
    content, _ = label_studio.read(written(tmp_path, export()), images, MORE)
    (category,) = content["categories"]
    assert category["keypoints"] == list(MORE.keypoint_names)
    assert (category["skeleton"], category["flip_pairs"]) == ([[1, 4]], [[1, 2]])
    source = horses.opened((content, images))
    assert (source.skeleton.keypoint_names, source.skeleton.flip_pairs) == (MORE.keypoint_names, ((1, 2),))
    horses.check_lit_pixels(source, joints=(2, 1, 0, 4, 5))  # of l_ear, r_ear, tail, l_hoof, r_hoof
    assert not source[0].keypoints[:, 3].any()


def test_a_label_that_is_no_joint_of_the_skeleton_is_refused(tmp_path):
    path = written(tmp_path, export())
    with pytest.raises(
        UserError, match=r'points "l_ear", which is no joint of coco \(nose, left_eye, .*, \.\.\); corr'
    ):
        label_studio.read(path, None, COCO)
    path.write_text(path.read_text().replace('"l_ear"', '"L Ear"', 1))
    for skeleton in (MORE, None):
        with pytest.raises(UserError, match=r'points "L Ear" and "l_ear", which are one joint; use one label'):
            label_studio.read(path, None, skeleton)


def test_the_points_of_an_image_without_rectangles_are_one_person(tmp_path):
    tasks = [task for task in export(with_rectangles=False) if task["id"] != 3]
    content, remarks = label_studio.read(written(tmp_path, tasks), None)
    assert [one["num_keypoints"] for one in content["annotations"]] == [4, 4]
    assert "bbox" not in content["annotations"][0]
    assert remarks == ("left out, since nothing tells their size without --images: 1 without people",)


def test_points_beside_the_only_rectangle_are_its_person(tmp_path):
    (horse,) = horses.IMAGES["1.png"][1]
    tasks = export(by=None)[:1]
    content, _ = label_studio.read(written(tmp_path, tasks), None)
    (one,) = content["annotations"]
    assert one["num_keypoints"] == 4
    np.testing.assert_allclose(one["bbox"], horse.box, atol=2e-3)


@pytest.mark.parametrize("orientation", [3, 6])
def test_labels_are_of_the_image_as_a_browser_shows_it(tmp_path, orientation):
    images = with_images(tmp_path)
    horses.turn(images / "1.png", orientation)
    content, remarks = label_studio.read(written(tmp_path, export()), images)
    if orientation == 3:
        assert remarks[0].startswith("left out for their EXIF orientation (")
        source = horses.opened((content, images))
    else:
        with pytest.warns(UserWarning, match="1 are rotated accordingly"):
            source = horses.opened((content, images))
    joints = tuple(source.skeleton.keypoint_names.index(name) for name in horses.NAMES)
    horses.check_lit_pixels(source, num_horses=3 if orientation == 3 else 4, joints=joints)


def test_an_image_without_people_has_the_size_that_is_shown(tmp_path):
    images = with_images(tmp_path)
    Image.new("RGB", (30, 20)).save(images / "4.png")
    horses.turn(images / "4.png", 6)
    content, _ = label_studio.read(written(tmp_path, export()), images)
    assert [(one["height"], one["width"]) for one in content["images"]][3] == (20, 30)


def test_a_rectangle_without_points_is_a_person_without_joints(tmp_path):
    size = horses.IMAGES["1.png"][0]
    tasks = export()[:1]
    tasks[0]["annotations"][0]["result"] += [
        rectangle("r8", (1, 1, 9, 9), size),
        rectangle("r9", (1, 1, 9, 9), size, rectanglelabels=["cart"]),
    ]
    content, remarks = label_studio.read(written(tmp_path, tasks), None)
    assert [one["num_keypoints"] for one in content["annotations"]] == [4, 0]
    assert remarks == ("rectangles without points are left out: 1 cart",)


def test_a_rotated_rectangle_gives_the_box_around_it():
    quarter = rectangle("r", (20, 10, 8, 4), (40, 64), rotation=90)  # clockwise about its upper left corner
    np.testing.assert_allclose(label_studio.box_of(quarter, (40, 64)), [16, 10, 4, 8], atol=1e-3)


def test_joints_of_a_preset_are_in_its_order(tmp_path):
    size = horses.IMAGES["1.png"][0]
    points = [point(f"p{k}", name, (k, k), size) for k, name in enumerate(sorted(COCO.keypoint_names))]
    tasks = [{"id": 1, "data": {"image": "1.png"}, "annotations": [{"result": points}]}]
    content, _ = label_studio.read(written(tmp_path, tasks), None)
    (category,) = content["categories"]
    assert (category["name"], tuple(category["keypoints"])) == ("person", COCO.keypoint_names)
    assert content["annotations"][0]["keypoints"][:2] == [sorted(COCO.keypoint_names).index("nose")] * 2


def found(text, images):
    """The name of the file that Label Studio calls `text`."""
    return label_studio.file_name({"data": {"image": text}}, images, label_studio.files_by_upload(images), "task 1")


@pytest.mark.parametrize(
    "text",
    [
        "/data/upload/1/0123abcd-1.png",
        "/data/local-files/?d=horses/1.png",
        "s3://bucket/of/1.png",
        "https://host/a%20b/1.png?x=1",
        "C:\\photos\\1.png",
        "/data/local-files/?d=horses%5C1.png",
        "1.png",
    ],
)
def test_images_are_found_by_what_label_studio_calls_them(tmp_path, text):
    images = with_images(tmp_path)
    assert found(text, images) == "1.png"


def test_the_longest_path_that_exists_is_taken(tmp_path):
    images = with_images(tmp_path)
    (images / "sub/1.png").write_bytes(b"")
    assert found("s3://bucket/sub/1.png", images) == "sub/1.png"


def test_an_upload_is_found_by_the_name_that_it_had_before(tmp_path):
    images = with_images(tmp_path)
    (images / "1.png").rename(images / " Zoë's best (1).png")
    assert found("/data/upload/1/0123abcd-_Zoës_best_1.png", images) == " Zoë's best (1).png"
    with pytest.raises(NotFound, match=r"its image _Zoës_best_1.png is not in"):
        found("s3://bucket/_Zoës_best_1.png", images)  # which no upload changed
    (images / "_Zoës_best_1.png").mkdir()
    assert found("/data/upload/1/0123abcd-_Zoës_best_1.png", images) == " Zoë's best (1).png"


def test_an_upload_that_may_be_several_files_is_refused_until_one_has_its_name(tmp_path):
    images = with_images(tmp_path)
    for before, after in (("1.png", "a b.png"), ("2.png", "a_b.png")):
        (images / before).rename(images / after)
    with pytest.raises(UserError, match=r"^task 1: its image 0123abcd-a_b.png may be a b.png or a_b.png of .*; rename"):
        found("/data/upload/1/0123abcd-a_b.png", images)
    (images / "a b.png").rename(images / "0123abcd-a_b.png")
    assert found("/data/upload/1/0123abcd-a_b.png", images) == "0123abcd-a_b.png"


def test_a_text_beside_the_image_that_is_no_address_is_no_image(tmp_path):
    task = {"data": {"note": "http://[", "image": "1.png"}}
    assert label_studio.file_name(task, None, {}, "task 1") == "1.png"


def classification(kind, name, **value):
    return {"id": name, "type": kind, "value": value}


@pytest.mark.parametrize("word", ["occluded", "Hidden", "not visible", "Not_Visible", "INVISIBLE"])
def test_a_point_that_is_said_to_be_hidden_has_visibility_1(tmp_path, word):
    tasks = export()
    results(tasks).append(classification("choices", "p00", choices=[word]))
    content, remarks = label_studio.read(written(tmp_path, tasks), None)
    before, _ = label_studio.read(written(tmp_path, export()), None)
    of_image = [np.reshape(one["annotations"][0]["keypoints"], (-1, 3)) for one in (content, before)]
    joint = content["categories"][0]["keypoints"].index("l_ear")
    np.testing.assert_array_equal(of_image[0][:, :2], of_image[1][:, :2])
    np.testing.assert_array_equal(np.flatnonzero(of_image[0][:, 2] != of_image[1][:, 2]), [joint])
    assert of_image[0][joint, 2] == 1
    assert content["annotations"][1:] == before["annotations"][1:], "ids are those of one image"
    assert not [remark for remark in remarks if "classifications" in remark]


def test_other_classifications_of_regions_are_counted_once(tmp_path):
    tasks = export()
    for task in (0, 1):
        results(tasks, task).append(classification("choices", "p00", choices=["not occluded", "blurred"]))
    results(tasks).extend(
        [
            classification("choices", "r0", choices=["hidden"]),  # of a rectangle
            classification("choices", "p01"),
            classification("textarea", "p01", text=["a tail"]),
            classification("textarea", "c", text=["an image"]),
            {"type": "rating"},
        ]
    )
    results(tasks)[3].pop("id")  # as the rating has none
    content, remarks = label_studio.read(written(tmp_path, tasks), None)
    assert {visibility for one in content["annotations"] for visibility in one["keypoints"][2::3]} == {0, 2}
    (remark,) = [remark for remark in remarks if "classifications" in remark]
    assert remark == (
        "left out, since of the classifications of single regions only hidden points are read: 2 not occluded, "
        "2 blurred, 1 hidden, 1 choices, 1 textarea"
    )


def changed(change):
    tasks = export()
    change(tasks)
    return tasks


def results(tasks, task=0):
    return tasks[task]["annotations"][0]["result"]


FAULTS = {
    "a polygon": (
        lambda tasks: results(tasks)[0].update(type="polygonlabels"),
        "task 1: has a region of type polygonlabels; only points (keypointlabels) and rectangles are read",
    ),
    "a point without rectangle": (
        lambda tasks: results(tasks, 2)[1].pop("parentID"),
        "task 3: the point l_ear belongs to no rectangle, and the image has 2; move it into its person's rectangle",
    ),
    "a point of two rectangles": (
        lambda tasks: results(tasks, 2).append({"type": "relation", "from_id": "r1", "to_id": "p00"}),
        "task 3: the point l_ear belongs to 2 rectangles, and the image has 2; move it into its person's rectangle",
    ),
    "two points of a name": (
        lambda tasks: results(tasks)[2]["value"].update(keypointlabels=["l_ear"]),
        "task 1: a person has two points l_ear; give it the label that it should have",
    ),
    "a point with two labels": (
        lambda tasks: results(tasks)[1]["value"].update(keypointlabels=["l_ear", "tail"]),
        "task 1: keypointlabels p00: has the labels ['l_ear', 'tail']; a point must have one, the name of its joint",
    ),
    "a point without position": (
        lambda tasks: results(tasks)[1]["value"].pop("x"),
        "task 1: keypointlabels p00: its value has no numbers x, y; is the file damaged?",
    ),
    "a list as parent": (
        lambda tasks: results(tasks)[1].update(parentID=["r0"]),
        "task 1: keypointlabels: its parentID is ['r0'], not text or a whole number; is the file damaged?",
    ),
    "a list as id": (
        lambda tasks: results(tasks)[0].update(id=["r0"]),
        "task 1: rectanglelabels: its id is ['r0'], not text or a whole number; is the file damaged?",
    ),
    "a list as id of a classification": (
        lambda tasks: results(tasks)[-1].update(id=["c"]),
        "task 1: choices: its id is ['c'], not text or a whole number; is the file damaged?",
    ),
    "a list as end of a relation": (
        lambda tasks: results(tasks).append({"type": "relation", "from_id": "p00", "to_id": ["r0"]}),
        "task 1: relation: its to_id is ['r0'], not text or a whole number; is the file damaged?",
    ),
    "a number as label of a rectangle": (
        lambda tasks: results(tasks)[0]["value"].update(rectanglelabels=[7]),
        "task 1: rectanglelabels r0: has the labels [7]; those of a rectangle must be texts",
    ),
    "a number as labels of a rectangle": (
        lambda tasks: results(tasks)[0]["value"].update(rectanglelabels=7),
        "task 1: rectanglelabels r0: has the labels 7; those of a rectangle must be texts",
    ),
    "a rotation that is no number": (
        lambda tasks: results(tasks)[0]["value"].update(rotation="90"),
        "task 1: rectanglelabels r0: its rotation is 90, not a number; is the file damaged?",
    ),
    "no list of regions": (
        lambda tasks: tasks[0]["annotations"][0].update(result=7),
        "task 1: its result is not a list; is the file an export of Label Studio?",
    ),
    "no size": (
        lambda tasks: results(tasks)[1].pop("original_width"),
        "task 1: keypointlabels p00: has no original_width and original_height; is the file damaged?",
    ),
    "two sizes": (
        lambda tasks: results(tasks)[1].update(original_width=7),
        "task 1: its regions are of images of several sizes; a task must have one image",
    ),
    "a rotated image": (
        lambda tasks: results(tasks)[1].update(image_rotation=90),
        "task 1: keypointlabels p00: was labelled with the image rotated in Label Studio; turn it back",
    ),
    "two annotations": (
        lambda tasks: tasks[0]["annotations"].append({"result": []}),
        "task 1: has 2 annotations; delete all but the right one, and export again",
    ),
    "annotations that are none": (
        lambda tasks: tasks[0].update(annotations=7),
        "task 1: its annotations are not a list of objects; is the file an export of Label Studio?",
    ),
    "no image": (
        lambda tasks: tasks[0].update(data={"text": "a"}),
        "task 1: its `data` names 0 images; it must be one",
    ),
    "an image twice": (
        lambda tasks: tasks[1].update(data=tasks[0]["data"]),
        "0123abcd-1.png is the image of several tasks; keep one of them",
    ),
    "two kinds of animals": (
        lambda tasks: results(tasks)[0]["value"].update(rectanglelabels=["cow"]),
        "points belong to rectangles called cow and horse; export each kind on its own",
    ),
    "no points": (
        lambda tasks: [task["annotations"][0].update(result=[]) for task in tasks],
        "no task has a point (keypointlabels); there is nothing to import",
    ),
    "JSON-MIN": (
        lambda tasks: [task.pop("annotations") for task in tasks],
        "its tasks have no `annotations`; export as JSON, not as JSON-MIN",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_unclear_is_refused_in_one_line(tmp_path, fault):
    change, line = FAULTS[fault]
    path = written(tmp_path, changed(change))
    with pytest.raises(UserError) as caught:
        label_studio.read(path, None)
    assert str(caught.value).startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)


def test_other_files_are_refused_in_one_line(tmp_path):
    path = written(tmp_path, {"images": [], "annotations": []})
    assert not label_studio.is_kind(path)
    with pytest.raises(UserError, match=r"export.json: is a COCO file already; use it as it is, with --annotations"):
        label_studio.read(path, None)
    path.write_text("[{")
    assert label_studio.is_kind(path)
    with pytest.raises(UserError, match=r"export.json: not JSON \(.*\); is it damaged or cut off\?"):
        label_studio.read(path, None)
    path.write_text("[1]")
    with pytest.raises(UserError, match=r"export.json: not a list of tasks; give what Label Studio exports as JSON"):
        label_studio.read(path, None)
    with pytest.raises(NotFound, match=r"none.json: no such file; give Label Studio's export, JSON"):
        label_studio.read(tmp_path / "none.json", None)
    assert not label_studio.is_kind(tmp_path)
    for other in ("[]", '[{"image_id": 1, "category_id": 1, "score": 0.5}]'):  # nothing, and results
        path.write_text(other)
        assert not label_studio.is_kind(path)


def test_given_as_data_it_is_recognised(tmp_path):
    path = written(tmp_path, export())
    for data in (path, tmp_path):  # also as the only JSON of a folder
        with pytest.raises(UserError, match=r"export.json: looks like Label Studio's own JSON; .* inspose data import"):
            sources.read(data, "train")


@pytest.mark.filterwarnings("ignore:.*(no area|joints of its own)")
def test_a_bitmap_without_people_has_a_size(tmp_path):
    tasks = export()
    tasks[3]["data"] = {"image": "/data/upload/1/4.bmp"}
    images = with_images(tmp_path)
    Image.new("RGB", (20, 30)).save(images / "4.bmp")
    content, remarks = label_studio.read(written(tmp_path, tasks), images)
    assert (content["images"][3]["height"], content["images"][3]["width"]) == (30, 20)
    assert not [remark for remark in remarks if "left out" in remark]


def test_without_a_folder_of_images_names_keep_their_folders(tmp_path):
    tasks = export()
    for task, place in zip(tasks, ("a/1.png", "b/1.png", "/data/upload/7/3.png", "4.png"), strict=True):
        task["data"] = {"image": f"/data/local-files/?d={place}"}
    content, _ = label_studio.read(written(tmp_path, tasks), None)
    assert [image["file_name"] for image in content["images"]][:3] == ["a/1.png", "b/1.png", "3.png"]


def test_cancelled_annotations_and_tasks_without_any_are_left_out(tmp_path):
    tasks = export()
    tasks[0]["annotations"].append({"result": [], "was_cancelled": True})
    tasks[1]["annotations"] = []
    content, remarks = label_studio.read(written(tmp_path, tasks), None)
    assert len(content["annotations"]) == 3
    assert remarks[0] == "left out, since they have no annotation: 1 of 4 tasks"


@pytest.mark.filterwarnings("ignore:.*(no area|joints of its own)")
def test_the_command_writes_a_file_that_is_read(tmp_path, capsys, monkeypatch):
    (tmp_path / "labels of me").mkdir()
    images, out = with_images(tmp_path).rename(tmp_path / "photos"), tmp_path / "labels of me/annotations.json"
    command = ["data", "import", str(written(tmp_path, export())), "--out", str(out)]
    cli.main([*command, "--images", str(images)])
    printed = capsys.readouterr().out
    assert f"{out}: 4 images, people with joints: 4; joints: l_ear, l_hoof, r_ear" in printed
    assert len(annotations.parsed(out)["annotations"]) == 4
    monkeypatch.chdir(tmp_path)
    cli.main(shlex.split(printed.split("look at them: inspose ")[1]))  # what the user is told to type
    assert (tmp_path / "labels.html").is_file()
    cli.main(command)
    assert f"data show --images FOLDER --annotations '{out}' --out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--images", "nowhere", "--out", "new.json"], "nowhere: no such folder of images; give the folder where"),
        (["--images", ".", "--out", "new.json"], "export.json: task 1: its image 0123abcd-1.png is not in .; give the"),
        (["--out", "export.json"], "export.json: would be overwritten by its own conversion; choose another --out"),
        (["--out", "nowhere/new.json"], "nowhere/new.json: cannot be written (No such file or directory)"),
    ],
)
def test_a_failed_import_writes_nothing(tmp_path, capsys, monkeypatch, arguments, line):
    monkeypatch.chdir(tmp_path)
    before = written(tmp_path, export()).read_text()
    with pytest.raises(SystemExit) as ended:
        cli.main(["data", "import", "export.json", *arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"inspose: error: {line}")
    assert [path.name for path in tmp_path.iterdir()] == ["export.json"]
    assert (tmp_path / "export.json").read_text() == before

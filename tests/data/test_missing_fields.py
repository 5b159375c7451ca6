"""Boxes and areas that a file lacks are taken from joints, segmentations and boxes."""

import copy

import pytest

from inspose_jax.data import masks, missing_fields

SQUARE = [2, 1, 6, 1, 6, 4, 2, 4]  # x 2 to 6, y 1 to 4: 12 pixels
WITH = {
    "image_id": 1,
    "keypoints": [3, 4, 2, 7, 6, 1, 0, 0, 0],
    "bbox": [1, 2, 8, 5],
    "area": 9,
    "segmentation": [SQUARE],
}


def filled(*without, **other):
    person = {name: value for name, value in {**WITH, **other}.items() if name not in without}
    content = {"images": [{"id": 1, "height": 10, "width": 12}], "annotations": [copy.deepcopy(person)]}
    remarks = missing_fields.fill_in(content)
    return content["annotations"][0], remarks


def test_what_is_there_is_kept():
    assert filled() == (WITH, ())


def test_a_box_is_that_of_the_pixels_of_the_labelled_joints():
    person, (remark,) = filled("bbox")
    assert person["bbox"] == [3, 4, 5, 3]  # pixels 3 to 7 and 4 to 6
    assert remark == "the people have no box in the file; the box of the labelled joints is taken instead"
    person, (remark,) = filled("bbox", keypoints=[5, 5, 0] * 3)
    assert person["bbox"] == [2, 1, 4, 3]
    assert "the box of the segmentation is taken" in remark
    person, remarks = filled("bbox", "segmentation", "keypoints")
    assert ("bbox" in person, remarks) == (False, ())


def test_an_area_is_that_of_the_segmentation_else_of_the_box():
    person, (remark,) = filled("area")
    assert person["area"] == 12
    assert remark == "the people have no area in the file; the area of the segmentation is taken instead"
    two = [SQUARE, [8, 8, 10, 8, 10, 10, 8, 10], [0, 0, 1, 1]]  # the last is no polygon
    assert filled("area", segmentation=two)[0]["area"] == 16
    assert filled("area", segmentation=[[*SQUARE], [*SQUARE]])[0]["area"] == 12  # what overlaps counts once
    rle = {"size": [10, 12], "counts": [21, 3, 96]}
    assert filled("area", segmentation=rle)[0]["area"] == 3
    assert filled("area", segmentation=masks.rle_of(rle, (10, 12)))[0]["area"] == 3
    other_size = masks.rle_of({"size": [9, 12], "counts": [21, 3, 84]}, (9, 12))
    assert masks.rle_of(other_size, (9, 12)) == other_size
    broken = {"size": [10, 12], "counts": "abc" * 50}
    for useless in (
        other_size,
        broken,
        [],
        None,
        "x",
        {"size": [9, 12], "counts": [21, 3, 84]},
        {"size": [10, 12], "counts": [1, 2]},
        [[1]],
    ):
        person, (remark,) = filled("area", segmentation=useless)
        assert person["area"] == pytest.approx(0.53 * 8 * 5)
        assert remark == "the people have no area in the file; 0.53 x the area of the box is taken instead"


def test_the_remark_counts_where_there_is_something_to_count():
    without = {name: value for name, value in WITH.items() if name != "area"}
    people = [WITH, without, without, {**without, "segmentation": []}]
    content = {"images": [{"id": 1, "height": 10, "width": 12}], "annotations": copy.deepcopy(people)}
    (remark,) = missing_fields.fill_in(content)
    assert remark == (
        "3 of 4 people have no area in the file; the area of the segmentation (for 2) or 0.53 x the area of the box "
        "(for 1) is taken instead"
    )


def test_an_area_is_taken_from_a_box_that_was_missing_too():
    person, remarks = filled("area", "bbox", "segmentation")
    assert person["area"] == pytest.approx(0.53 * 5 * 3)
    assert len(remarks) == 2


def test_a_person_of_an_unknown_image_or_with_a_broken_box_is_left_to_the_rules():
    assert "area" not in filled("area", bbox=[1, 2, -3, 4], segmentation=[])[0]
    assert filled("area", image_id=7)[0]["area"] == pytest.approx(0.53 * 40)  # its segmentation has no size


def test_a_mask_holds_the_pixels_that_coco_counts():
    mask = masks.decoded(masks.rle_of([SQUARE], (10, 12)), (10, 12))
    assert mask.sum() == 12
    assert mask[1:4, 2:6].all()
    assert not masks.decoded(None, (10, 12)).any()

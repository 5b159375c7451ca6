"""Names of files and folders tell which split they are for."""

import pytest

from inspose_jax.data import splits


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("person_keypoints_train2017", "train"),
        ("valid", "val"),
        ("minival2014", "val"),
        ("Test-Dev", "test"),
        ("crowdpose_trainval", None),
        ("latest", None),
        ("", None),
    ],
)
def test_a_word_of_the_name_tells_the_split(name, split):
    assert [one for one in splits.WORDS if splits.is_of(name, one)] == ([split] if split else [])


def test_a_word_that_means_a_split_is_taken_as_it():
    assert [splits.named(word) for word in ("train", "valid", "testing", "val2017", "data")] == [
        "train",
        "val",
        "test",
        None,
        None,
    ]


def test_the_only_part_is_for_any_split_and_of_several_those_that_are_named_so():
    assert splits.chosen(["x"], str, "val") == ["x"]
    assert splits.chosen(["train", "valid", "val2017"], str, "val") == ["valid", "val2017"]
    assert splits.chosen(["train", "valid"], str, "test") == []
    assert splits.chosen([], str, "test") == []

"""A source of one's own: completed from its samples, refused with one line where a sample has another form."""

import numpy as np
import pytest

from inspose_jax.data import pipeline
from inspose_jax.data.own_source import Labelled
from inspose_jax.errors import UserError
from inspose_jax.evaluation import coco_ap
from inspose_jax.skeletons import Skeleton
from inspose_jax.structures import Sample

TWO = Skeleton("two", ("left", "right"), ((0, 1),), ((0, 1),), (0.1, 0.1))
SAMPLE = Sample(
    np.zeros((6, 8, 3), np.uint8),
    np.array([[[1.5, 2, 2], [4, 3.25, 1]]]),
    np.array([[1, 2, 5, 6]]),
    np.array([9]),
    np.array([False]),
    image_id=7,
)
NOBODY = Sample(np.zeros((5, 5, 3), np.uint8), np.zeros((0, 2, 3)), np.zeros((0, 4)), np.zeros(0), np.zeros(0), 3)


class Own:
    skeleton = TWO

    def __init__(self, *samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


def test_what_a_dataset_needs_is_taken_from_the_samples():
    source = Labelled(Own(SAMPLE, NOBODY))
    assert isinstance(source, pipeline.LabelledSource)
    assert source.image_ids.tolist() == [7, 3]
    assert source.sizes.tolist() == [[6, 8], [5, 5]]
    assert source.is_labelled.tolist() == source.has_people.tolist() == [True, False]
    assert source[0].keypoints.dtype == source[1].boxes_xyxy.dtype == np.float32
    truth = source.ground_truth()
    (person,) = truth["annotations"]
    assert person["keypoints"] == [1, 1.5, 2, 3.5, 2.75, 1]  # the indices of pixels, as in COCO
    assert person["bbox"] == [1, 2, 4, 4]
    assert coco_ap.keypoint_ap(truth, [{**person, "score": 1.0}], TWO)["AP"] == pytest.approx(1)


def test_the_hash_changes_with_a_label():
    moved = SAMPLE._replace(keypoints=SAMPLE.keypoints + np.array([0, 0.5, 0]))
    hashes = [Labelled(Own(sample)).labels_hash() for sample in (SAMPLE, SAMPLE, moved)]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("samples", "line"),
    [
        ([(1, 2)], "sample 0 is a tuple; it must be an inspose_jax.structures.Sample"),
        ([SAMPLE, SAMPLE], "two samples of Own have the image_id 7; give each its own"),
        ([NOBODY], r"no sample of Own has a person with a labelled joint \(visibility > 0\)"),
        ([SAMPLE._replace(image=np.zeros((6, 8), np.uint8))], r"sample 0: image is uint8\[6, 8\]; it must be u8"),
        ([SAMPLE._replace(image=np.zeros((6, 8, 3)))], r"sample 0: image is float64\[6, 8, 3\]"),
        ([SAMPLE._replace(image=[1])], "sample 0: image is a list"),
        (
            [SAMPLE._replace(keypoints=np.ones((1, 3, 3)))],
            r"keypoints is float32\[1, 3, 3\]; with 1 people of two it must have the shape \(1, 2, 3\)",
        ),
        ([SAMPLE._replace(area=np.ones(2))], r"sample 0: area is float32\[2\]"),
        ([SAMPLE._replace(keypoints=SAMPLE.keypoints * np.nan)], "sample 0: keypoints has numbers that are not finite"),
        ([SAMPLE._replace(area=np.zeros(1))], "sample 0: area must be above 0"),
    ],
)
def test_a_sample_of_another_form_is_named(samples, line):
    with pytest.raises(UserError, match=line):
        Labelled(Own(*samples))

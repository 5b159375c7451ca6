"""Count and measure a labelled dataset: its images and people, and what its sizes cost in padding.

n images, N people that are no crowds, L of them with labelled joints, K joints.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from inspose_jax import config
from inspose_jax.data import buckets, plan, shapes
from inspose_jax.data.shapes import Padding
from inspose_jax.skeletons import Skeleton

QUANTILES = {"least": 0, "5 %": 5, "median": 50, "95 %": 95, "most": 100}


class Stats(NamedTuple):
    """What is counted and measured."""

    sizes: Int[np.ndarray, "n 2"]  # height, width
    people_per_image: Int[np.ndarray, " n"]
    joints_per_person: Int[np.ndarray, " L"]  # labelled ones
    num_people: int  # N
    num_crowds: int
    is_labelled: Float[np.ndarray, " K"]  # share of the L people of whom each joint is labelled
    is_seen: Float[np.ndarray, " K"]  # share of those labels that are visible, not hidden; 0 where there are none
    box_sides: Float[np.ndarray, " N"]  # square root of the box's area in pixels of the image at test scale
    test_padding: Padding
    train_padding: Padding


def measure(
    content: dict[str, Any], is_trained: Bool[np.ndarray, " n"], skeleton: Skeleton, data: config.Data
) -> Stats:
    """Measure a dataset, given as the content of a COCO file, such as `LabelledSource.ground_truth` returns.

    `is_trained` tells which of its images training takes, at least one, as `pipeline.trained_on` does.  Scales and
    padded shapes are those of `data`.  Raises UserError if its shapes do not hold the images.
    """
    images, entries = content["images"], content["annotations"]
    sizes = np.array([(entry["height"], entry["width"]) for entry in images], np.int32).reshape(-1, 2)
    place = {entry["id"]: index for index, entry in enumerate(images)}
    people = [entry for entry in entries if not entry.get("iscrowd")]
    of_image = np.array([place[entry["image_id"]] for entry in people], np.int64)
    nobody = [0] * (3 * skeleton.num_keypoints)
    joints = np.array([entry.get("keypoints") or nobody for entry in people], float)
    visibility = joints.reshape(-1, skeleton.num_keypoints, 3)[..., 2]
    visibility = visibility[(visibility > 0).any(1)]
    boxes = np.array([entry["bbox"] for entry in people], float).reshape(-1, 4)
    at_test = [plan.test_size(height, width, data) for height, width in sizes.tolist()]
    at_test = np.array(at_test, np.int32).reshape(-1, 2)
    scale = at_test / sizes
    labelled = (visibility > 0).sum(0)
    return Stats(
        sizes=sizes,
        people_per_image=np.bincount(of_image, minlength=len(sizes)),
        joints_per_person=(visibility > 0).sum(1),
        num_people=len(people),
        num_crowds=len(entries) - len(people),
        is_labelled=labelled / max(len(visibility), 1),
        is_seen=(visibility > 1).sum(0) / np.maximum(labelled, 1),
        box_sides=np.sqrt((boxes[:, 2:] * scale[of_image][:, ::-1]).prod(1)),
        test_padding=tested_padding(at_test, data),
        train_padding=trained_padding(sizes[is_trained], data),
    )


def tested_padding(at_test: Int[np.ndarray, "n 2"], data: config.Data) -> Padding:
    """The padding of images at the sizes at which they are tested."""
    used = data.shapes if data.test_padding == "shapes" else tuple(buckets.own_shapes(at_test))
    return shapes.padding_by_shape(shapes.Sizes(at_test, np.ones(len(at_test))), used)


def trained_padding(sizes: Int[np.ndarray, "n 2"], data: config.Data) -> Padding:
    """The padding of an epoch over images of these sizes, on average over all that may be drawn."""
    drawn = shapes.trained(sizes, data)
    occurs = drawn.weights > 0
    weights = drawn.weights[occurs] * len(sizes) / drawn.weights.sum()
    return shapes.padding_by_shape(shapes.Sizes(drawn.sizes[occurs], weights), data.shapes)


def quantiles(values: np.ndarray) -> dict[str, float]:
    """Some quantiles of values that occur: each is one of them; empty if there are none."""
    if not len(values):
        return {}
    found = np.percentile(values, list(QUANTILES.values()), method="inverted_cdf").astype(float)
    return dict(zip(QUANTILES, found.tolist(), strict=True))


def tables(stats: Stats, skeleton: Skeleton) -> dict[str, list[list[str]]]:
    """The numbers as titled tables of text, the first row of each being its header."""
    labelled, n = len(stats.joints_per_person), len(stats.sizes)
    empty = int((stats.people_per_image == 0).sum())
    measured = {
        "people an image": stats.people_per_image,
        "labelled joints a person": stats.joints_per_person,
        "height, pixels": stats.sizes[:, 0],
        "width, pixels": stats.sizes[:, 1],
        "width / height": stats.sizes[:, 1] / stats.sizes[:, 0],
        "box side at test scale, pixels": stats.box_sides,
    }
    rows = [[name, *(f"{value:.4g}" for value in quantiles(values).values())] for name, values in measured.items()]
    joints = [
        [name, f"{share:.1%}", f"{seen:.1%}"]
        for name, share, seen in zip(skeleton.keypoint_names, stats.is_labelled, stats.is_seen, strict=True)
    ]
    padded = []
    for when, cost in (("test", stats.test_padding), ("training", stats.train_padding)):
        for (height, width), number in cost.images.items():
            padded.append(
                [f"{when}: {height} x {width}", f"{round(number, 1):.10g}", f"{cost.share[height, width]:.1%}"]
            )
        padded.append([f"{when}: all", f"{round(sum(cost.images.values())):d}", f"{cost.total:.1%}"])
    return {
        "Counts": [
            ["", "number"],
            ["images", f"{n}"],
            ["of these without people", f"{empty}"],
            ["people", f"{stats.num_people}"],
            ["of these with labelled joints", f"{labelled}"],
            ["crowds", f"{stats.num_crowds}"],
        ],
        "Spread": [["", *QUANTILES], *(row for row in rows if len(row) > 1)],
        "Joints": [["", "labelled", "of these visible"], *joints],
        "Padding": [["height x width", "images", "share that is padding"], *padded],
    }

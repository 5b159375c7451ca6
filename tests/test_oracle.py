"""Perfect outputs, made from the targets, go through decode and evaluation and give an AP near 1.

Holds targets, geometry, decode, the way back to the original image and the evaluator against one another; what is
lost is lost to people who share a cell or have no location of their own.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from inspose_jax import config, geometry, recipes
from inspose_jax.data import coco, pipeline
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.decode import decode
from inspose_jax.evaluation import coco_ap
from inspose_jax.network.per_person import Peak, PerPerson
from inspose_jax.predictor import coco_results, to_original_pixels
from inspose_jax.skeletons import COCO
from inspose_jax.structures import Batch, Outputs, Poses, Targets
from inspose_jax.targets import make_targets


def fixed_peaks(num_candidates, theta, *_):
    """A network with a given answer: theta holds the cell of every joint."""
    return Peak(theta.astype(jnp.int32), jnp.zeros(theta.shape), jnp.zeros(theta.shape))


def unasked(*_):
    """Decoding asks for peaks only."""


FIXED = PerPerson(17, unasked, unasked, fixed_peaks, unasked)


def perfect_outputs(targets: Targets, grid: geometry.Grid) -> Outputs:
    """True classes, every slot's theta the cells of its person, true offsets."""

    def one_image(t: Targets) -> Outputs:
        # Joints without a label go where a labelled one is, so that rectangles stay as they are.
        first = jnp.take_along_axis(t.cells, t.is_joint.argmax(1)[:, None], 1)
        cells = jnp.where(t.is_joint, t.cells, first)
        location = jnp.where(t.is_slot, t.slot_location, len(t.is_positive))
        theta = jnp.zeros((len(t.is_positive), 17)).at[location].set(cells[t.slot_person].astype(float), mode="drop")
        logits = jnp.where(t.is_positive, 9.0, -9.0)
        points, boxes = jnp.asarray(grid.points)[t.slot_location], t.boxes[t.slot_person]
        true_sides = jnp.concatenate([points - boxes[:, :2], boxes[:, 2:] - points], -1)
        sides = jnp.ones((len(t.is_positive), 4)).at[location].set(true_sides, mode="drop")
        return Outputs(logits, theta, jnp.zeros((*t.is_cell.shape, 1)), t.disk_offsets, None, sides)

    outputs = jax.vmap(one_image)(targets)
    return outputs._replace(controller=tiny.controller(outputs.controller, grid))


def oracle_ap(config: config.Config, source: pipeline.Source, truth: dict, with_boxes: bool = False) -> float:
    @jax.jit
    def perfect_poses(batch: Batch) -> Poses:
        grid = tiny.grid(config.model, batch.image.shape[1:3])
        outputs = perfect_outputs(make_targets(batch, grid, config.model.assignment), grid)
        outputs = outputs if with_boxes else outputs._replace(sides=None)
        return decode(outputs, batch.size, grid, config.model.decoding, FIXED, config.model.skeleton.oks_sigmas)

    plan = pipeline.make_plan(source, config, train=False, batch_size=4)
    results = []
    for step, batch in enumerate(pipeline.batches(source, plan, config, 0, plan.steps_per_epoch)):
        poses = jax.device_get(perfect_poses(batch))
        image_ids = source.image_ids[plan[step].index].tolist()
        for image_id, found in zip(image_ids, to_original_pixels(poses, batch), strict=False):
            results += coco_results(found, image_id, config.data.joint_pixel_offset)
    return (coco_ap.box_ap(truth, results) if with_boxes else coco_ap.keypoint_ap(truth, results, COCO))["AP"]


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "val"])
def test_perfect_outputs_on_real_images_give_almost_perfect_ap(coco_real, split):
    paper = config.Config()
    annotations = coco_real / "annotations" / f"person_keypoints_{split}.json"
    source = coco.CocoFolder(coco_real / split, annotations, COCO, paper.data.joint_pixel_offset)
    assert oracle_ap(paper, source, source.ground_truth()) >= 0.995


@pytest.mark.parametrize(
    ("map_level", "map_ratio", "side", "number"),
    [(3, 1.0, 128, 200), (2, 1.0, 128, 200), (3, 0.5, 256, 60), (3, 4.0, 128, 60)],
)
def test_perfect_outputs_on_drawn_people_give_almost_perfect_ap(map_level, map_ratio, side, number):
    demo = recipes.read("drawn_people").config
    model = config.replace(demo.model, map_level=map_level, map_ratio=map_ratio, num_slots=48)
    data = dataclasses.replace(demo.data, test_short_side=side, long_side=side, shapes=((side, side),))
    demo = dataclasses.replace(demo, model=model, data=data)
    source = DrawnPeople(config.Scene(size=side), "test", 0, number, demo.data.joint_pixel_offset)
    assert oracle_ap(demo, source, source.ground_truth()) >= 0.98


@pytest.mark.parametrize("assigned_boxes", ["pseudo", "annotated"])
def test_perfect_boxes_of_drawn_people_give_almost_perfect_box_ap(assigned_boxes):
    demo = recipes.read("drawn_people").config
    model = config.replace(demo.model, num_slots=48, nms_threshold=0.9, assigned_boxes=assigned_boxes)
    source = DrawnPeople(demo.data.scene, "test", 0, 60, demo.data.joint_pixel_offset)
    found = oracle_ap(dataclasses.replace(demo, model=model), source, source.ground_truth(), with_boxes=True)
    assert found >= 0.97


def test_a_constant_guess_scores_almost_nothing():
    """The same standing person everywhere, and the same person in the middle alone."""
    source = DrawnPeople(config.Scene(), "val", 0, 200)
    samples = [source[i] for i in range(200)]
    truth = coco.ground_truth_of(samples, COCO, 0.5)
    labelled = [k for sample in samples for k in sample.keypoints if (k[:, 2] > 0).all()]
    mean = np.mean([k[:, :2] - k[:, :2].mean(0) for k in labelled], 0)
    for places in ([(64, 64)], [(x, 64) for x in range(16, 128, 16)]):
        results = [
            {
                "image_id": int(sample.image_id),
                "category_id": 1,
                "keypoints": np.concatenate([mean + place, np.ones((17, 1))], 1).ravel().tolist(),
                "score": 0.5,
            }
            for sample in samples
            for place in places
        ]
        assert coco_ap.keypoint_ap(truth, results, COCO)["AP"] <= 0.02

"""Training learns: one batch of drawn people by heart, from random weights up to the joints that a user is given."""

from dataclasses import replace

import jax
import numpy as np
import tiny

from inspose_jax import checkpoints, methods
from inspose_jax.config import Scene
from inspose_jax.data import pipeline
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.predictor import Predictor
from inspose_jax.training import sharding

MODEL = tiny.model(
    backbone_widths=(16, 24, 32, 48),
    map_level=2,
    fpn_channels=24,
    head_channels=24,
    keypoint_channels=24,
    shared_trunk=True,
    num_slots=24,  # no positive location is left out
)
SCENE = Scene(size=64, num_people=(2, 2), height=(0.6, 1.0))
CONFIG = replace(
    tiny.CONFIG,
    model=MODEL,
    data=replace(tiny.CONFIG.data, scene=SCENE, flip=0.0),
    schedule=tiny.schedule(learning_rate=1e-3),
)
STEPS = 100
# Half as much again as what the run reaches from any of four seeds, and more.  At a third of the learning rate every
# term stays above its bound by as much; so does a term whose weight is 0, since a step reports the terms unweighted.
BOUNDS = {
    "loss/cls": 0.03,
    "loss/keypoint": 0.005,
    "loss/offset": 0.3,
    "loss/heatmap": 0.36,
    "pixels": 1.5,  # the mean error of the worst person's joints; a cell of the maps has 4 pixels
}


def worst_error(found: np.ndarray, true: np.ndarray) -> float:
    """The mean error of the joints of the worst of the true people f[N,17,3]; of people found f[D,17,2] each has the
    nearest.
    """
    labelled = true[:, :, 2] > 0
    distances = np.linalg.norm(found[:, None] - true[None, :, :, :2], axis=-1)
    of_pairs = (distances * labelled).sum(-1) / labelled.sum(-1)
    return float(of_pairs.min(0, initial=np.inf).max())


def test_a_batch_is_learnt_by_heart():
    source = DrawnPeople(SCENE, "train", seed=0, count=CONFIG.schedule.batch_size)
    plan = pipeline.make_plan(source, CONFIG, train=True)
    mesh = sharding.make_mesh(CONFIG.schedule, jax.devices()[:1])
    batch = sharding.put_batch(pipeline.load_batch(source, plan[0], CONFIG), mesh)
    run = methods.for_model(CONFIG.model), CONFIG.schedule, STEPS, mesh
    state, train_step = sharding.new_state(*run), sharding.jit_train_step(*run)
    for _ in range(STEPS):
        state, measurements = train_step(state, batch)

    predictor = Predictor(CONFIG, jax.device_get(checkpoints.evaluated(state._asdict(), CONFIG)))
    samples = [source[i] for i in range(len(source))]
    found = predictor([sample.image for sample in samples])
    pixels = [worst_error(one.keypoints, sample.keypoints) for one, sample in zip(found, samples, strict=True)]
    reached = {name: max(pixels) if name == "pixels" else float(measurements[name]) for name in BOUNDS}
    assert {name: value for name, value in reached.items() if not value < BOUNDS[name]} == {}, reached

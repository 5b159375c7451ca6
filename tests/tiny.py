"""The smallest sizes that still have every part, shared by the tests: a model, a config, a batch."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from inspose_jax import config, geometry, methods
from inspose_jax.network import kp_net
from inspose_jax.network.inspose import InsPose
from inspose_jax.released import config as released_config
from inspose_jax.structures import Batch, Controller

MODEL = config.replace(
    config.Model(),
    backbone="resnet18",
    backbone_widths=(4, 8, 16, 32),
    batch_norm="trained",
    frozen_stages=0,
    levels=(3, 4),
    level_limits=(64.0,),
    fpn_channels=8,
    head_channels=8,
    head_depth=1,
    keypoint_channels=8,
    keypoint_depth=1,
    dense_channels=8,
    num_people=4,
    num_slots=16,
    num_candidates=20,
    num_poses=8,
)
RELEASED = config.replace(
    released_config.Model(),
    backbone="resnet18",
    backbone_widths=(4, 4, 8, 8),
    fpn_channels=8,
    head_channels=8,
    head_depth=1,
    coarse_channels=8,
    keypoint_channels=8,
    keypoint_depth=1,
    dense_channels=8,
)
CONFIG = config.Config(
    model=MODEL,
    data=config.Data(
        source="drawn",
        scene=config.Scene(size=64),
        num_drawn=8,
        short_side=(64, 64),
        long_side=64,
        test_short_side=64,
        shapes=((64, 64),),
        num_ignore=2,
    ),
    schedule=config.Schedule(batch_size=2, epochs=1, optimizer="adamw", learning_rate=1e-3, decay="cosine"),
)
METHOD = methods.for_model(MODEL)
VARIFOCAL = config.replace(MODEL, classification_loss="varifocal")
TRAINED_RELEASED = config.replace(
    RELEASED,
    backbone_widths=(4, 8, 16, 32),
    frozen_stages=0,
    head_channels=48,  # three in each group of the norms, so that the map of one cell has a spread too
    coarse_channels=48,
    num_people=4,
    num_slots=16,
)


def person(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """f32[17,3]: labelled joints spread over the diagonal of a box (pixels), so that it is their pseudo box."""
    t = np.linspace(0, 1, 17)
    return np.stack([x0 + t * (x1 - x0), y0 + t * (y1 - y0), np.full(17, 2)], -1).astype(np.float32)


def batch(images: list[list[np.ndarray]], model: Any = MODEL, size: int = 64, seed: int = 0) -> Batch:
    """Noise images of `size` pixels with the given people."""
    rng = np.random.default_rng(seed)
    number = len(images)
    keypoints = np.zeros((number, model.num_people, 17, 3), np.float32)
    for i, people in enumerate(images):
        keypoints[i, : len(people)] = people if people else np.zeros((0, 17, 3))
    boxes = np.concatenate([keypoints[..., :2].min(2), keypoints[..., :2].max(2)], -1)
    return Batch(
        image=rng.integers(0, 256, (number, size, size, 3), dtype=np.uint8),
        size=np.full((number, 2), size, np.int32),
        keypoints=keypoints,
        boxes=boxes,
        annotated_boxes=boxes + np.array([-1, -2, 3, 1], np.float32),  # as files have them: with a margin
        area=np.prod(boxes[..., 2:] - boxes[..., :2], -1) / 2,
        is_person=(keypoints[..., 2] > 0).any(-1),
        ignore_boxes=np.zeros((number, 2, 4), np.float32),
        people_dropped=np.zeros(number, np.int32),
        is_real=np.ones(number, bool),
        scale=np.ones((number, 2), np.float32),
    )


def variables(model: Any = MODEL, seed: int = 0) -> dict:
    """Random variables of a model of any method, made by numpy: compiling the real initialisation takes seconds."""
    shapes = jax.eval_shape(methods.for_model(model).init, jax.random.key(0))
    rng = np.random.default_rng(seed)

    def fill(path, leaf):
        if path[-1].key in ("scale", "var"):
            return jnp.ones(leaf.shape, leaf.dtype)
        fan_in = np.prod(leaf.shape[:-1], initial=1)
        values = rng.normal(0, 1 / np.sqrt(fan_in), leaf.shape) if path[-1].key == "kernel" else np.zeros(leaf.shape)
        return jnp.asarray(values, leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes)


def blank(batch: Batch, index: int) -> Batch:
    """The batch with one image replaced by a blank one, as in the last batch of an epoch."""
    real = np.arange(len(batch.image)) != index
    return batch._replace(
        image=batch.image * real[:, None, None, None].astype(np.uint8),
        size=batch.size * real[:, None].astype(np.int32),
        keypoints=batch.keypoints * real[:, None, None, None].astype(np.float32),
        is_person=batch.is_person & real[:, None],
        is_real=real,
    )


def model(**fields) -> config.Model:
    """The tiny model with other values in some fields."""
    return config.replace(MODEL, **fields)


def network(model: config.Model = MODEL, data_axis: str | None = None) -> InsPose:
    """The network of a model with the paper's KP-Nets."""
    joints = model.skeleton.num_keypoints
    parameters = kp_net.num_parameters(model.kp_net, joints)
    return InsPose(model.network, joints, parameters, model.kp_net.feature_channels, data_axis)


def grid(model: config.Model = MODEL, size: tuple[int, int] = (64, 64)) -> geometry.Grid:
    """Where the locations and cells of the model lie on images of a size."""
    network, scale = model.network, model.kp_net.relative_scale
    return geometry.make_grid(size, network.levels, network.map_level, scale, network.map_ratio)


def schedule(**fields) -> config.Schedule:
    """The tiny schedule with other values in some fields."""
    return dataclasses.replace(CONFIG.schedule, **fields)


def controller(theta: jax.Array, grid: geometry.Grid) -> Controller:
    """A controller that has the theta f[B,L,P] of every location already: its last layer hands it on."""
    number, _, parameters = theta.shape
    ends = np.cumsum([height * width for height, width in grid.level_sizes])[:-1]
    levels = zip(jnp.split(theta, ends, axis=1), grid.level_sizes, strict=True)
    features = tuple(x.reshape(number, *size, parameters) for x, size in levels)
    return Controller(features, jnp.eye(parameters, dtype=theta.dtype)[None, None], jnp.zeros(parameters, theta.dtype))


@contextlib.contextmanager
def as_users_compile() -> Iterator[None]:
    """Compile with all optimisations, for tests that check the memory or the communication of users' programs."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)

"""A second method, as small as one can be: a heatmap of noses. The package knows nothing of it (test_method.py)."""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp

from inspose_jax.config import Config, Data, Scene, Schedule
from inspose_jax.method import Method
from inspose_jax.skeletons import COCO, Skeleton
from inspose_jax.structures import Batch, Poses

STRIDE = 8
NOSE = COCO.subset("nose")


@dataclass(frozen=True)
class Toy:
    """The config of the method, including the fields that every method has."""

    skeleton: Skeleton = NOSE
    num_people: int = 4
    ignore_unlabelled: bool = True
    channels: int = 6


def recipe() -> Config:
    data = Data(
        source="drawn",
        scene=Scene(size=64, num_people=(1, 2)),
        num_drawn=16,
        short_side=(64, 64),
        long_side=64,
        test_short_side=64,
        shapes=((64, 64),),
    )
    return Config(Toy(), data, Schedule(batch_size=8, epochs=1, optimizer="adamw", learning_rate=0.01))


class Network(nn.Module):
    channels: int

    @nn.compact
    def __call__(self, image):
        x = image.astype(jnp.float32) / 255
        x = nn.relu(nn.Conv(self.channels, (8, 8), (STRIDE, STRIDE), name="stem")(x))
        return nn.Conv(1, (1, 1), name="heat")(x)[..., 0]  # f[B,h,w] logits


def method(model: Toy) -> Method:
    network = Network(model.channels)

    def init(key):
        return {**network.init(key, jnp.zeros((1, 64, 64, 3), jnp.uint8)), "batch_stats": {}}

    def apply(variables, image, size, train=False, data_axis=None):
        return network.apply({"params": variables["params"]}, image), {}

    def targets(batch: Batch):
        height, width = (side // STRIDE for side in batch.image.shape[1:3])
        cells = jnp.floor(batch.keypoints[:, :, 0, :2] / STRIDE).astype(jnp.int32)
        labelled = batch.keypoints[:, :, 0, 2] > 0
        row, column = (jnp.where(labelled, cells[..., axis], -1) for axis in (1, 0))
        is_nose = (row[..., None, None] == jnp.arange(height)[:, None]) & (column[..., None, None] == jnp.arange(width))
        is_nose = is_nose.any(1)
        return {"noses": is_nose, "others": ~is_nose & batch.is_real[:, None, None]}  # bool[B,h,w] each

    def count(cells):
        return {name: is_cell.sum(dtype=jnp.int32) for name, is_cell in cells.items()}

    def losses(logits, cells, counts, batch):
        wrong = {"noses": jax.nn.softplus(-logits), "others": jax.nn.softplus(logits)}
        return {
            name: jnp.where(is_cell, wrong[name], 0).sum() / jnp.maximum(counts[name], 1).astype(logits.dtype)
            for name, is_cell in cells.items()
        }

    def decode(logits, size, image_size):
        width = logits.shape[2]
        flat, cell = jax.lax.top_k(logits.reshape(len(logits), -1), 3)
        place = (jnp.stack([cell % width, cell // width], -1).astype(jnp.float32) + 0.5) * STRIDE
        scores = jax.nn.sigmoid(flat)
        return Poses(place[:, :, None], scores[..., None], scores, scores, jnp.ones(scores.shape, bool), cell)

    return Method(
        init=init,
        apply=apply,
        targets=targets,
        count=count,
        losses=losses,
        weights={"noses": 1.0, "others": 0.5},
        measure=lambda cells: {"num_noses": cells["noses"].sum()},
        decode=decode,
        maps=None,
        trains=lambda params: jax.tree.map(lambda _: True, params),
        is_hidden=lambda params: jax.tree.map(lambda _: False, params),
    )

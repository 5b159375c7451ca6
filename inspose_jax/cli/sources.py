"""Choose the data that a command works on: the given folder, or drawn people."""

from pathlib import Path

from inspose_jax.config import Config
from inspose_jax.data import pipeline
from inspose_jax.data.coco import CocoFolder
from inspose_jax.data.drawn.people import DrawnPeople, Split
from inspose_jax.data.transforms import needs_masks
from inspose_jax.errors import UserError

KEPT_BYTES = 4e9  # most memory for drawn images that are kept rather than redrawn in every epoch
NUM_DRAWN = 500  # images on which a recipe over drawn people is evaluated during training


def coco(config: Config, images: Path, annotations: Path) -> CocoFolder:
    """An annotated COCO folder, read as the config says."""
    return CocoFolder(images, annotations, config.model.skeleton, config.data.joint_pixel_offset)


def training_source(config: Config, images: Path | None, annotations: Path | None) -> pipeline.LabelledSource:
    """The data that a recipe trains on; raises UserError if it lacks a folder, or is given one but draws its own."""
    if config.data.source == "drawn":
        if images or annotations:
            raise UserError("this recipe draws its own images; leave out --images and --annotations")
        return drawn(config, "train", config.data.num_drawn)
    if images is None or annotations is None:
        raise UserError("this recipe trains on a COCO folder: give --images FOLDER and --annotations JSON")
    return coco(config, images, annotations)


def drawn(config: Config, split: Split, count: int) -> pipeline.LabelledSource:
    """The first `count` drawn images of a split, as the config says; kept in memory if `KEPT_BYTES` is enough."""
    with_masks = split == "train" and needs_masks(config.data)
    source = DrawnPeople(
        config.data.scene,
        split,
        config.schedule.seed,
        count,
        config.data.joint_pixel_offset,
        config.model.skeleton,
        with_masks,
    )
    bytes_of_pixel = 3 + (config.data.scene.num_people[1] if with_masks else 0)
    is_small = bytes_of_pixel * source.sizes.prod(1, dtype=float).sum() <= KEPT_BYTES
    return pipeline.InMemory(source) if is_small else source


def validation_source(
    config: Config, images: Path | None, annotations: Path | None, eval_every: int | None
) -> pipeline.LabelledSource | None:
    """The data on which training is evaluated: the given folder, held-out drawn people, or None.

    Raises UserError if only one of --val-images and --val-annotations is given, or if --eval-every has nothing to
    evaluate on.
    """
    if images and annotations:
        return coco(config, images, annotations)
    if images or annotations:
        raise UserError("--val-images and --val-annotations go together: give the folder and its COCO keypoint JSON")
    if eval_every is None:
        return None
    if config.data.source == "drawn":
        return drawn(config, "validation", NUM_DRAWN)
    raise UserError("--eval-every needs something to evaluate on: give --val-images FOLDER and --val-annotations JSON")

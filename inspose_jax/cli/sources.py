"""Choose the data that a command works on: what `--data` or `--images` and `--annotations` name, or drawn people."""

import warnings
from pathlib import Path
from typing import NamedTuple

from inspose_jax import paths, processes, recipes
from inspose_jax.cli import config_flags
from inspose_jax.cli.arguments import Given
from inspose_jax.config import Config
from inspose_jax.data import annotations as annotation_file
from inspose_jax.data import check, pipeline, shard_index, shards, sources
from inspose_jax.data.annotations import Dataset
from inspose_jax.data.coco import CocoFolder
from inspose_jax.data.drawn.people import DrawnPeople
from inspose_jax.data.image_facts import Files
from inspose_jax.data.pipeline import LabelledSource
from inspose_jax.data.shards import BuiltSet
from inspose_jax.data.splits import WORDS, Split
from inspose_jax.data.transforms import needs_masks
from inspose_jax.errors import UserError
from inspose_jax.skeletons import COCO, FROM_DATA, Skeleton

KEPT_BYTES = 4e9  # most memory for drawn images that are kept rather than redrawn in every epoch
NUM_DRAWN = 500  # images on which a recipe over drawn people is evaluated during training
FOR_COCO, FOR_OTHER_JOINTS = "r50_coco_36e", "keypoints"  # recipes, with the same `joint_pixel_offset`
GIVE = "--data FOLDER_OR_FILE, or --images FOLDER and --annotations JSON"


class Measurable(NamedTuple):
    """Annotated images, and the recipe with whose sizes of images they are measured."""

    source: CocoFolder | BuiltSet
    recipe: str
    config: Config  # of the recipe, with the user's fields


class Checkable(NamedTuple):
    """Annotated images as `inspose data check` takes them."""

    dataset: Dataset
    files: Files  # how its images are read
    name: Path  # the file or folder that messages begin with
    line: str  # what `--data` was found to be


def annotated(
    given: Given, skeleton: Skeleton, joint_pixel_offset: float, with_masks: bool = False
) -> CocoFolder | BuiltSet:
    """The source over annotated images, which says in a line what `--data` was found to be; raises as `dataset`."""
    if is_built(given):
        source = built(given, skeleton, joint_pixel_offset, with_masks)
        line, content = line_of(source), f"{len(source)} images, {source.index.num_people} people"
    else:
        found, name, line = dataset(given, skeleton)
        source = CocoFolder.of(found, name, joint_pixel_offset, with_masks)
        content = f"{len(source)} images, {len(source.labels.area)} people"
    if line and processes.is_first():
        joints = f"{source.skeleton.num_keypoints} joints ({source.skeleton.name})"
        print(f"inspose: {line}: {content} with {joints}")
    return source


def line_of(source: BuiltSet) -> str:
    """What a built set was found to be."""
    return f"{source.name}: a built set, split {source.split}"


def is_built(given: Given) -> bool:
    """Whether the options name a built set."""
    return given.data is not None and not given.images and not given.annotations and shards.is_built(given.data)


def splits(data: Path) -> tuple[Split, ...]:
    """The splits that a built set or data of any kind has; raises UserError if it is neither."""
    if shards.is_built(data):
        known = shard_index.splits(shards.version_folder(paths.expanded(data)))
        return tuple(split for split in WORDS if split in known)
    return sources.splits(data)


def built(given: Given, skeleton: Skeleton, joint_pixel_offset: float, with_masks: bool) -> BuiltSet:
    """The source over a built set; raises UserError if it has other joints or is asked for a category."""
    assert given.data is not None, "`is_built` looked at it"
    source = BuiltSet(given.data, given.split, joint_pixel_offset, with_masks)
    if given.category:
        raise UserError(f"{given.data}: a built set has one category; choose it with `inspose data build --category`")
    if skeleton != FROM_DATA and skeleton.keypoint_names != source.skeleton.keypoint_names:
        raise UserError(
            f"{given.data}: was built with the joints of {source.skeleton.name}, not those of {skeleton.name}; build "
            f"it with `inspose data build --skeleton`, or train with --skeleton data"
        )
    return source


def dataset(given: Given, skeleton: Skeleton) -> tuple[Dataset, Path, str]:
    """What the options name, the file that messages about it begin with, and what `--data` was found to be.

    Raises UserError if they name nothing, or two things, and as `sources.read` and `annotations.read` do.
    """
    wanted = None if skeleton == FROM_DATA else skeleton
    if given.data is not None and (given.images or given.annotations):
        raise UserError("give either --data, or --images and --annotations, not both")
    if given.data is not None:
        found = sources.read(given.data, given.split, given.category, wanted)
        return found.dataset, found.name, f"{found.name}: {found.kind}, images in {found.dataset.images}"
    if given.images is None or given.annotations is None:
        raise UserError(f"there is nothing to work on: give {GIVE}")
    images, annotations = paths.expanded(given.images), paths.expanded(given.annotations)
    return annotation_file.read(images, annotations, wanted, given.category), annotations, ""


def checkable(given: Given) -> Checkable:
    """What the options name, to be checked or compared; raises as `dataset` and `built`, and if no image is there."""
    if is_built(given):
        source = built(given, FROM_DATA, 0.0, with_masks=False)
        return Checkable(source.dataset(), source.files(), source.name, line_of(source))
    found, name, line = dataset(given, FROM_DATA)
    files = check.files_of(found)
    check.refuse_without_images(files, name)
    return Checkable(found, files, name, line)


def measurable(given: Given, recipe: str, fields: list[str]) -> Measurable:
    """What the options name, to be measured with a recipe and `fields` of its config, as they are typed.

    Without a recipe, it is one for the joints of the data.  Raises as `annotated`, `recipes.read` and
    `config_flags.override`; a recipe is read before the data.
    """
    chosen = recipe or FOR_COCO
    config = recipes.read(chosen).config
    source = annotated(given, FROM_DATA, config.data.joint_pixel_offset)
    if not recipe and source.skeleton != COCO:
        chosen = FOR_OTHER_JOINTS
        config = recipes.read(chosen).config
    return Measurable(source, chosen, config_flags.override(config, fields))


def training_source(config: Config, given: Given) -> LabelledSource:
    """The data that a recipe trains on; raises UserError if it lacks a folder, or is given one but draws its own."""
    named = given.data or given.images or given.annotations
    if config.data.source == "drawn":
        if named:
            raise UserError("this recipe draws its own images; leave out --data, --images and --annotations")
        return drawn(config, "train", config.data.num_drawn)
    if not given.data and not (given.images and given.annotations):
        raise UserError(f"this recipe trains on annotated images: give {GIVE}")
    return annotated(given, config.model.skeleton, config.data.joint_pixel_offset, needs_masks(config.data))


def warn_if_same(training: LabelledSource, validation: LabelledSource | None) -> None:
    """Warn if what is to be validated on is what is trained on, as in a folder without a part for validation.

    Images and labels are compared: tools number the images of each part from 1, and make all of one size.
    """
    if validation is None or pipeline.fingerprint(training) != pipeline.fingerprint(validation):
        return
    if training.labels_hash() != validation.labels_hash():
        return
    if processes.is_first():
        warnings.warn(
            "validation takes the same images as training, which says nothing about others; give other data for it",
            stacklevel=2,
        )


def drawn(config: Config, split: Split, count: int) -> LabelledSource:
    """The first `count` drawn images of a split, as the config says; kept in memory if `KEPT_BYTES` is enough."""
    skeleton = COCO if config.model.skeleton == FROM_DATA else config.model.skeleton
    data, seed = config.data, config.schedule.seed
    with_masks = split == "train" and needs_masks(data)
    source = DrawnPeople(data.scene, split, seed, count, data.joint_pixel_offset, skeleton, with_masks)
    bytes_of_pixel = 3 + (data.scene.num_people[1] if with_masks else 0)
    is_small = bytes_of_pixel * source.sizes.prod(1, dtype=float).sum() <= KEPT_BYTES
    return pipeline.InMemory(source) if is_small else source


def validation_source(config: Config, given: Given | None, eval_every: int | None) -> LabelledSource | None:
    """The data on which training is evaluated: what is given, held-out drawn people, or None.

    Raises UserError if only one of --val-images and --val-annotations is given, or if --eval-every has nothing to
    evaluate on.
    """
    if given and not (given.data or (given.images and given.annotations)):
        raise UserError("--val-images and --val-annotations go together: give the folder and its COCO keypoint JSON")
    if given:
        return annotated(given, config.model.skeleton, config.data.joint_pixel_offset)
    if eval_every is None:
        return None
    if config.data.source == "drawn":
        return drawn(config, "val", NUM_DRAWN)
    raise UserError(
        "--eval-every needs something to evaluate on: give --val-data FOLDER_OR_FILE, or --val-images FOLDER and "
        "--val-annotations JSON"
    )

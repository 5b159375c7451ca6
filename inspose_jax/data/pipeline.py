"""Execute the plan: grain reads, resizes, flips and pads in threads, in the plan's order.

The position in the data is the global step, so a run resumes by starting at that step; no iterator state is saved.
"""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import grain
import numpy as np
from jaxtyping import Bool, UInt8
from tqdm import tqdm

from inspose_jax import config
from inspose_jax.data import buckets, shapes, transforms
from inspose_jax.data.memory import Memory
from inspose_jax.data.plan import Plan, PlannedStep
from inspose_jax.errors import UserError
from inspose_jax.skeletons import FROM_DATA, Skeleton
from inspose_jax.structures import Batch, Record, Sample, unlabelled


@runtime_checkable
class Source(Protocol):
    """Images in which to find people: random access to samples, and what the plan must know about them in advance."""

    sizes: np.ndarray  # i32[n,2] height and width of every image
    is_labelled: np.ndarray  # bool[n] whether the image has a person to learn from
    has_people: np.ndarray  # bool[n] whether anybody is annotated in the image
    image_ids: np.ndarray  # i64[n]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """Read a sample; raises UserError or OSError if it cannot be read, and any other error counts as a bug."""
        ...


@runtime_checkable
class LabelledSource(Source, Protocol):
    """A dataset: a source with labels, so that a model can be trained and evaluated on it."""

    skeleton: Skeleton  # of its joints

    def labels_hash(self) -> str:
        """A hash that changes with the labels of the same images; no image is read to compute it."""
        ...

    def ground_truth(self) -> dict[str, Any]:
        """The labels as the content of a COCO file, against which results are scored."""
        ...


@runtime_checkable
class StoredSource(LabelledSource, Protocol):
    """A dataset whose images are at hand as files, which can be copied into another form."""

    joint_pixel_offset: float  # what it adds to joints that are indices of pixels

    def record(self, index: int) -> Record:
        """An image as it is stored, with its labels; raises UserError or OSError if it cannot be read."""
        ...


def fingerprint(source: Source) -> str:
    """The number of images in a source, and a hash of what the plan knows: ids, sizes, and which are labelled."""
    known = (source.image_ids, source.sizes, source.is_labelled)
    return f"{len(source)}, {hashlib.sha256(b''.join(array.tobytes() for array in known)).hexdigest()[:12]}"


def full_fingerprint(source: LabelledSource) -> str:
    """The fingerprint of images and labels together, on which scores depend."""
    return f"{fingerprint(source)}, {source.labels_hash()}"


class InMemory:
    """A source that caches every sample after its first use, for small images that are costly to make."""

    def __init__(self, source: LabelledSource):
        self.source = source
        self.sizes, self.image_ids = source.sizes, source.image_ids
        self.is_labelled, self.has_people = source.is_labelled, source.has_people
        self.skeleton = source.skeleton
        self.samples: list[Sample | None] = [None] * len(source)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        sample = self.samples[index]
        if sample is None:  # two threads may both make it, with the same result
            sample = self.samples[index] = self.source[index]
        return sample

    def labels_hash(self) -> str:
        """The hash of the wrapped source."""
        return self.source.labels_hash()

    def ground_truth(self) -> dict[str, Any]:
        """The ground truth of the wrapped source."""
        return self.source.ground_truth()


class Images:
    """A source of unlabelled images in memory."""

    def __init__(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], skeleton: Skeleton):
        self.images, self.skeleton = images, skeleton
        self.sizes = np.array([image.shape[:2] for image in images], np.int32).reshape(-1, 2)
        self.is_labelled = self.has_people = np.zeros(len(images), bool)
        self.image_ids = np.arange(len(images), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        return unlabelled(self.images[index], index, self.skeleton.num_keypoints)


class Tolerant:
    """A source for training in which a few unreadable images are tolerated: a warning names each, and it stays blank.

    Raises UserError if more than one in a thousand is unreadable, since then something is wrong with the whole dataset.
    """

    def __init__(self, source: Source):
        self.source = source
        self.sizes, self.image_ids = source.sizes, source.image_ids
        self.is_labelled, self.has_people = source.is_labelled, source.has_people
        self.unreadable: set[int] = set()

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample | None:
        try:
            return self.source[index]
        except (OSError, UserError) as error:
            if index not in self.unreadable:
                self.unreadable.add(index)
                tqdm.write(f"inspose: warning: {error} Its place in the batch stays blank.", file=sys.stderr)
            self.check(len(self.unreadable))
            return None

    def check(self, unreadable: int) -> None:
        """Raise UserError if this many unreadable images are too many."""
        if unreadable > len(self) / 1000:
            raise UserError(
                f"{unreadable} of {len(self)} images cannot be read, which is more than one in a thousand; `inspose "
                f"data check` lists all faults"
            )


def for_data(config: config.Config, source: LabelledSource) -> config.Config:
    """The config with the skeleton of the data, if it leaves that open; raises UserError if it has other joints."""
    wanted, skeleton = config.model.skeleton, source.skeleton
    if wanted == FROM_DATA:
        return replace(config, model=replace(config.model, skeleton=skeleton))
    if wanted.keypoint_names != skeleton.keypoint_names:
        raise UserError(
            f"the config has the {wanted.num_keypoints} joints of {wanted.name}, the data has the "
            f"{skeleton.num_keypoints} of {skeleton.name}; set config.model.skeleton to the data's, or to FROM_DATA"
        )
    return config


def make_plan(
    source: Source | Tolerant, config: config.Config, train: bool, batch_size: int | None = None, fewest: int = 1
) -> Plan:
    """The plan of a run over `source`; training takes the images that the config says.

    Outside training an empty `data.shapes` stands for the best ones for these images at the test size, and a few images
    form batches of `fewest`.
    """
    eligible = trained_on(source, config.data) if train else np.ones(len(source), bool)
    data = config.data
    if not train and not data.shapes and data.test_padding == "shapes" and eligible.any():
        data = replace(data, shapes=shapes.find(shapes.tested(source.sizes, data)))
    batch_size = batch_size or config.schedule.batch_size
    return Plan(source.sizes, eligible, data, batch_size, config.schedule.seed, train, fewest)


def trained_on(source: Source | Tolerant, data: config.Data) -> Bool[np.ndarray, " n"]:
    """Which images of a source training takes."""
    chosen = {"labelled": source.is_labelled, "people": source.has_people}
    return np.asarray(chosen.get(data.train_images, np.ones(len(source), bool)))


def with_shapes(source: Source | Tolerant, config: config.Config) -> config.Config:
    """The config, in which an empty `data.shapes` is replaced by the best ones for the images that training takes."""
    eligible = trained_on(source, config.data)
    if config.data.shapes or not eligible.any():
        return config
    found = shapes.find(shapes.trained(source.sizes[eligible], config.data))
    return replace(config, data=replace(config.data, shapes=found))


def load_batch(
    source: Source | Tolerant,
    step: PlannedStep,
    config: config.Config,
    rows: slice = slice(None),
    memory: Memory | None = None,
) -> Batch:
    """Load the given rows of a planned step as a padded batch on the host, whose images lie in `memory` if it is given.

    Every image is resized or warped straight into its row of the batch: one more copy of it would cost as much as
    resizing, and the memory for it more.
    """
    index, model, augmentation = step.index[rows].tolist(), config.model, config.data.augmentation
    is_random = transforms.draws(augmentation)
    shape = (len(index), *step.shape, 3)
    images = np.empty(shape, np.uint8) if memory is None else memory.array(shape)
    batch = buckets.blank_batch(images, model, config.data.num_ignore)
    placed = []
    treatment = zip(index, step.resized[rows].tolist(), step.zoom[rows].tolist(), step.flip[rows], strict=True)
    for b, (i, (height, width), zoom, mirrored) in enumerate(treatment):
        sample = source[i] if i >= 0 else None
        if sample is None:
            images[b] = 0
            continue
        original_size, frame = sample.image.shape[:2], images[b, :height, :width]
        rng = np.random.default_rng((*step.seed, i)) if step.seed and is_random else None
        sample = framed(sample, frame, zoom, model.skeleton if mirrored else None, augmentation, rng)
        images[b, height:] = images[b, :height, width:] = 0
        sample = sample._replace(masks=None)  # which are no longer needed, and large
        placed.append(buckets.Placed(b, sample, original_size, zoom))
    buckets.put_labels(batch, placed, model)
    return batch


def framed(
    sample: Sample,
    frame: UInt8[np.ndarray, "h w 3"],
    zoom: float,
    mirrored: Skeleton | None,
    augmentation: config.Augmentation,
    rng: np.random.Generator | None,
) -> Sample:
    """The sample with its image in `frame`, and with everything that `rng`, if there is one, draws for it.

    `mirrored` is the skeleton by which joints change places if the image is to be mirrored; None if not.
    """
    size = frame.shape[:2]
    if rng is not None and (zoom > 1 or transforms.moves(augmentation)):
        sample = transforms.flip(sample, mirrored) if mirrored else sample
        matrix = transforms.random_matrix(sample.image.shape[:2], size, zoom, augmentation, rng)
        sample = transforms.warp(sample, matrix, size, frame)
    else:
        sample = transforms.resize(sample, size, frame)
        # In the frame, since a photograph is often much larger.
        sample = transforms.flip(sample, mirrored, frame) if mirrored else sample
    if rng is not None and transforms.recolours(augmentation):
        sample = transforms.recolour(sample, transforms.random_colours(augmentation, rng), frame)
    return sample


def batches(
    source: Source | Tolerant,
    plan: Plan | Sequence[PlannedStep],
    config: config.Config,
    start: int,
    stop: int,
    rows: slice = slice(None),
) -> Iterator[Batch]:
    """The batches of global steps `start` to `stop` - 1, prefetched by `machine.num_threads` threads.

    `rows` selects this host's rows of the global batch.
    """
    steps = grain.MapDataset.range(start, stop)
    memory = Memory()
    dataset = steps.map(lambda step: load_batch(source, plan[int(step)], config, rows, memory))
    threads = config.machine.num_threads
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)))

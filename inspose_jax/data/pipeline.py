"""The plan, executed: grain runs read, resize, flip and pad in threads, in the plan's order.

Position is the global step, so that going on after a stop is starting at that step: no iterator state is ever saved.
"""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import grain
import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from inspose_jax import config
from inspose_jax.data import buckets, transforms
from inspose_jax.data.plan import Plan, PlannedStep
from inspose_jax.errors import UserError
from inspose_jax.skeletons import Skeleton
from inspose_jax.structures import Batch, Sample


@runtime_checkable
class Source(Protocol):
    """What people are found in: random access to samples, and what the plan must know of them beforehand."""

    sizes: np.ndarray  # i32[n,2] height and width of every picture
    is_labelled: np.ndarray  # bool[n] has somebody to learn from
    image_ids: np.ndarray  # i64[n]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """UserError or OSError where it cannot be read; every other error counts as a bug."""
        ...


@runtime_checkable
class LabelledSource(Source, Protocol):
    """What a data set is here: a source whose people are known, so that a model can learn from it and be measured."""

    def labels_hash(self) -> str:
        """Other labels of the same images have another one; no image is read for it."""
        ...

    def ground_truth(self) -> dict[str, Any]:
        """The labels as the content of a COCO file, which results are scored against."""
        ...


def fingerprint(source: Source) -> str:
    """How many pictures a source has, and a hash of what the plan knows of them: ids, sizes, who is labelled."""
    known = (source.image_ids, source.sizes, source.is_labelled)
    return f"{len(source)}, {hashlib.sha256(b''.join(array.tobytes() for array in known)).hexdigest()[:12]}"


def full_fingerprint(source: LabelledSource) -> str:
    """Images and labels: what scores depend on."""
    return f"{fingerprint(source)}, {source.labels_hash()}"


class InMemory:
    """A source that keeps every sample after its first use: for small pictures that cost more to make than to hold."""

    def __init__(self, source: LabelledSource):
        self.source = source
        self.sizes, self.is_labelled, self.image_ids = source.sizes, source.is_labelled, source.image_ids
        self.samples: list[Sample | None] = [None] * len(source)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        sample = self.samples[index]
        if sample is None:  # two threads may both make it; they make the same
            sample = self.samples[index] = self.source[index]
        return sample

    def labels_hash(self) -> str:
        """That of the source which is kept."""
        return self.source.labels_hash()

    def ground_truth(self) -> dict[str, Any]:
        """That of the source which is kept."""
        return self.source.ground_truth()


class Pictures:
    """A source of pictures in memory about which nobody is known."""

    def __init__(self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], skeleton: Skeleton):
        self.pictures, self.skeleton = pictures, skeleton
        self.sizes = np.array([picture.shape[:2] for picture in pictures], np.int32).reshape(-1, 2)
        self.is_labelled = np.zeros(len(pictures), bool)
        self.image_ids = np.arange(len(pictures), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Sample:
        nobody = np.zeros((0, self.skeleton.num_keypoints, 3), np.float32)
        boxes, area, is_crowd = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, bool)
        return Sample(self.pictures[index], nobody, boxes, area, is_crowd, image_id=index)


class Tolerant:
    """A source for training, in which a few pictures may turn out to be unreadable: they are named, and left blank.

    ValueError beyond one in a thousand: then something is wrong with all of it.
    """

    def __init__(self, source: Source):
        self.source = source
        self.sizes, self.is_labelled, self.image_ids = source.sizes, source.is_labelled, source.image_ids
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
        """ValueError where so many are too many."""
        if unreadable > len(self) / 1000:
            raise UserError(
                f"{unreadable} of {len(self)} pictures cannot be read, which is more than one in a thousand; "
                f"`inspose data check` lists all"
            )


def make_plan(source: Source | Tolerant, config: config.Config, train: bool, batch_size: int | None = None) -> Plan:
    """The plan of a run over `source`; training leaves out pictures without labels if the config says so."""
    eligible = np.ones(len(source), bool)
    if train and config.data.only_labelled:
        eligible = np.asarray(source.is_labelled)
    return Plan(
        source.sizes, eligible, config.data, batch_size or config.schedule.batch_size, config.schedule.seed, train
    )


def load_batch(source: Source | Tolerant, step: PlannedStep, config: config.Config, rows: slice = slice(None)) -> Batch:
    """The rows of a planned step as a padded batch on the host."""
    samples, original_sizes = [], []
    for index, (height, width), mirrored in zip(step.index[rows], step.resized[rows], step.flip[rows], strict=True):
        sample = source[int(index)] if index >= 0 else None
        if sample is None:
            samples.append(None)
            original_sizes.append((1, 1))
            continue
        original_sizes.append(sample.image.shape[:2])
        sample = transforms.resize(sample, (int(height), int(width)))
        samples.append(transforms.flip(sample, config.model.skeleton) if mirrored else sample)
    return buckets.pad(samples, step.shape, original_sizes, config.model, config.data.num_ignore)


def batches(
    source: Source | Tolerant,
    plan: Plan,
    config: config.Config,
    start: int,
    stop: int,
    rows: slice = slice(None),
    every: int = 1,
) -> Iterator[Batch]:
    """Batches of the global steps from `start` up to `stop`, made ahead by `machine.num_threads` threads.

    `rows` are this host's rows of the global batch; hosts that share out whole steps take one of `every` so many.
    """
    steps = grain.MapDataset.range(start, stop, every)
    dataset = steps.map(lambda step: load_batch(source, plan[int(step)], config, rows))
    threads = config.machine.num_threads
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)))

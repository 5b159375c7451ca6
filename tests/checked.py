"""What `inspose data check` finds in a dataset, as lines, for tests of other things."""

from pathlib import Path

from inspose_jax.data import annotations, check, image_facts
from inspose_jax.data.annotations import Dataset
from inspose_jax.skeletons import Skeleton


def faults(images: Path, labels: Path, skeleton: Skeleton | None) -> list[str]:
    """The errors and warnings of a COCO folder; raises as the reader does."""
    return faults_of(annotations.read(images, labels, skeleton))


def faults_of(dataset: Dataset) -> list[str]:
    """The same for a dataset of any kind."""
    found = check.faults(dataset, image_facts.read(check.files_of(dataset), 1))
    return [one.line() for one in found if one.severity != "remark"]

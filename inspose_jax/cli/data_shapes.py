"""`inspose data shapes`: the few shapes that a dataset's images are best padded to."""

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from inspose_jax.cli import arguments
from inspose_jax.config import Data
from inspose_jax.errors import UserError

MOST_SHAPES = 8  # each compiles a program of its own, which takes minutes on a pod


@dataclass
class Shapes:
    """Find the few shapes to which a dataset's images are padded with least padding, in training and in testing.

    The sizes of images are those of a recipe, or as given as for train: --config.data.FIELD VALUE.

    Example: inspose data shapes --data drawn --recipe keypoints --num-shapes 2
    """

    given: arguments.GivenData = arguments.OF_TRAIN
    recipe: arguments.MeasuringRecipe = ""
    """Recipe whose sizes of images, in training and in testing, are used: by default r50_coco_36e, or keypoints for
    joints that are not COCO's."""
    num_shapes: Annotated[int, tyro.conf.arg(metavar="N")] = 5
    """The most shapes to find; each is compiled once."""


def run(argv: list[str]) -> None:
    """Print the best shapes for training and for testing, what share of their pixels is padding, and how to use them.

    Only the sizes that the file states are used; no image is read.
    """
    launch, rest = arguments.parse(Shapes, argv, "data shapes", with_config=True)
    arguments.check_range("num-shapes", launch.num_shapes, 1, MOST_SHAPES)

    from inspose_jax.cli import sources
    from inspose_jax.data import pipeline, shapes

    source, recipe, config = sources.measurable(launch.given, launch.recipe, rest)
    sizes = source.sizes[pipeline.trained_on(source, config.data)]
    trained, tested = shapes.trained(sizes, config.data), shapes.tested(source.sizes, config.data)
    low, high = config.data.short_side
    print(f"{source.name}: {len(source)} images, {len(sizes)} of them to train on; sizes of the recipe {recipe}")
    print_shapes(f"training (shorter side {low} to {high})", shapes.find(trained, launch.num_shapes), trained, tested)
    for_tests = shapes.find(tested, launch.num_shapes)
    print_shapes(f"testing (shorter side {config.data.test_short_side})", for_tests, trained, tested)
    if config.data.long_side == Data().long_side:
        print_shapes("images of any aspect", shapes.FOR_ANY_IMAGE, trained, tested)


def print_shapes(purpose: str, chosen: tuple[tuple[int, int], ...], trained: Any, tested: Any) -> None:
    """Print some shapes, the padding with them, and the line for a recipe."""
    from inspose_jax.data import shapes

    def padding(sizes: Any) -> str:
        try:
            return f"{shapes.padding(sizes, chosen):.1%} of all pixels"
        except UserError:  # it would name a single one of many sizes
            return "not every image fits"

    print(f"\n{len(chosen)} shape{'s' * (len(chosen) > 1)} for {purpose}: {shapes.words(chosen)}")
    print(f"  padding in training: {padding(trained)}; in testing: {padding(tested)}")
    print(f"  in a recipe: shapes={chosen}")
    print(f"  for one run: --config.data.shapes {' '.join(f'{h} {w}' for h, w in chosen)}")

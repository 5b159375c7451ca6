"""`inspose data stats`: count and measure the images and people of a dataset."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inspose_jax.cli import arguments
from inspose_jax.errors import UserError


@dataclass
class Stats:
    """Count and measure annotated images: people, joints, sizes, and what a recipe's shapes cost in padding.

    Example: inspose data stats --data drawn --out stats.html
    """

    given: arguments.GivenData = arguments.OF_TRAIN
    recipe: arguments.MeasuringRecipe = ""
    """Recipe whose scales and padded shapes are used: by default r50_coco_36e, or keypoints for joints that are not
    COCO's."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="HTML", help_behavior_hint="")] = None
    """Write a page with histograms here too."""


def run(argv: list[str]) -> None:
    """Print the numbers as text, and write the page if one is wanted; no image is decoded."""
    launch, _ = arguments.parse(Stats, argv, "data stats")
    if launch.out and launch.out.suffix.lower() != ".html":
        raise UserError(f"{launch.out}: not a page; the name must end in .html")

    from inspose_jax import files
    from inspose_jax.cli import sources
    from inspose_jax.data import pipeline, stats

    source, recipe, config = sources.measurable(launch.given, launch.recipe, [])
    if launch.out:
        files.refuse_among_images(launch.out, source.image_folders(), "--out")
    data = pipeline.with_shapes(source, config).data
    measured = stats.measure(source.ground_truth(), pipeline.trained_on(source, data), source.skeleton, data)
    for title, (header, *rows) in stats.tables(measured, source.skeleton).items():
        print("\n".join(aligned([[title, *header[1:]], *rows])) + "\n")
    used = f"scales and padded shapes are those of the recipe {recipe}"
    print(used)
    if launch.out:
        from inspose_jax.report import dataset

        page = dataset.page_of(measured, source.skeleton, f"Dataset {source.name.name}", f"{source.name}; {used}.")
        files.write(launch.out, page)
        print(launch.out)


def aligned(rows: list[list[str]]) -> list[str]:
    """Rows of text as lines: the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]

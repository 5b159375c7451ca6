"""The page of a dataset: its numbers and histograms."""

from typing import Any

import numpy as np

from inspose_jax.data import stats
from inspose_jax.data.shapes import Padding
from inspose_jax.data.stats import Stats
from inspose_jax.report import figure, markup
from inspose_jax.report.figure import Plot
from inspose_jax.skeletons import Skeleton

DARK, LIGHT = "#0072b2", "#a9cce3"
NUM_BINS = 40  # of a histogram of measures
MOST_BARS = 60  # of a histogram of counts; larger counts are in the last bar


def page_of(measured: Stats, skeleton: Skeleton, title: str, lead: str) -> str:
    """The page that shows what was measured."""
    tables = stats.tables(measured, skeleton)
    facts = dict(tables["Counts"][1:])
    facts["padding at test scale"] = f"{measured.test_padding.total:.1%}"
    facts["padding in training"] = f"{measured.train_padding.total:.1%}"
    people = [
        (counts(measured.people_per_image, "people", "images"), "People an image, crowds not counted."),
        (counts(measured.joints_per_person, "labelled joints", "people"), "Labelled joints of a person who has any."),
        (
            measures(measured.box_sides, "pixels", "people"),
            "Size of people: the square root of the area of their box, in pixels at test scale.",
        ),
        (joints(measured, skeleton), "How often each joint is labelled: dark if visible, light if hidden."),
    ]
    aspects = measured.sizes[:, 1] / measured.sizes[:, 0]
    images = [
        (scatter(measured.sizes), "Height and width of the images."),
        (measures(aspects, "width / height", "images"), "Aspect of the images."),
        (padded(measured.test_padding), "At test scale; light: the share of the pixels that is padding."),
        (padded(measured.train_padding), "In training, on average over the sizes that may be drawn."),
    ]
    about = markup.note(
        "The share of a batch's pixels that is padding, for each fixed shape. Blank images that fill the last batch of "
        "a shape are not counted."
    )
    sections = [
        ("People", plots(people) + markup.table(*split(tables["Spread"]))),
        ("Images", plots(images[:2])),
        ("Padding", plots(images[2:]) + markup.table(*split(tables["Padding"])) + about),
        ("Joints", markup.table(*split(tables["Joints"]))),
    ]
    return markup.page(title, lead, facts, sections)


def split(table: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """A table's header and its other rows."""
    return table[0], table[1:]


def plots(panels: list[tuple[Plot, str]]) -> str:
    """Plots with their captions."""
    return markup.gallery([(markup.drawing(figure.svg(panel), text), text) for panel, text in panels], "20rem")


def counts(values: np.ndarray, what: str, of: str) -> Plot:
    """A histogram of whole numbers, a bar each."""

    def plot(axis: Any) -> None:
        bars = np.bincount(np.minimum(values, MOST_BARS))
        axis.bar(np.arange(len(bars)), bars, color=DARK, width=0.8)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_xlabel(what + (f" (the last bar: {MOST_BARS} or more)" if max(values, default=0) > MOST_BARS else ""))
        of_whom(axis, of)

    return plot


def measures(values: np.ndarray, what: str, of: str) -> Plot:
    """A histogram of measured values, on a logarithmic scale if they span more than a factor of ten."""

    def plot(axis: Any) -> None:
        good = values[values > 0]
        low, high = (good.min(), good.max()) if len(good) else (1, 2)
        is_wide = high > 10 * low
        edges = (np.geomspace if is_wide else np.linspace)(low, high if high > low else low + 1, NUM_BINS + 1)
        axis.hist(good, edges, color=DARK)
        if is_wide:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter("{x:g}")
        axis.set_xlabel(what)
        of_whom(axis, of)

    return plot


def of_whom(axis: Any, of: str) -> None:
    """Label the axis of a histogram's bars, which are numbers of images or people."""
    axis.set_ylabel(f"number of {of}")
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.set_axisbelow(True)
    axis.grid(visible=False, axis="x")


def joints(measured: Stats, skeleton: Skeleton) -> Plot:
    """For each joint the share of people for whom it is labelled, divided into visible and hidden ones."""

    def plot(axis: Any) -> None:
        place = np.arange(skeleton.num_keypoints)
        labelled, seen = 100 * measured.is_labelled, 100 * measured.is_labelled * measured.is_seen
        axis.barh(place, labelled, color=LIGHT)
        axis.barh(place, seen, color=DARK)
        step = -(-skeleton.num_keypoints // 20)  # more names than that would overlap
        axis.set_yticks(place[::step], [name.replace("_", " ") for name in skeleton.keypoint_names[::step]], fontsize=7)
        axis.invert_yaxis()
        axis.set_xlim(0, 100)
        axis.set_xlabel("% of people with labelled joints")
        axis.set_axisbelow(True)
        axis.grid(visible=False, axis="y")

    return plot


def scatter(sizes: np.ndarray) -> Plot:
    """The different sizes of images, the larger the point, the more images have it."""

    def plot(axis: Any) -> None:
        different, number = np.unique(sizes, axis=0, return_counts=True)
        axis.scatter(
            different[:, 1], different[:, 0], 8 + 300 * number / len(sizes), color=DARK, alpha=0.4, linewidth=0
        )
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)
        axis.set_aspect("equal")
        axis.set_xlabel("width, pixels")
        axis.set_ylabel("height, pixels")

    return plot


def padded(cost: Padding) -> Plot:
    """For each padded shape the number of images, divided into the shares of pixels and of padding."""

    def plot(axis: Any) -> None:
        shapes = list(cost.images)
        step = -(-len(shapes) // 12)  # with a shape for each size there may be hundreds
        number = np.array([cost.images[shape] for shape in shapes], float)
        share = np.array([cost.share[shape] for shape in shapes])
        axis.barh(np.arange(len(shapes)), number, color=LIGHT)
        axis.barh(np.arange(len(shapes)), number * (1 - share), color=DARK)
        axis.set_yticks(np.arange(len(shapes))[::step], [f"{height} x {width}" for height, width in shapes[::step]])
        axis.set_xlabel("number of images")
        axis.set_axisbelow(True)
        axis.grid(visible=False, axis="y")

    return plot

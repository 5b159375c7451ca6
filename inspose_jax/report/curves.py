"""Plots of a run's measurements over its steps."""

import io
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from inspose_jax.report import figure
from inspose_jax.report.figure import INK
from inspose_jax.report.run import Series

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa3377", "#66a61e", "#e6ab02", "#7570b3", "#8c510a")  # of the loss terms
STATISTICS = {"AP": "#0072b2", "AP50": "#7fb8d8", "AP75": "#004d78", "AR": "#d55e00"}
MEANS = 150  # most points of a curve; each is the mean of an equal share of the steps
Metrics = dict[str, Series]
Panel = Callable[[Any, Metrics], None]  # draws on matplotlib axes


def total_loss(axis: Any, metrics: Metrics) -> None:
    """Plot the weighted sum of all loss terms."""
    curve(axis, metrics["loss/total"], "total", INK)
    axis.set_ylabel("loss")
    spread_out(axis)


def loss_terms(axis: Any, metrics: Metrics) -> None:
    """Plot every term of the loss, under the name that the method gives it."""
    names = [name for name in metrics if name.startswith("loss/") and name != "loss/total"]
    for name, colour in zip(names, cycle(COLOURS)):
        curve(axis, metrics[name], name.removeprefix("loss/"), colour)
    axis.set_ylabel("loss, by term")
    spread_out(axis)
    legend(axis)


def gradient_norm(axis: Any, metrics: Metrics) -> None:
    """Plot the gradient norm before clipping."""
    curve(axis, metrics["grad_norm"], "gradient norm", INK)
    axis.set_ylabel("gradient norm")
    spread_out(axis)


def learning_rate(axis: Any, metrics: Metrics) -> None:
    """Plot the learning rate of every step."""
    curve(axis, metrics["lr"], "learning rate", INK)
    axis.set_ylabel("learning rate")
    axis.set_ylim(bottom=0)


def speed(axis: Any, metrics: Metrics) -> None:
    """Plot training throughput in images per second."""
    curve(axis, metrics["images_per_s"], "speed", INK)
    axis.set_ylabel("images per second")
    axis.set_ylim(bottom=0)


def waiting(axis: Any, metrics: Metrics) -> None:
    """Plot the share of time spent waiting for data."""
    steps, values = metrics["data_wait"]
    curve(axis, Series(steps, 100 * values), "waiting", INK)
    axis.set_ylabel("waiting for data, % of the time")
    axis.set_ylim(0, max(10.0, axis.get_ylim()[1]))


def evaluations(axis: Any, metrics: Metrics) -> None:
    """Plot the statistics of the evaluations during training."""
    for name, colour in STATISTICS.items():
        if f"eval/{name}" in metrics:
            axis.plot(*metrics[f"eval/{name}"], label=name, color=colour, marker="o", markersize=3)
    axis.set_ylabel("AP, AR (0 to 1)")
    axis.set_ylim(0, 1)
    legend(axis)


def curve(axis: Any, series: Series, label: str, colour: str) -> None:
    """Plot the means of equal chunks of the series as a line, and the range of each chunk as a band behind it."""
    parts = [np.array_split(array, min(len(series.steps), MEANS)) for array in series]
    steps, means, low, high = (
        np.array([reduce(part) for part in parts[which]])
        for reduce, which in ((np.mean, 0), (np.mean, 1), (np.min, 1), (np.max, 1))
    )
    axis.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)
    axis.plot(steps, means, color=colour, label=label, marker="o" if len(steps) == 1 else "")


def spread_out(axis: Any) -> None:
    """Make the y axis logarithmic, with plain numbers, if the values span more than a factor of three."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.dataLim.intervaly
    if 0 < 3 * low < high:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())


def legend(axis: Any) -> None:
    """Put the legend above the plot, where no line can run through it."""
    narrow = {"handlelength": 1.2, "columnspacing": 1.0, "handletextpad": 0.4, "borderaxespad": 0.2}
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, **narrow)


def plot_file(panels: Sequence[Panel], metrics: Metrics, target: Path | io.BytesIO, form: str) -> None:
    """Draw panels side by side into an image file, `form` being "png" or "svg"."""
    figure.write([over_steps(panel, metrics) for panel in panels], target, form)


def svg(panel: Panel, metrics: Metrics) -> bytes:
    """One panel as the bytes of an SVG file."""
    return figure.svg(over_steps(panel, metrics))


def over_steps(panel: Panel, metrics: Metrics) -> figure.Plot:
    """A panel as a plot whose x axis is the step."""

    def plot(axis: Any) -> None:
        panel(axis, metrics)
        axis.set_xlabel("step")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.margins(x=0.02)

    return plot

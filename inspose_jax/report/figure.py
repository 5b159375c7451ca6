"""Small plots in the style of our pages, kept small so that their text stays readable on a narrow screen."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

INK, FAINT = "#1c2733", "#56657a"
STYLE: Any = {
    "font.size": 9,
    "axes.edgecolor": "#b8c2cc",
    "axes.labelcolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e8ecf0",
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "text.color": INK,
    "lines.linewidth": 1.5,
}
Plot = Callable[[Any], None]  # draws on matplotlib axes


def write(plots: Sequence[Plot], target: Path | io.BytesIO, form: str) -> None:
    """Draw plots side by side into an image file, `form` being "png" or "svg"."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(rc=STYLE):
        figure = Figure(figsize=(4.8 * len(plots), 2.8), layout="constrained")
        for axis, plot in zip(figure.subplots(1, len(plots), squeeze=False)[0], plots, strict=True):
            plot(axis)
        figure.savefig(target, format=form, dpi=144, metadata={"Date": None} if form == "svg" else None)


def svg(plot: Plot) -> bytes:
    """One plot as the bytes of an SVG file, with text as outlines so that it looks the same everywhere."""
    target = io.BytesIO()
    write([plot], target, "svg")
    return target.getvalue()

"""The page of a run: one self-contained HTML file that shows everything in the run's folder."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from inspose_jax import config_json, methods
from inspose_jax.config import Config
from inspose_jax.report import curves, markup
from inspose_jax.report.curves import Panel
from inspose_jax.report.people import PersonMaps, Shown
from inspose_jax.report.run import Run, throughput

RECENT = 50  # the reported loss is the mean over this many last steps

# A measurement, the plot that needs it, and the caption of the plot.
LOSS = (
    ("loss/total", curves.total_loss, "The weighted sum of all terms, which is minimised (Eq. 5)."),
    ("loss/total", curves.loss_terms, "The terms of the loss."),
)
EVALUATIONS = (("eval/AP", curves.evaluations, "COCO keypoint statistics on the validation images."),)
OPTIMISATION = (
    ("grad_norm", curves.gradient_norm, "Norm of the whole gradient, before it is clipped."),
    ("lr", curves.learning_rate, "Learning rate."),
)
SPEED = (
    (
        "images_per_s",
        curves.speed,
        "Images per second, over windows of ten steps, without the time of compilation.",
    ),
    ("data_wait", curves.waiting, "Share of the time in which the device waited for data."),
)

Section = tuple[str, str]  # heading, HTML


def page_of(run: Run, shown: Shown, title: str = "", first: Sequence[Section] = ()) -> str:
    """The page of a run; `first` are sections that only the caller can make, such as measurements on held-out data."""
    sections = [
        *first,
        ("People found", images(shown)),
        ("Keypoint maps", keypoint_maps(shown.maps) if shown.maps else ""),
        ("Loss", loss(run)),
        ("Evaluations during training", evaluations(run)),
        ("Optimisation", plots(run, OPTIMISATION)),
        ("Throughput", plots(run, SPEED)),
        ("Checkpoints", checkpoints(run)),
        ("Configuration", configuration(run)),
        ("Environment", markup.fields({"": [(name, str(value), "") for name, value in run.versions.items()]})),
    ]
    there = [section for section in sections if section[1]]
    return markup.page(title or f"Run {run.workdir}", lead(run), facts(run), there)


def lead(run: Run) -> str:
    """The lead sentences: what the run trains, and how far it has got."""
    source = run.about["data"].get("source")
    trains_on = {"drawn": "drawn people", "coco": "a COCO folder"}.get(str(source), source)
    backbone = run.about["model"].get("network", {}).get("backbone")
    names = {"inspose": f"InsPose on {backbone}", "released": f"InsPose as released, on {backbone}"}
    method = names.get(run.about["method"], "A method of its own")
    if not run.num_steps:
        return f"{method}, with weights from {run.about.get('imported')}, which were not trained here."
    what = f"{method}, {trains_on}, {run.batch_size} images per step. "
    if run.step >= run.num_steps:
        return what + f"All {run.num_steps} steps are done."
    return what + f"At step {run.step} of {run.num_steps}: the run is still going on, or was stopped there."


def facts(run: Run) -> dict[str, str]:
    """The key numbers at the top of the page."""
    found = {"step": f"{run.step}"}
    if "loss/total" in run.metrics:
        values = run.metrics["loss/total"].values
        found[f"loss, mean of {min(len(values), RECENT)} steps"] = f"{values[-RECENT:].mean():.3f}"
    if "eval/AP" in run.metrics:
        found["best AP so far"] = f"{run.metrics['eval/AP'].values.max():.3f}"
    speed = throughput(run.metrics, run.batch_size)
    if speed:
        found["images per second, median"] = f"{speed['images_per_s']:.1f}"
        found["waiting for data"] = f"{speed['data_wait']:.1%}" if "data_wait" in speed else "unknown"
        found["training time"] = duration(speed["training_seconds"])
    for name, label in (("skipped", "steps skipped, not finite"), ("unreadable", "images unreadable")):
        number = count_of(run, name)
        if number:
            found[label] = f"{number}"
    return found


def count_of(run: Run, name: str) -> int:
    """The total of a counter: `skipped` is 1 in each skipped step, `unreadable` is a running count."""
    if name not in run.metrics:
        return 0
    values = run.metrics[name].values
    return int(values.sum() if name == "skipped" else values.max())


def images(shown: Shown) -> str:
    """The people found in some images."""
    figures = [(markup.photo(image, f"people found; {caption}"), caption) for image, caption in shown.images]
    return (markup.gallery(figures, "18rem") if figures else "") + markup.note(shown.about)


def keypoint_maps(maps: Sequence[PersonMaps]) -> str:
    """The maps of one or two people, joint by joint."""
    rows = [
        markup.gallery(
            [
                (markup.photo(image, f"keypoint map, person {number}: {name}"), name.replace("_", " "))
                for name, image in {f"person {number}": one.person, **one.joints}.items()
            ],
            "6.8rem",
        )
        for number, one in enumerate(maps, start=1)
    ]
    return "".join(rows) + markup.note(
        f"Figure 1 of the paper: the networks of all people in an image read the same features; only their "
        f"{maps[0].num_parameters} generated numbers differ. Each should light up at its own person's joints."
    )


def plots(run: Run, panels: Sequence[tuple[str, Panel, str]]) -> str:
    """The panels whose measurement exists; empty if there is none."""
    figures = [
        (markup.drawing(curves.svg(panel, run.metrics), caption), caption)
        for name, panel, caption in panels
        if name in run.metrics
    ]
    return markup.gallery(figures, "24rem") if figures else ""


def loss(run: Run) -> str:
    """The loss and its terms; empty before the first step."""
    figures = plots(run, LOSS)
    each = -(-len(run.metrics["loss/total"].steps) // curves.MEANS) if figures else 0
    return figures + (
        markup.note(f"Lines are means over up to {each} steps, shaded areas their range.") if each > 1 else ""
    )


def evaluations(run: Run) -> str:
    """The curves, and the statistics of the best and the last evaluation; empty if there was none."""
    if "eval/AP" not in run.metrics:
        return ""
    steps, values = run.metrics["eval/AP"]
    names = [name for name in run.metrics if name.startswith("eval/")]
    rows = []
    for label, which in (("best", int(values.argmax())), ("last", len(steps) - 1)):
        step = int(steps[which])
        rows.append([f"{label}, step {step}", *(statistic(run, name, step) for name in names)])
    return plots(run, EVALUATIONS) + markup.table(["", *(name.removeprefix("eval/") for name in names)], rows)


def statistic(run: Run, name: str, step: int) -> str:
    """A statistic of an evaluation; a dash if it is undefined (COCO writes -1)."""
    steps, values = run.metrics[name]
    found = values[steps == step]
    return f"{found[-1]:.3f}" if len(found) and found[-1] >= 0 else "–"


def duration(seconds: float) -> str:
    """A duration in words, such as `464 s`, `12 min` or `3 h 05 min`."""
    minutes = round(seconds / 60)
    if minutes < 10:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"


def checkpoints(run: Run) -> str:
    """Which checkpoints are kept."""
    kept = ", ".join(map(str, run.checkpoints))
    text = f"Steps kept: {kept}." if kept else "There is no checkpoint yet."
    return markup.note(text + "".join(f" The best, by AP: step {step}." for step in run.best))


def configuration(run: Run) -> str:
    """Every field of the configuration, grouped as in `Config`; those that differ from the defaults are marked."""
    tables = {"": [(name, text_of(value), "") for name, value in run.about.items() if not isinstance(value, dict)]}
    kind = methods.config_class(run.about["method"])
    usual = config_json.to_dict(Config(kind()) if kind else Config())
    if kind is None:  # only its recipe knows the defaults of its model's fields
        usual["model"] = run.about["model"]
    for where, values, defaults in parts(run.about, usual):
        tables[where] = [
            (name, text_of(value), remark(value, defaults.get(name)))
            for name, value in values.items()
            if not isinstance(value, dict) or name == "skeleton"
        ]
    return markup.note("Bold: differs from the default.") + markup.fields(tables)


def parts(values: dict[str, Any], defaults: dict[str, Any], where: str = "") -> Iterator[tuple[str, dict, dict]]:
    """Yield every nested dict of a configuration: its dotted path, the dict, and its counterpart in the defaults."""
    for name, value in values.items():
        if isinstance(value, dict) and name != "skeleton":
            here, default = f"{where}.{name}".lstrip("."), defaults.get(name, {})
            yield here, value, default
            yield from parts(value, default, here)


def remark(value: Any, default: Any) -> str:
    """A remark that states the default, if the value differs from it, else empty."""
    if value == default:
        return ""
    return "not a field of this version" if default is None else f"default {text_of(default)}"


def text_of(value: Any) -> str:
    """A field's value in short form."""
    if isinstance(value, dict):  # a skeleton
        return f"{value.get('name')}, {len(value.get('keypoint_names', ()))} joints"
    if isinstance(value, list):
        return f"[{', '.join(map(text_of, value))}]"
    return f"{value:g}" if isinstance(value, float) else json.dumps(value).strip('"')

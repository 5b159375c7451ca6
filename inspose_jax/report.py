"""Figures of a run, and one self-contained HTML page that shows them."""

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from inspose_jax import draw, geometry
from inspose_jax.data import pipeline
from inspose_jax.network import kp_net
from inspose_jax.predictor import Predictor
from inspose_jax.structures import Sample

TERMS = ("cls", "keypoint", "offset", "heatmap")
SHOWN_JOINTS = ("nose", "left_shoulder", "left_wrist", "right_wrist", "left_ankle", "right_ankle")
STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2733; background: #f6f7f9; margin: 0; }
main { max-width: 1080px; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
section { background: #fff; border: 1px solid #dfe4ea; border-radius: 10px; padding: .2rem 1rem 1rem; margin: 1rem 0; }
img { max-width: 100%; height: auto; display: block; border-radius: 6px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem .3rem 0; text-align: right; border-bottom: 1px solid #e8ecf0; }
th:first-child, td:first-child { text-align: left; }
p.note { color: #56657a; font-size: .93rem; max-width: 75ch; }
"""


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`, one a step."""
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def loss_curves(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Every term of Eq. 5 and their sum over the steps of `metrics.jsonl`, smoothed, as a picture file."""
    figure, axes = new_figure(1, 2, (10, 3.4))
    steps = np.array([row["step"] for row in rows])
    window = max(1, len(rows) // 100)
    for axis, names in zip(axes, (("total",), TERMS), strict=True):
        for name in names:
            if f"loss/{name}" in rows[0]:
                values = np.array([row[f"loss/{name}"] for row in rows])
                axis.plot(*smoothed(steps, values, window), label=name)
        axis.set_yscale("log")
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, loc="upper right", ncols=2)
    axes[0].set_ylabel(f"loss (mean of {window} steps)" if window > 1 else "loss")
    figure.savefig(path, dpi=110)


def smoothed(steps: np.ndarray, values: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of consecutive windows, each at its last step; what is left at the beginning is dropped."""
    whole = len(values) // window * window
    return steps[len(steps) - whole :][window - 1 :: window], values[len(values) - whole :].reshape(-1, window).mean(1)


def predictions_sheet(predictor: Predictor, samples: Sequence[Sample], threshold: float, path: Path) -> None:
    """Pairs of pictures, ground truth left and prediction right, as a picture file."""
    pairs = []
    times = max(1, 256 // max(samples[0].image.shape[:2]))
    for sample, people in zip(samples, predictor([s.image for s in samples], threshold), strict=True):
        image = draw.enlarge(sample.image, times)
        is_labelled = sample.keypoints[..., 2] > 0
        truth = draw.draw_people(image, sample.keypoints[..., :2] * times, is_labelled, predictor.skeleton)
        found = draw.draw_people(
            image, people.keypoints * times, np.ones(people.keypoint_scores.shape, bool), predictor.skeleton
        )
        pairs.append(np.concatenate([truth, np.full((len(truth), 3, 3), 255, np.uint8), found], 1))
    Image.fromarray(draw.contact_sheet(pairs, columns=2 if len(pairs) < 9 else 3, gap=10)).save(path)


def keypoint_maps(predictor: Predictor, image: UInt8[np.ndarray, "H W 3"], path: Path) -> None:
    """Figure 1: what the KP-Nets of the two best people of a picture draw from the same features, as a picture file."""
    source = pipeline.Pictures([image], predictor.skeleton)
    plan = pipeline.make_plan(source, predictor.config, train=False)
    batch = pipeline.load_batch(source, plan[0], predictor.config)
    size = batch.size[0].tolist()
    poses = jax.device_get(predictor.poses(predictor.variables, batch.image, batch.size))
    maps = jax.jit(lambda v, b, l: person_maps(predictor, v, b, l))(predictor.variables, batch, poses.location[0, :2])
    skeleton = predictor.skeleton
    joints = [skeleton.keypoint_names.index(name) for name in SHOWN_JOINTS if name in skeleton.keypoint_names]
    figure, axes = new_figure(2, 1 + len(joints), (2.0 * (1 + len(joints)), 4.5))
    shown = batch.image[0, : size[0], : size[1]]
    for person, row in enumerate(axes):
        keypoints = poses.keypoints[0, person][None]
        drawn = draw.draw_people(draw.enlarge(shown, 3), keypoints * 3, np.ones(keypoints.shape[:2], bool), skeleton)
        row[0].imshow(drawn)
        row[0].set_title(f"person {person + 1}", fontsize=10)
        grey = shown.mean(-1)
        for axis, joint in zip(row[1:], joints, strict=True):
            axis.imshow(grey, cmap="gray", vmin=0, vmax=420, extent=(0, size[1], size[0], 0))
            extent = (0, batch.image.shape[2], batch.image.shape[1], 0)
            glow = np.asarray(maps[person, joint])
            glow = np.sqrt(glow / glow.max())  # the root shows the faint second guesses too
            axis.imshow(glow, cmap="inferno", alpha=np.minimum(glow * 1.2, 1), extent=extent)
            axis.set(xlim=(0, size[1]), ylim=(size[0], 0))
            axis.set_title(skeleton.keypoint_names[joint].replace("_", " "), fontsize=10)
        for axis in row:
            axis.set_axis_off()
    figure.savefig(path, dpi=110)


def person_maps(predictor: Predictor, variables: Any, batch: Any, location: jax.Array) -> Float[jax.Array, "N K h w"]:
    """Softmax of the keypoint maps that the given locations of the first picture of a batch generate."""
    model = predictor.config.model
    outputs = predictor.outputs_of(variables, batch.image, batch.size)
    sizes = kp_net.layer_sizes(model.kp_net, predictor.skeleton.num_keypoints)
    centres, scales = geometry.generating_locations(
        location, batch.image.shape[1:3], model.levels, model.kp_net.relative_scale
    )

    def one(theta: jax.Array, centre: jax.Array, scale: jax.Array) -> jax.Array:
        features = outputs.features[0]
        logits = kp_net.keypoint_map(theta, features, centre, scale, batch.size[0], sizes, 2**model.map_level)
        return jax.nn.softmax(logits, axis=1).reshape(-1, *features.shape[:2])

    return jax.vmap(one)(outputs.theta[0, location], centres, scales)


def page(title: str, lead: str, sections: Sequence[tuple[str, str]]) -> str:
    """A self-contained HTML page: a title, a sentence, and sections of (heading, HTML)."""
    body = "".join(f"<section><h2>{html.escape(heading)}</h2>{content}</section>" for heading, content in sections)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
        f"<body><main><h1>{html.escape(title)}</h1><p>{html.escape(lead)}</p>{body}</main></body></html>"
    )


def table(header: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """An HTML table that scrolls by itself on a narrow screen."""
    head = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def note(text: str) -> str:
    """A paragraph that explains."""
    return f'<p class="note">{html.escape(text)}</p>'


def picture(path: Path, alternative: str) -> str:
    """A picture file, carried inside the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{html.escape(alternative)}">'


def new_figure(rows: int, columns: int, inches: tuple[float, float]) -> tuple[Any, Any]:
    """A matplotlib figure without a window, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)

"""The README.md of an exported model: what it is, where it is from, how good it was found to be, how to use it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from inspose_jax import paths, provenance, run_folder
from inspose_jax.checkpoints import Loaded
from inspose_jax.network.inspose import MEAN, STD
from inspose_jax.provenance import IMPORTED
from inspose_jax.torch_bridge import variants
from inspose_jax.torch_bridge.reading import stored_as

STATISTICS, PREFIX = "statistics", "eval/"  # of the best checkpoint, beside its state; before their names in metrics

CARD = """\
---
license: {license}
pipeline_tag: keypoint-detection
tags: [pose-estimation, inspose, jax, pytorch]
---

# InsPose: people and their joints in an image

{words} of InsPose ([paper](https://arxiv.org/abs/2107.08982)), from inspose-jax, an unofficial re-implementation.
It finds every person in an image, and {joints} joints of each, in a single pass.

| | |
| --- | --- |
| variant | {variant} |
| backbone | {backbone} |
| parameters | {parameters:,}, stored as {stored} |
| joints ({skeleton}) | {names} |
| trained | {trained} |

## Metrics

{metrics}

## Preprocessing

RGB images are resized so that their shorter side has {short} pixels, but the longer one at most {long} (bilinear, with
OpenCV's fixed-point arithmetic).  Then the mean {mean} is subtracted from the values, which are 0 to 255,
the result is divided by the standard deviation {std}, and zeros are added at the right and bottom,
{padding}.  Both ways of use below do all of that.

## Use

In PyTorch; `inspose_torch.py` needs only torch:

```python
from inspose_torch import load

model = load(".")  # the folder of this file
(people,) = model.detect(image)  # image: u8[H,W,3] RGB
print(people["keypoints"], people["scores"])  # f32[N,{joints},2] (x, y) in pixels of the image, f32[N]
```

In JAX, with the package inspose-jax, where training goes on too:

```python
import inspose_jax

model = inspose_jax.load(".")
people = model("photo.jpg")
```

## Licence

{licence}
"""
OURS = "The code, `{file}` among it, has the licence Apache-2.0."
THEIRS = (
    "The weights {come_from} the file {origin}, and their licence is not known here; those that the paper's authors "
    "released carry no licence statement of their own."
)


def text(loaded: Loaded, tensors: Mapping[str, np.ndarray], metrics: Mapping[str, float]) -> str:
    """The card of an exported model, whose weights are `tensors`; it says so if there are no metrics."""
    config, origin = loaded.config, provenance.origin(loaded.about)
    model, data, variant = config.model, config.data, variants.of_model(config.model)
    rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in metrics.items())
    return CARD.format(
        license="unknown" if origin else "apache-2.0",
        words=variant.words[0].upper() + variant.words[1:],
        variant=f"{variant.words} (`{variant.method}` in config.json)",
        backbone=model.network.backbone,
        parameters=sum(x.size for name, x in tensors.items() if "running_" not in name and x.dtype.kind == "f"),
        joints=model.skeleton.num_keypoints,
        skeleton=model.skeleton.name,
        names=", ".join(model.skeleton.keypoint_names),
        stored=stored_as(loaded.about),
        trained=training(loaded),
        metrics=f"On the validation images of its training:\n\n| COCO statistic | |\n| --- | --- |\n{rows}"
        if rows
        else "None were measured on these weights with this package.",
        short=data.test_short_side,
        long=data.long_side,
        mean=MEAN,
        std=STD,
        padding="up to multiples of 32"
        if data.test_padding == "own"
        else f"up to the smallest of {', '.join(f'{height} x {width}' for height, width in data.shapes)} that fits",
        licence=licence(loaded.about, "inspose_torch.py"),
    )


def licence(about: Mapping[str, Any], file: str) -> str:
    """What is known of the licences of a copied file of code, and of a checkpoint's weights, by what it records."""
    code, origin = OURS.format(file=file), provenance.origin(about)
    if not origin:
        return code
    return f"{code}  {THEIRS.format(come_from='are those of' if IMPORTED in about else 'derive from', origin=origin)}"


def training(loaded: Loaded) -> str:
    """Where a model was trained, and what this package trained it on."""
    if IMPORTED in loaded.about:
        return f"elsewhere; imported from {loaded.about[IMPORTED]}"
    data, schedule, origin = loaded.config.data, loaded.config.schedule, provenance.origin(loaded.about)
    source = {"drawn": "people that the package draws", "coco": "a folder in COCO's format"}[data.source]
    start = f", starting from the weights in {origin}" if origin else ""
    return f"on {source}, {loaded.step} steps of {schedule.batch_size} images{start}"


def metrics_of(checkpoint: str | Path, loaded: Loaded, raw: bool) -> dict[str, float]:
    """The statistics that the run measured of exactly these weights; empty if it measured none.

    They stand beside the best checkpoint, or else in the metrics of the run that the checkpoint lies in.
    """
    if IMPORTED in loaded.about or (raw and loaded.config.schedule.ema > 0):
        return {}
    if STATISTICS in loaded.about:
        return loaded.about[STATISTICS]
    path = paths.absolute(checkpoint)
    for workdir in (path, path.parent, path.parent.parent):
        for step, row, _ in run_folder.read_metrics_lines(workdir):
            found = {name.removeprefix(PREFIX): value for name, value in row.items() if name.startswith(PREFIX)}
            if step == loaded.step and found:
                return found
    return {}

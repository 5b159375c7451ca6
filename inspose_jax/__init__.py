"""InsPose in JAX: find every person in an image, and their joints, in a single pass.

A map of the package: `network/` is Figure 3 of the paper, one file per box; `targets`, `losses`, `decode` and `nms`
implement Sections 3.1 to 3.4; `data/` turns images into batches; `training/` runs the training loop and `evaluation/`
measures accuracy; `predictor` is the only path from an image to people; both see a model only as a `Method`, and
`methods.py` lists those that there are: `paper.py`, and in `released/` the model that the paper's authors published.
`checkpoints/` saves and loads what was trained, and `torch_bridge/` exchanges it with PyTorch; `report/` is the page
about a run, and `sweep/` trains and compares the rows of tables; `cli/` is the command line.  Read `structures.py`
first.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from inspose_jax.versions import OURS as __version__  # noqa: F401 (part of the package's API)

if TYPE_CHECKING:
    from inspose_jax.predictor import Predictor


def load(path: str | Path, recipe: str | Path | None = None) -> "Predictor":
    """Load a model that finds people: `load("runs/a")("photo.jpg")`, `load("released.pth")`; see `predictor.load`.

    `recipe` is the recipe file; it is needed only if the run was trained with the recipe's own method.
    """
    from inspose_jax import predictor  # imported here, so that jax and the rest load only when needed

    return predictor.load(path, recipe=recipe)

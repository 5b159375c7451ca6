"""InsPose in JAX: find every person in a picture, and their joints, in one look.

A map of the package: `network/` is figure 3 of the paper, one file a box; `targets`, `losses`, `decode` and `nms` are
sections 3.1 to 3.4; `data/` turns pictures into batches; `training/` and `evaluation/` run the loop and measure;
`predictor` is the one way from a picture to people; `cli/` is the command line.  Read `structures.py` first.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from inspose_jax.versions import OURS as __version__  # noqa: F401 (for whoever asks the package)

if TYPE_CHECKING:
    from inspose_jax.predictor import Predictor


def load(path: str | Path, recipe: str | Path | None = None) -> "Predictor":
    """A model that finds people: `load("runs/a")("photo.jpg")`; see `predictor.load`.

    `recipe` is the file of the recipe, where the run was trained with a method of its own.
    """
    from inspose_jax import predictor  # jax and the rest only when somebody needs them

    return predictor.load(path, recipe=recipe)

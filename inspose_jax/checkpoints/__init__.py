"""Self-contained checkpoints: parameters, batch statistics, optimizer state, step and config.

Orbax writes one folder per step under `<workdir>/checkpoints`; a step that was not written completely does not appear
there.  Its files are sealed with checksums (`seals`), so that damage is detected before anything is restored.

`saving` writes them during training, `folder` knows which there are, `restoring` reads a state back, and
`loading` takes from it what prediction needs.  `system_errors` words what the operating system says.
"""

from inspose_jax.checkpoints.folder import UNFINISHED, holds, identity, set_aside, steps
from inspose_jax.checkpoints.loading import Loaded, NeedsRecipe, evaluated, load
from inspose_jax.checkpoints.restoring import about_best, best_value, differences, newest, read, read_intact_about
from inspose_jax.checkpoints.saving import Checkpoints

__all__ = [
    "UNFINISHED",
    "Checkpoints",
    "Loaded",
    "NeedsRecipe",
    "about_best",
    "best_value",
    "differences",
    "evaluated",
    "holds",
    "identity",
    "load",
    "newest",
    "read",
    "read_intact_about",
    "set_aside",
    "steps",
]

"""Write a model that was trained elsewhere as a run's folder, which `load`, `predict`, `eval` and `report` take."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from inspose_jax import config_json, files, provenance, run_folder
from inspose_jax.checkpoints import Checkpoints, Loaded
from inspose_jax.provenance import IMPORTED


class Weights(NamedTuple):
    """The state of such a run; without an optimizer's, so that it cannot go on."""

    params: Any
    batch_stats: Any


def write(folder: Path, loaded: Loaded) -> None:
    """Write a model that `reading.read` has read as the checkpoint of step 0, with what it knows of its origin.

    Raises UserError if the folder holds something already or cannot be written.
    """
    about = {"num_steps": 0, IMPORTED: loaded.about[IMPORTED], **config_json.to_dict(loaded.config)}
    with files.new_folder(folder) as partial:
        with Checkpoints(partial / run_folder.CHECKPOINTS, 0) as checkpoints:
            checkpoints.save(0, Weights(**loaded.variables), loaded.config, **loaded.about)
        files.write(partial / run_folder.CONFIG, json.dumps(about, indent=2))
        files.write(partial / run_folder.VERSIONS, json.dumps({"inspose-jax": provenance.about()["version"]}))

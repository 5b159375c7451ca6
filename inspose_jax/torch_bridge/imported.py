"""Write weights that were trained elsewhere as a run's folder, which `load`, `predict`, `eval` and `report` take."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from inspose_jax import config_json, files, provenance, run_folder
from inspose_jax.checkpoints import Checkpoints
from inspose_jax.config import Config


class Weights(NamedTuple):
    """The state of such a run; without an optimizer's, so that it cannot go on."""

    params: Any
    batch_stats: Any


def write(folder: Path, config: Config, variables: Any, source: str) -> None:
    """Write the variables as the checkpoint of step 0; `source` says where they come from.

    Raises UserError if the folder holds something already or cannot be written.
    """
    about = {"num_steps": 0, "imported": source, **config_json.to_dict(config)}
    with files.new_folder(folder) as partial:
        with Checkpoints(partial / run_folder.CHECKPOINTS, 0) as checkpoints:
            checkpoints.save(0, Weights(variables["params"], variables["batch_stats"]), config, imported=source)
        files.write(partial / run_folder.CONFIG, json.dumps(about, indent=2))
        files.write(partial / run_folder.VERSIONS, json.dumps({"inspose-jax": provenance.about()["version"]}))

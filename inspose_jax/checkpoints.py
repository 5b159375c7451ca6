"""Checkpoints that are complete in themselves: parameters, statistics, optimizer, step, config and skeleton.

One folder a step under `<workdir>/checkpoints`, written by orbax: a step that was not written to its end is not there.
"""

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from inspose_jax import config
from inspose_jax.skeletons import SKELETONS

KEPT = 2  # the newest, and the one before in case the newest is lost
FINISHED = "commit_success.txt"

# One line a file and step is more than anybody reads; errors still come through.
logging.getLogger("absl").setLevel(logging.ERROR)


class Loaded(NamedTuple):
    """What prediction needs of a checkpoint."""

    config: config.Config
    variables: Any  # {"params": .., "batch_stats": ..}, the running average if the run kept one; numpy
    step: int


class Checkpoints:
    """The checkpoints of one run, in `folder`; close it (or use `with`) so that the last save ends."""

    def __init__(self, folder: Path):
        self.folder = folder.absolute()
        self.manager = ocp.CheckpointManager(
            self.folder, options=ocp.CheckpointManagerOptions(max_to_keep=KEPT, create=True)
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.manager.wait_until_finished()
        self.manager.close()

    def save(self, step: int, state: Any, config_: config.Config) -> None:
        """Write `state`, a pytree of arrays; the arrays may be donated as soon as this returns."""
        skeleton = SKELETONS[config_.model.skeleton]
        about = {
            "config": json.loads(config.to_json(config_)),
            "skeleton": {"name": skeleton.name, "keypoint_names": list(skeleton.keypoint_names)},
            "step": step,
        }
        items = ocp.args.Composite(state=ocp.args.StandardSave(as_dict(state)), about=ocp.args.JsonSave(about))
        if not self.manager.save(step, args=items):
            raise ValueError(f"{self.folder}: step {step} is there already, or a later one; nothing was written")

    def restore(self, step: int, like: Any) -> Any:
        """The state of `step`, in the shapes and on the devices of `like`; ValueError where they do not fit."""
        items = ocp.args.Composite(state=ocp.args.StandardRestore(as_dict(like)))
        return like._replace(**self.manager.restore(step, args=items)["state"])


def as_dict(state: Any) -> dict[str, Any]:
    """A named tuple as a dict: names make a checkpoint readable without our types."""
    return dict(state._asdict())


def steps(folder: Path) -> list[int]:
    """Finished steps in a folder of checkpoints, oldest first; a stray empty folder named like one is none."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(path.name) for path in found if path.name.isdigit() and (path / FINISHED).exists())


def load(path: Path | str) -> Loaded:
    """A run's workdir (its newest checkpoint), or one checkpoint's folder -> what prediction needs.

    Raises FileNotFoundError where there is nothing, ValueError for a folder that is no checkpoint.
    """
    path = Path(path).absolute()
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such checkpoint; give a run's folder or one of its checkpoints/<step>")
    folder = path
    if not (path / FINISHED).exists():
        found = steps(path / "checkpoints") or steps(path)
        if not found:
            raise ValueError(f"{path}: holds no checkpoint; give a run's folder or one of its checkpoints/<step>")
        folder = (path / "checkpoints" if steps(path / "checkpoints") else path) / str(found[-1])
    damaged = f"{folder}: damaged or not written by inspose; take another checkpoint"
    try:
        with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
            about = reader.restore(folder / "about")
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
            state = reader.restore(folder / "state", args=ocp.args.StandardRestore(stored_shapes(reader, folder)))
    except Exception as error:  # orbax raises many types, Exception itself among them
        raise ValueError(f"{damaged} ({type(error).__name__})") from None
    if not about.keys() >= {"config", "skeleton", "step"}:
        raise ValueError(damaged)
    resolved = config.from_json(json.dumps(about["config"]))
    known = SKELETONS.get(about["skeleton"]["name"])
    if known is None or list(known.keypoint_names) != about["skeleton"]["keypoint_names"]:
        raise ValueError(
            f"{folder}: made for the skeleton {about['skeleton']['name']}, which this version does not know"
        )
    name = "average" if resolved.schedule.ema > 0 else ""
    variables = state[name] if name else {"params": state["params"], "batch_stats": state["batch_stats"]}
    return Loaded(resolved, jax.tree.map(np.asarray, variables), int(about["step"]))


def stored_shapes(reader: ocp.Checkpointer, folder: Path) -> Any:
    """Shapes of the stored state, without the devices it was stored from: they need not be here."""
    stored: Any = reader.metadata(folder / "state")
    one = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=one), stored.item_metadata.tree)

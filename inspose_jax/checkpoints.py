"""Checkpoints that are complete in themselves: parameters, statistics, optimizer, step, config and skeleton.

One folder a step under `<workdir>/checkpoints`, written by orbax: a step that was not written to its end is not there.
The checksums of its files are written with it, so that a damaged one is known before anything is read of it.
"""

import contextlib
import json
import logging
import math
import os
import re
import shutil
import warnings
import zlib
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from inspose_jax import config, devices
from inspose_jax.errors import NotFound, NotWritten, UserError
from inspose_jax.skeletons import SKELETONS

KEPT = 2  # the newest, and the one before in case the newest is lost
FINISHED = "commit_success.txt"
SEAL = "checksums.json"
UNFINISHED = ".orbax-checkpoint-tmp"

# Its writing threads log what they also raise, a screen of text each; what is raised says it once.
logging.getLogger("absl").setLevel(logging.CRITICAL)


class Damaged(UserError):
    """A checkpoint that was finished and cannot be read any more; the one before may still be good."""


class Loaded(NamedTuple):
    """What prediction needs of a checkpoint."""

    config: config.Config
    variables: Any  # {"params": .., "batch_stats": ..}, the running average if the run kept one; numpy
    step: int


class Checkpoints:
    """The checkpoints of one run, in `folder`, the newest `kept` of them; close it (or use `with`), so that all ends.

    The run is at step `start`: what is there of later steps could not be read, or is made again, and is set aside.
    OSError where one cannot be written: what was saved before stays, and nothing half-written.
    """

    def __init__(self, folder: Path, start: int, kept: int = KEPT):
        self.folder, self.kept = folder.absolute(), kept
        self.manager: ocp.CheckpointManager | None = None  # made when there is something to save
        self.writing: int | None = None  # the step that is
        tidy(self.folder, start)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self.manager is None:
            return
        if kind is None:
            self.finish()
        elif jax.process_count() == 1:  # with others, one that is gone would be waited for
            # What ended the run is what its user should read, not that its last save failed too.
            with contextlib.suppress(OSError):
                self.finish()
        else:
            return
        self.manager.close()

    def save(self, step: int, state: Any, config_: config.Config, **more: Any) -> None:
        """Write `state`, a pytree of arrays, in the background; the arrays may be donated as soon as this returns.

        `more` is kept beside the config, as JSON.
        """
        self.finish()
        self.make_sure_of_space(step, state)
        skeleton = SKELETONS[config_.model.skeleton]
        about = {
            "config": json.loads(config.to_json(config_)),
            "skeleton": {"name": skeleton.name, "keypoint_names": list(skeleton.keypoint_names)},
            "step": step,
            **more,
        }
        items = ocp.args.Composite(state=ocp.args.StandardSave(as_dict(state)), about=ocp.args.JsonSave(about))
        self.writing = step
        with self.failing():
            if self.manager is None:
                sealing = ocp.AsyncOptions(post_finalization_callback=self.seal)
                # Processes wait for each other by name: two folders may be written to at once.
                apart = ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=self.folder.name)
                options = ocp.CheckpointManagerOptions(
                    max_to_keep=self.kept, create=True, async_options=sealing, multiprocessing_options=apart
                )
                self.manager = ocp.CheckpointManager(self.folder, options=options)
            written = self.manager.save(step, args=items)
        assert written, f"{self.folder}: step {step} is there already, or a later one"

    def make_sure_of_space(self, step: int, state: Any) -> None:
        """OSError before anything is written, where a disk has no room for all of it."""
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        present = next(folder for folder in (self.folder, *self.folder.parents) if folder.exists())
        free = shutil.disk_usage(present).free
        if free < needed:
            raise NotWritten(
                f"{self.folder}: step {step} needs {needed / 1e6:.1f} MB, of which {free / 1e6:.1f} MB are free; what "
                f"was saved before stays. Make room, and go on with --resume"
            )

    def finish(self) -> None:
        """Wait until the last save is on disk."""
        if self.manager is not None and self.writing is not None:
            with self.failing():
                self.manager.wait_until_finished()
            self.writing = None

    def seal(self) -> None:
        """Write the checksums of what was written: orbax calls this before it gives the step its name."""
        for unfinished in self.folder.glob(f"{self.writing}{UNFINISHED}*"):
            (unfinished / SEAL).write_text(json.dumps(checksums(unfinished), indent=1))

    @contextlib.contextmanager
    def failing(self) -> Any:
        """Whatever goes wrong in writing becomes an OSError that says what is left; what is half-written goes."""
        try:
            yield
        except Exception as error:  # orbax raises many types
            step, self.writing = self.writing, None
            remove_unfinished(self.folder)
            raise NotWritten(
                f"{self.folder}: step {step} could not be saved ({reason(error)}); what was saved before stays. "
                f"Mend that, and go on with --resume"
            ) from error


def as_dict(state: Any) -> dict[str, Any]:
    """A named tuple as a dict: names make a checkpoint readable without our types."""
    return dict(state._asdict())


def reason(error: Exception) -> str:
    """Why a file could not be written or read: the system's words where there are some."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else type(error).__name__


# --- a folder of checkpoints ----------------------------------------------------------------------------------------


def steps(folder: Path) -> list[int]:
    """Finished steps in a folder of checkpoints, oldest first; a stray empty folder named like one is none."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(path.name) for path in found if path.name.isdigit() and (path / FINISHED).exists())


def tidy(folder: Path, start: int) -> None:
    """Remove what killed saves left behind, and good steps later than `start`, which are made again; set aside what
    is no finished step, or cannot be read.
    """
    if jax.process_index() == 0 and folder.is_dir():
        remove_unfinished(folder)
        finished = {str(step): step for step in steps(folder)}
        for path in list(folder.iterdir()):
            if path.name.isdigit() and finished.get(path.name, start + 1) > start:
                # Without its seal nobody knows whether a step is good.
                if path.name in finished and (path / SEAL).is_file() and not changed_files(path):
                    shutil.rmtree(path)
                else:
                    set_aside(path)
    wait_for_all("tidy")


def remove_unfinished(folder: Path) -> None:
    """Remove what orbax writes before it gives a step its name."""
    for path in folder.glob(f"*{UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)


def set_aside(path: Path) -> Path:
    """Rename a folder, so that it is nobody's step any more and nothing in it is lost; gives back where it is."""
    names = (path.with_name(f"{path.name}.aside{number or ''}") for number in count())
    return path.rename(next(name for name in names if not name.exists()))


def wait_for_all(what: str) -> None:
    """Go on when every process has come so far."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"inspose checkpoints: {what}")


# --- reading --------------------------------------------------------------------------------------------------------


def load(path: Path | str) -> Loaded:
    """A run's workdir (its newest readable checkpoint), or one checkpoint's folder -> what prediction needs.

    Raises FileNotFoundError where there is nothing, ValueError for a folder that is no checkpoint.
    """
    path = Path(path).absolute()
    if not path.exists():
        raise NotFound(f"{path}: no such checkpoint; give a run's folder or one of its checkpoints/<step>")
    if (path / FINISHED).exists():
        about, state = read(path)
    else:
        folder = path / "checkpoints" if steps(path / "checkpoints") else path
        if not steps(folder):
            raise UserError(f"{path}: holds no checkpoint; give a run's folder or one of its checkpoints/<step>")
        about, state = newest(folder)
    try:
        resolved = config.from_json(json.dumps(about["config"]))
    except UserError as error:
        raise UserError(f"{path}: a checkpoint whose config does not hold, {error}") from None
    return Loaded(resolved, jax.tree.map(np.asarray, evaluated(state, resolved)), int(about["step"]))


def evaluated(state: dict[str, Any], config_: config.Config) -> Any:
    """What is evaluated of a state (as a dict): the running average, or the parameters and statistics themselves."""
    if config_.schedule.ema > 0:
        return state["average"]
    return {"params": state["params"], "batch_stats": state["batch_stats"]}


def newest(folder: Path, like: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """`read` of the newest checkpoint in `folder`; damaged ones are skipped with a warning.

    ValueError where all are damaged, or where it does not fit `like`.
    """
    found = steps(folder)
    for step in reversed(found):
        try:
            return read(folder / str(step), like)
        except Damaged as error:
            warnings.warn(f"{error}; it is skipped", stacklevel=2)
    raise UserError(f"{folder}: none of the checkpoints {found} can be read; take another run's folder, or start anew")


def read(folder: Path, like: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What one checkpoint holds: `about` (config, skeleton, step, ..) and the state, as a dict.

    The state comes in the places of `like`, a state of shapes, or on one device.  Raises `Damaged`, and ValueError for
    a checkpoint of another model, every difference listed.
    """
    devices.check()
    damaged = f"{folder}: damaged or not written by inspose"
    if lost := changed_files(folder):
        raise Damaged(
            f"{folder}: damaged, {', '.join(lost)} {'is' if len(lost) == 1 else 'are'} gone, changed or not to be read"
        )
    try:
        about = read_about(folder)
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
            stored = stored_shapes(reader, folder)
            differing = [] if like is None else differences(as_dict(like), stored)
            wanted = stored if like is None else as_dict(like)
            state = None if differing else reader.restore(folder / "state", args=ocp.args.StandardRestore(wanted))
    except Exception as error:  # orbax raises many types, Exception itself among them
        raise Damaged(f"{damaged} ({reason(error)})") from None
    if not about.keys() >= {"config", "skeleton", "step"}:
        raise Damaged(damaged)
    known = SKELETONS.get(about["skeleton"]["name"])
    if known is None or list(known.keypoint_names) != about["skeleton"]["keypoint_names"]:
        raise UserError(
            f"{folder}: made for the skeleton {about['skeleton']['name']}, which this version does not know (joints "
            f"{', '.join(about['skeleton']['keypoint_names'])}); take the version that wrote it"
        )
    if state is None:
        raise UserError(
            f"{folder}: a checkpoint of another model, {'; '.join(differing)}; take a workdir of this config's own"
        )
    return about, state


def read_about(folder: Path) -> dict[str, Any]:
    """Config, skeleton, step, and what else was saved beside the state."""
    # Orbax keeps JSON in a file `metadata`. Its own reader waits for the other processes, and one may ask this alone.
    return json.loads((folder / "about" / "metadata").read_text())


def told_of_best(folder: Path, what: str) -> Any:
    """What was saved beside the newest checkpoint in a folder of best ones; None where that cannot be read."""
    for step in reversed(steps(folder)):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return read_about(folder / str(step)).get(what)
    return None


def best_value(folder: Path) -> float:
    """The first statistic of the checkpoint in a folder of best ones; -inf where none can be read."""
    statistics = told_of_best(folder, "statistics")
    return next(iter(statistics.values()), -math.inf) if isinstance(statistics, dict) else -math.inf


def stored_shapes(reader: ocp.Checkpointer, folder: Path) -> Any:
    """Shapes of the stored state, without the devices it was stored from: they need not be here."""
    stored: Any = reader.metadata(folder / "state")
    one = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=one), stored.item_metadata.tree)


def differences(wanted: Any, found: Any) -> list[str]:
    """`name: f32[3,3] wanted, f32[1,3] found` for every leaf of two trees that differs, or that only one has."""

    def leaves(tree: Any) -> dict[str, str]:
        return {
            jax.tree_util.keystr(path, simple=True, separator="/"): f"{x.dtype}{list(x.shape)}"
            for path, x in jax.tree_util.tree_leaves_with_path(tree)
        }

    one, other = leaves(wanted), leaves(found)
    return [
        f"{name}: {one.get(name, 'nothing')} wanted, {other.get(name, 'nothing')} found"
        for name in sorted({**one, **other})
        if one.get(name) != other.get(name)
    ]


# --- seals ----------------------------------------------------------------------------------------------------------


def changed_files(folder: Path) -> list[str]:
    """Files of a checkpoint that are gone, cannot be read or hold something else.

    None where there is no seal, as in early versions.
    """
    if not (folder / SEAL).is_file():
        return []
    try:
        sealed = json.loads((folder / SEAL).read_text())
    except (ValueError, OSError):
        return [SEAL]

    def is_changed(name: str) -> bool:
        try:
            return checksum(folder / name) != sealed[name]
        except OSError:
            return True

    return [name for name in sealed if is_changed(name)]


def checksums(folder: Path) -> dict[str, int]:
    """Checksum of every file in the folders of a checkpoint; beside them orbax keeps its own, changed as it ends."""
    files = (path for path in sorted(folder.glob("*/**/*")) if path.is_file())
    return {str(path.relative_to(folder)): checksum(path) for path in files}


def checksum(path: Path) -> int:
    """CRC-32 of a file's content."""
    return zlib.crc32(path.read_bytes())

"""Checkpoints that are complete in themselves: parameters, statistics, optimizer, step, config and skeleton.

One folder a step under `<workdir>/checkpoints`, written by orbax: a step that was not written to its end is not there.
Its files are sealed with checksums (`seals.py`), so that a damaged one is known before anything is read of it.
"""

import contextlib
import json
import logging
import math
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp

from inspose_jax import config_json, devices, paths, processes, provenance, run_folder, seals
from inspose_jax.config import Config
from inspose_jax.errors import NotFound, NotWritten, UserError
from inspose_jax.method import Method, of_recipe
from inspose_jax.recipes import Recipe

KEPT = 2  # the newest, and the one before in case the newest is lost
FINISHED = "commit_success.txt"
UNFINISHED = ".orbax-checkpoint-tmp"
Found = TypeVar("Found")
AGAIN_AFTER = 1.0  # seconds before a checkpoint that could not be read is read once more


class Unreadable(UserError):
    """A checkpoint that was finished and cannot be read now; another one may be."""


class Damaged(Unreadable):
    """One whose seal or files say that it is not what was written."""


class Loaded(NamedTuple):
    """What prediction needs of a checkpoint."""

    config: Config
    method: Method
    variables: Any  # {"params": .., "batch_stats": ..}, the running average if the run kept one; numpy
    step: int


class Checkpoints:
    """The checkpoints of one run, in `folder`, the newest `kept` of them; close it (or use `with`), so that all ends.

    The run is at step `start`. Later steps that are there could not be read, or will be made again: they are set
    aside, and nothing that was finished is deleted but what `kept` lets go.
    OSError where one cannot be written: what was saved before stays, and nothing half-written.
    """

    def __init__(self, folder: Path, start: int, kept: int = KEPT):
        self.folder, self.kept = paths.absolute(folder), kept
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

    def save(self, step: int, state: Any, config: Config, recipe: dict[str, str] | None = None, **more: Any) -> None:
        """Write `state`, a pytree of arrays, in the background; the arrays may be donated as soon as this returns.

        `recipe` is that of `Method`; `more` is kept beside the config too, as JSON.
        """
        self.finish()
        self.make_sure_of_space(step, state)
        about = {
            "config": config_json.to_dict(config),
            "recipe": recipe,
            "step": step,
            "written_by": provenance.about(),
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
            seals.write(unfinished)

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
    code = system_code(error)
    return os.strerror(code) if code else type(error).__name__


def system_code(error: Exception) -> int:
    """The number of the system's error that tensorstore tells of in its text; 0 where it tells of none."""
    found = re.search(r"os_error_code='(\d+)'", str(error))
    return int(found[1]) if found else 0


# --- a folder of checkpoints ----------------------------------------------------------------------------------------


def steps(folder: Path) -> list[int]:
    """Finished steps in a folder of checkpoints, oldest first; a stray empty folder named like one is none."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(path.name) for path in found if path.name.isdigit() and (path / FINISHED).exists())


def tidy(folder: Path, start: int) -> None:
    """Remove what killed saves left behind; set aside what is no finished step, and every step later than `start`."""
    if processes.is_first() and folder.is_dir():
        remove_unfinished(folder)
        finished = {str(step): step for step in steps(folder)}
        for path in list(folder.iterdir()):
            if path.name.isdigit() and finished.get(path.name, start + 1) > start:
                set_aside(path)
    processes.wait_for_all("tidy")


def remove_unfinished(folder: Path) -> None:
    """Remove what orbax writes before it gives a step its name."""
    for path in folder.glob(f"*{UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)


def set_aside(path: Path) -> Path:
    """Rename a folder, so that it is nobody's step any more and nothing in it is lost; gives back where it is."""
    names = (path.with_name(f"{path.name}.aside{number or ''}") for number in count())
    return path.rename(next(name for name in names if not name.exists()))


# --- reading --------------------------------------------------------------------------------------------------------


def load(path: Path | str, recipe: Recipe | None = None) -> Loaded:
    """A run's workdir (its newest readable checkpoint), or one checkpoint's folder -> what prediction needs.

    `recipe` is the one that the run was trained with, where that has a method of its own: a checkpoint executes none.
    Raises FileNotFoundError where there is nothing, UserError for a folder that is no checkpoint, or one of another
    recipe.
    """
    path = paths.absolute(path)
    if not path.exists():
        raise NotFound(f"{path}: no such checkpoint; give a run's folder or one of its checkpoints/<step>")
    if (path / FINISHED).exists():
        about, state = read(path)
    else:
        inner = path / run_folder.CHECKPOINTS
        folder = inner if steps(inner) else path
        if not steps(folder):
            raise UserError(f"{path}: holds no checkpoint; give a run's folder or one of its checkpoints/<step>")
        about, state = newest(folder)
    check_recipe(path, about.get("recipe"), recipe)
    try:
        config = config_json.from_dict(about["config"], type(recipe.config.model) if recipe else None)
    except config_json.OtherFields as error:
        raise UserError(f"{path}: {provenance.of_another(str(error), about.get('written_by', {}))}") from None
    except UserError as error:
        raise UserError(f"{path}: a checkpoint whose config does not hold, {error}") from None
    method = of_recipe(recipe, config.model)
    return Loaded(config, method, jax.tree.map(np.asarray, evaluated(state, config)), int(about["step"]))


def check_recipe(path: Path, stored: dict[str, str] | None, given: Recipe | None) -> None:
    """UserError where a checkpoint needs another recipe than the one given, or than none."""
    if stored is None:
        if given is not None and given.make_method is not None:
            raise UserError(f"{path}: was not trained with a method of a recipe's own; leave out {given.path}")
        return
    if given is None:
        raise UserError(
            f"{path}: was trained with a method of its own, that of the recipe {stored['name']}, and a checkpoint "
            f"executes no code; give the file again with --recipe (in Python, load(path, recipe=FILE))"
        )
    if given.sha256 != stored["sha256"]:
        raise UserError(
            f"{path}: was trained with the recipe {stored['name']} as it was then, and {given.path} has another text; "
            f"give that one, which the checkpoint keeps in about/metadata under recipe, text"
        )


def evaluated(state: dict[str, Any], config: Config) -> Any:
    """What is evaluated of a state (as a dict): the running average, or the parameters and statistics themselves."""
    if config.schedule.ema > 0:
        return state["average"]
    return {"params": state["params"], "batch_stats": state["batch_stats"]}


def newest(folder: Path, like: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """`read` of the newest checkpoint in `folder`; those that cannot be read are skipped with a warning.

    UserError where none can be read, or where it does not fit `like`.
    """
    found, passing = steps(folder), None
    for step in reversed(found):
        try:
            return read(folder / str(step), like)
        except Unreadable as error:
            passing = passing if isinstance(error, Damaged) else error
            warnings.warn(f"{error}; it is skipped", stacklevel=2)
    if passing is not None:
        raise UserError(f"{folder}: no checkpoint can be read; {passing}. Try again when it can")
    raise UserError(f"{folder}: none of the checkpoints {found} can be read; take another run's folder, or start anew")


def read(folder: Path, like: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What one checkpoint holds: `about` (config, skeleton, step, ..) and the state, as a dict.

    The state comes in the places of `like`, a state of shapes, or on one device.  A second try, since a network disk
    may fail once; then `Damaged` or `Unreadable`.  UserError for a checkpoint of another model, every difference
    listed; what jax's devices raise is raised as it is.
    """
    folder = paths.absolute(folder)  # orbax wants no other
    devices.check()
    return second_try(lambda: read_once(folder, like))


def second_try(read: Callable[[], Found]) -> Found:
    """What `read` gives, at once or a moment after it raised `Unreadable`."""
    try:
        return read()
    except Unreadable:
        time.sleep(AGAIN_AFTER)
        return read()


def read_once(folder: Path, like: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """`read` without its second try."""
    about = read_intact_about(folder)
    with explained(folder), ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        stored = stored_shapes(reader, folder)
        differing = [] if like is None else differences(as_dict(like), stored)
        wanted = stored if like is None else as_dict(like)
        state = None if differing else reader.restore(folder / "state", args=ocp.args.StandardRestore(wanted))
    if not about.keys() >= {"config", "step"}:
        raise Damaged(f"{folder}: damaged or not written by inspose")
    if state is None:
        raise UserError(
            f"{folder}: a checkpoint of another model, {'; '.join(differing)}; take a workdir of this config's own"
        )
    return about, state


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """What fails while a checkpoint is read, named as what it is.

    Damage is what its seal or its files say; a system's error is one, and may pass; what jax's devices raise, such as
    RESOURCE_EXHAUSTED, stays as it is.  So does everything else where the seal is intact: then it is a bug.
    """
    log = logging.getLogger("absl")
    log.addFilter(is_not_of_orbax)
    try:
        yield
    except (UserError, MemoryError, jax.errors.JaxRuntimeError):
        raise
    except seals.GONE as error:
        raise Damaged(f"{folder}: damaged or not written by inspose ({reason(error)})") from error
    except Exception as error:  # orbax raises many types, Exception itself among them
        if isinstance(error, OSError) or system_code(error):
            raise Unreadable(f"{folder}: cannot be read at the moment ({reason(error)})") from error
        if seals.is_sealed(folder):
            raise
        raise Damaged(f"{folder}: damaged or not written by inspose ({reason(error)})") from error
    finally:
        log.removeFilter(is_not_of_orbax)


def is_not_of_orbax(record: logging.LogRecord) -> bool:
    """Keeps back what orbax logs while it reads, a screen of text where it fails: that is raised too, and said once."""
    return "orbax" not in record.pathname


def read_intact_about(folder: Path) -> dict[str, Any]:
    """Config, skeleton, step, and what else was saved beside the state of a checkpoint whose seal is intact."""
    with explained(folder):
        if lost := seals.changed_files(folder):
            others = f" and {len(lost) - 1} other files are" if len(lost) > 1 else " is"
            raise Damaged(f"{folder}: damaged, {lost[0]}{others} gone or changed")
        # Orbax keeps JSON in a file `metadata`; its own reader waits for the other processes, and one may ask alone.
        return json.loads((folder / "about" / "metadata").read_text())


def about_best(folder: Path) -> dict[str, Any]:
    """What was saved beside the checkpoint in a folder of best ones; empty where there is none.

    One that cannot be read is set aside with a warning: the next best one would replace it.
    """
    for step in reversed(steps(folder)):
        path = folder / str(step)
        try:
            return second_try(lambda path=path: read_intact_about(path))
        except Unreadable as error:
            warnings.warn(f"{error}; it is {set_aside(path).name} from here on", stacklevel=2)
    return {}


def best_value(folder: Path) -> float:
    """The first statistic of the checkpoint in a folder of best ones, -inf where there is none; as `about_best`."""
    statistics = about_best(folder).get("statistics")
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

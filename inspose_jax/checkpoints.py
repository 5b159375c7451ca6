"""Self-contained checkpoints: parameters, batch statistics, optimiser state, step, config and skeleton.

Orbax writes one folder per step under `<workdir>/checkpoints`; a step that was not written completely does not appear
there.  Its files are sealed with checksums (`seals.py`), so that damage is detected before anything is restored.
"""

import contextlib
import hashlib
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
from inspose_jax.method import Method
from inspose_jax.methods import from_recipe
from inspose_jax.recipes import Recipe

KEPT = 2  # the newest, and the one before it in case the newest is lost
FILE_SIZE = 2**23  # bytes; orbax keeps in memory what is not yet in a file, and would fill one up to 2 GB
FINISHED = "commit_success.txt"
UNFINISHED = ".orbax-checkpoint-tmp"
Found = TypeVar("Found")
AGAIN_AFTER = 1.0  # seconds to wait before reading an unreadable checkpoint a second time


class Unreadable(UserError):
    """A finished checkpoint that cannot be read now; another checkpoint may still be readable."""


class Damaged(Unreadable):
    """A checkpoint whose seal or files show that its content is not what was written."""


class NeedsRecipe(UserError):
    """A checkpoint of a recipe's own method, which only that recipe's file can bring back."""


class Loaded(NamedTuple):
    """The contents of a checkpoint that prediction needs."""

    config: Config
    method: Method
    variables: Any  # {"params": .., "batch_stats": ..} as numpy arrays; the running average if the run kept one
    step: int
    about: dict[str, Any]  # all that is saved beside the state


class Checkpoints:
    """The newest `kept` checkpoints of one run, in `folder`; a context manager that waits for the last save.

    The run starts or resumes at step `start`.  Finished checkpoints of later steps were unreadable or will be written
    again, so they are renamed rather than deleted.  The only finished checkpoints that are ever deleted are those
    that are older than the newest `kept`.
    Raises NotWritten, an OSError, if a checkpoint cannot be written; earlier checkpoints stay intact and no partial
    one remains.
    """

    def __init__(self, folder: Path, start: int, kept: int = KEPT):
        self.folder, self.kept = paths.absolute(folder), kept
        self.manager: ocp.CheckpointManager | None = None  # created by the first save
        self.writing: int | None = None  # the step that is being written
        tidy(self.folder, start)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self.manager is None:
            return
        if kind is None:
            self.finish()
        elif jax.process_count() == 1:  # among several processes, this would wait for one that has already died
            # The user should see the error that ended the run, not that its last save failed too.
            with contextlib.suppress(OSError):
                self.finish()
        else:
            return
        self.manager.close()

    def save(self, step: int, state: Any, config: Config, recipe: dict[str, str] | None = None, **more: Any) -> None:
        """Write `state`, a pytree of arrays, in the background.

        Arrays of jax may be donated as soon as this returns; those of numpy must stay unchanged until `finish`.
        `recipe` is `Method.recipe`; `more` is saved as JSON beside the config.
        """
        self.finish()
        self.check_space(step, state)
        about = {
            "config": config_json.to_dict(config),
            "recipe": recipe,
            "step": step,
            "written_by": provenance.about(),
            **more,
        }
        # A process that is alone copies every array from one of its devices.  Orbax would divide each over all devices
        # that hold it, which takes longer; between processes it shares out the writing so.
        arrays = on_host(as_dict(state)) if jax.process_count() == 1 else as_dict(state)
        items = ocp.args.Composite(
            state=ocp.args.PyTreeSave(arrays, ocdbt_target_data_file_size=FILE_SIZE), about=ocp.args.JsonSave(about)
        )
        self.writing = step
        with self.as_not_written():
            if self.manager is None:
                sealing = ocp.AsyncOptions(post_finalization_callback=self.seal)
                # Processes synchronise on barriers by name; the prefix lets two folders be written at the same time.
                apart = ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=self.folder.name)
                options = ocp.CheckpointManagerOptions(
                    max_to_keep=self.kept, create=True, async_options=sealing, multiprocessing_options=apart
                )
                handlers = {"state": state_handler(), "about": ocp.JsonCheckpointHandler()}
                self.manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=handlers)
            written = self.manager.save(step, args=items)
        assert written, f"{self.folder}: step {step} or a later one is saved already"

    def check_space(self, step: int, state: Any) -> None:
        """Raise NotWritten, before anything is written, if the disk lacks the space for the whole checkpoint."""
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        present = next(folder for folder in (self.folder, *self.folder.parents) if folder.exists())
        free = shutil.disk_usage(present).free
        if free < needed:
            raise NotWritten(
                f"{self.folder}: step {step} needs {needed / 1e6:.1f} MB, of which {free / 1e6:.1f} MB are free; what "
                f"was saved before is intact. Free some space, and continue with --resume"
            )

    def finish(self) -> None:
        """Wait until the last save is on disk."""
        if self.manager is not None and self.writing is not None:
            with self.as_not_written():
                self.manager.wait_until_finished()
            self.writing = None

    def seal(self) -> None:
        """Write the checksums of the saved files; orbax calls this before it renames the folder to its final name."""
        for unfinished in self.folder.glob(f"{self.writing}{UNFINISHED}*"):
            seals.write(unfinished)

    @contextlib.contextmanager
    def as_not_written(self) -> Any:
        """Turn any error while writing into NotWritten, which says what is left, and remove the partial checkpoint."""
        try:
            yield
        except Exception as error:  # orbax raises many types of exception
            step, self.writing = self.writing, None
            remove_unfinished(self.folder)
            raise NotWritten(
                f"{self.folder}: step {step} could not be saved ({reason(error)}); what was saved before is intact. "
                f"Remove the cause, and continue with --resume"
            ) from error


def as_dict(state: Any) -> dict[str, Any]:
    """A named tuple as a dict, so that a checkpoint can be read without our types."""
    return dict(state._asdict())


def on_host(state: Any) -> Any:
    """The arrays of a state as numpy's; those of jax are copied, since a CPU's would share the device's memory."""
    fetched = jax.device_get(state)
    return jax.tree.map(lambda x, host: (np.array if isinstance(x, jax.Array) else np.asarray)(host), state, fetched)


def state_handler() -> ocp.PyTreeCheckpointHandler:
    """What writes a state; unlike orbax's own it does not copy the arrays of numpy, which would double the memory."""
    arrays = ocp.type_handlers.get_type_handler(jax.Array)
    handlers = (np.ndarray, ocp.type_handlers.NumpyHandler(deepcopy_host_arrays=False)), (jax.Array, arrays)
    return ocp.PyTreeCheckpointHandler(type_handler_registry=ocp.type_handlers.create_type_handler_registry(*handlers))


def reason(error: Exception) -> str:
    """Why a file could not be written or read: the operating system's message if there is one."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    code = system_code(error)
    return os.strerror(code) if code else type(error).__name__


def system_code(error: Exception) -> int:
    """The operating system's error number that tensorstore puts into its message; 0 if it contains none."""
    found = re.search(r"os_error_code='(\d+)'", str(error))
    return int(found[1]) if found else 0


# --- a folder of checkpoints ----------------------------------------------------------------------------------------


def steps(folder: Path) -> list[int]:
    """The finished steps in a folder of checkpoints, oldest first; an empty folder named like a step does not count."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(path.name) for path in found if path.name.isdigit() and is_finished(path))


def is_finished(folder: Path) -> bool:
    """Whether a folder is a checkpoint that was written completely."""
    return (folder / FINISHED).exists()


def tidy(folder: Path, start: int) -> None:
    """Remove the remains of killed saves; set aside unfinished steps and every step later than `start`."""
    if processes.is_first() and folder.is_dir():
        remove_unfinished(folder)
        finished = {str(step): step for step in steps(folder)}
        for path in list(folder.iterdir()):
            if path.name.isdigit() and finished.get(path.name, start + 1) > start:
                set_aside(path)
    processes.wait_for_all("tidy")


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary folders that orbax writes before it renames them to their steps.

    Other threads of a save that failed may still add files, so this is repeated for up to two seconds.
    """
    for _ in range(20):
        unfinished = list(folder.glob(f"*{UNFINISHED}*"))
        if not unfinished:
            return
        for path in unfinished:
            shutil.rmtree(path, ignore_errors=True)
        time.sleep(0.1)


def set_aside(path: Path) -> Path:
    """Rename a folder, so that it no longer counts as a step but loses nothing, and return its new path."""
    names = (path.with_name(f"{path.name}.aside{number or ''}") for number in count())
    return path.rename(next(name for name in names if not name.exists()))


# --- reading --------------------------------------------------------------------------------------------------------


def holds(path: Path) -> bool:
    """Whether a folder is a finished checkpoint, a folder of them, or the workdir of a run that has one."""
    return is_finished(path) or bool(steps(path / run_folder.CHECKPOINTS) or steps(path))


def load(path: Path | str, recipe: Recipe | None = None, raw: bool = False) -> Loaded:
    """Load what prediction needs, from a run's workdir (its newest readable checkpoint) or one checkpoint's folder.

    `recipe` is the recipe that the run was trained with.  It must be given if it defines its own method, since a
    checkpoint never executes code.  `raw` asks for the parameters even if the run kept their running average.
    Raises NotFound, a FileNotFoundError, if the path does not exist, and UserError if the folder is no checkpoint or
    the checkpoint belongs to another recipe.
    """
    path = paths.absolute(path)
    folder = find(path)
    about, state = read(folder) if is_finished(folder) else newest(folder)
    check_recipe(path, about.get("recipe"), recipe)
    try:
        config = config_json.from_dict(about["config"], type(recipe.config.model) if recipe else None)
    except config_json.OtherFields as error:
        raise UserError(f"{path}: {provenance.other_version(str(error), about.get('written_by', {}))}") from None
    except UserError as error:
        raise UserError(f"{path}: the checkpoint's config is invalid: {error}") from None
    method = from_recipe(recipe, config.model)
    variables = jax.tree.map(np.asarray, evaluated(state, config, raw))
    return Loaded(config, method, variables, int(about["step"]), about)


def find(path: Path) -> Path:
    """The folder that `load` reads: that of one checkpoint, or of all checkpoints of a run; raises as `load` does."""
    if not path.exists():
        raise NotFound(f"{path}: no such checkpoint; give a run's folder or one of its checkpoints/<step>")
    if not holds(path):
        raise UserError(f"{path}: holds no checkpoint; give a run's folder or one of its checkpoints/<step>")
    inner = path / run_folder.CHECKPOINTS
    return inner if steps(inner) else path


def identity(path: Path) -> str:
    """A hash, 64 hexadecimal digits, of the files of the checkpoint that `load` reads; raises as it does."""
    folder = find(paths.absolute(path))
    checkpoint = folder if is_finished(folder) else folder / str(steps(folder)[-1])
    return hashlib.sha256(json.dumps(seals.checksums(checkpoint)).encode()).hexdigest()


def check_recipe(path: Path, stored: dict[str, str] | None, given: Recipe | None) -> None:
    """Raise UserError unless the given recipe, or None, is the one that the checkpoint needs.

    If it is missing, the error is `NeedsRecipe`.
    """
    if stored is None:
        if given is not None and given.make_method is not None:
            raise UserError(f"{path}: was not trained with a recipe's own method; leave out {given.path}")
        return
    if given is None:
        raise NeedsRecipe(
            f"{path}: was trained with the method of the recipe {stored['name']}, and a checkpoint runs no code; give "
            f"the recipe's file with --recipe (in Python, load(path, recipe=FILE))"
        )
    if given.sha256 != stored["sha256"]:
        raise UserError(
            f"{path}: was trained with the recipe {stored['name']}, but {given.path} differs from it; "
            f"give the original file, whose text the checkpoint keeps in about/metadata under recipe, text"
        )


def evaluated(state: dict[str, Any], config: Config, raw: bool = False) -> Any:
    """The variables of a state (as a dict) to evaluate: the running average, or else the parameters and statistics.

    `raw` asks for the latter in any case.
    """
    if config.schedule.ema > 0 and "average" in state and not raw:  # imported weights have only the average
        return state["average"]
    return {"params": state["params"], "batch_stats": state["batch_stats"]}


def newest(folder: Path, like: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """`read` the newest readable checkpoint in `folder`; unreadable ones are skipped with a warning.

    Raises UserError if none can be read, or if the newest readable one does not fit `like`.
    """
    found, passing = steps(folder), None
    for step in reversed(found):
        try:
            return read(folder / str(step), like)
        except Unreadable as error:
            passing = passing if isinstance(error, Damaged) else error
            warnings.warn(f"{error}; it is skipped", stacklevel=2)
    if passing is not None:
        raise UserError(f"{folder}: no checkpoint can be read; {passing}. Try again later")
    raise UserError(
        f"{folder}: none of the checkpoints {found} can be read; use another run's folder, or start a new run"
    )


def read(folder: Path, like: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The contents of one checkpoint: `about` (config, skeleton, step, ..) and the state, as a dict.

    The state is restored with the shardings of `like`, a state of shapes, or without one onto a single device.  A
    failed read is tried a second time, since a network disk may fail once; after that it raises `Damaged` or
    `Unreadable`.  Raises UserError, listing every difference, for a checkpoint of another model; errors of jax's
    devices pass through unchanged.
    """
    folder = paths.absolute(folder)  # orbax accepts only absolute paths
    devices.check()
    return retry_once(lambda: read_once(folder, like))


def retry_once(read: Callable[[], Found]) -> Found:
    """Call `read`, and once more after `AGAIN_AFTER` seconds if it raises `Unreadable`."""
    try:
        return read()
    except Unreadable:
        time.sleep(AGAIN_AFTER)
        return read()


def read_once(folder: Path, like: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """`read` without the second try."""
    about = read_intact_about(folder)
    with as_unreadable(folder), ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        stored = stored_shapes(reader, folder)
        differing = [] if like is None else differences(as_dict(like), stored)
        wanted = stored if like is None else as_dict(like)
        state = None if differing else reader.restore(folder / "state", args=ocp.args.StandardRestore(wanted))
    if not about.keys() >= {"config", "step"}:
        raise Damaged(f"{folder}: damaged or not written by inspose")
    if state is None:
        raise UserError(
            f"{folder}: a checkpoint of another model: {'; '.join(differing)}; use another workdir for this config"
        )
    return about, state


@contextlib.contextmanager
def as_unreadable(folder: Path) -> Iterator[None]:
    """Translate errors raised while a checkpoint is read.

    If its seal or files show damage, raises `Damaged`.  An error of the operating system may be temporary and becomes
    `Unreadable`.  Errors of jax's devices, such as RESOURCE_EXHAUSTED, pass through unchanged.  So does any other
    error where the checkpoint has a seal: its files are known to be intact, so the error is a bug.
    """
    log = logging.getLogger("absl")
    log.addFilter(is_not_from_orbax)
    try:
        yield
    except (UserError, MemoryError, jax.errors.JaxRuntimeError):
        raise
    except seals.GONE as error:
        raise Damaged(f"{folder}: damaged or not written by inspose ({reason(error)})") from error
    except Exception as error:  # orbax raises many types of exception, including plain Exception
        if isinstance(error, OSError) or system_code(error):
            raise Unreadable(f"{folder}: cannot be read at the moment ({reason(error)})") from error
        if seals.is_sealed(folder):
            raise
        raise Damaged(f"{folder}: damaged or not written by inspose ({reason(error)})") from error
    finally:
        log.removeFilter(is_not_from_orbax)


def is_not_from_orbax(record: logging.LogRecord) -> bool:
    """Filter out orbax's log records: a failed read logs a screen of text, although it also raises an error."""
    return "orbax" not in record.pathname


def read_intact_about(folder: Path) -> dict[str, Any]:
    """The config, skeleton, step and all else saved beside the state; raises `Damaged` if the seal does not match."""
    with as_unreadable(folder):
        if lost := seals.changed_files(folder):
            others = f" and {len(lost) - 1} other files are" if len(lost) > 1 else " is"
            raise Damaged(f"{folder}: damaged: {lost[0]}{others} missing or changed")
        # Orbax keeps the JSON in a file `metadata`.  Its own reader would wait for the other processes, but a single
        # process may call this.
        return json.loads((folder / "about" / "metadata").read_text())


def about_best(folder: Path) -> dict[str, Any]:
    """What was saved beside the state of the best checkpoint in `folder`; empty if there is none.

    An unreadable checkpoint is set aside with a warning, since the next best one would otherwise replace it.
    """
    for step in reversed(steps(folder)):
        path = folder / str(step)
        try:
            return retry_once(lambda path=path: read_intact_about(path))
        except Unreadable as error:
            warnings.warn(f"{error}; it is kept as {set_aside(path).name}", stacklevel=2)
    return {}


def best_value(folder: Path) -> float:
    """The first statistic of the best checkpoint in `folder`, read with `about_best`; -inf if there is none."""
    statistics = about_best(folder).get("statistics")
    return next(iter(statistics.values()), -math.inf) if isinstance(statistics, dict) else -math.inf


def stored_shapes(reader: ocp.Checkpointer, folder: Path) -> Any:
    """Shapes of the stored state, all on one local device: the devices it was saved from may not exist here."""
    stored: Any = reader.metadata(folder / "state")
    one = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=one), stored.item_metadata.tree)


def differences(wanted: Any, found: Any) -> list[str]:
    """`name: f32[3,3] expected, f32[1,3] found` for every leaf that differs or that only one of the trees has."""

    def leaves(tree: Any) -> dict[str, str]:
        return {
            jax.tree_util.keystr(path, simple=True, separator="/"): f"{x.dtype}{list(x.shape)}"
            for path, x in jax.tree_util.tree_leaves_with_path(tree)
        }

    one, other = leaves(wanted), leaves(found)
    return [
        f"{name}: {one.get(name, 'nothing')} expected, {other.get(name, 'nothing')} found"
        for name in sorted({**one, **other})
        if one.get(name) != other.get(name)
    ]

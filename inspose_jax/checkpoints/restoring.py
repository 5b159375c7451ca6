"""Read checkpoints back: one, the newest that can be read, or the best; damage is told from a passing fault."""

import contextlib
import json
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp

from inspose_jax import devices, paths
from inspose_jax.checkpoints import seals
from inspose_jax.checkpoints.folder import set_aside, steps
from inspose_jax.checkpoints.system_errors import reason, system_code
from inspose_jax.errors import UserError

AGAIN_AFTER = 1.0  # seconds to wait before reading an unreadable checkpoint a second time
Found = TypeVar("Found")


class Unreadable(UserError):
    """A finished checkpoint that cannot be read now; another checkpoint may still be readable."""


class Damaged(Unreadable):
    """A checkpoint whose seal or files show that its content is not what was written."""


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
    """The contents of one checkpoint: `about` (config, step, ..) and the state, as a dict.

    The state is restored with the shardings of `like`, a state of shapes; without one, all but the optimizer's part of
    it, which only training needs, onto a single device.  A failed read is tried a second time, since a network disk may
    fail once; after that it raises `Damaged` or `Unreadable`.  Raises UserError, listing every difference, for a
    checkpoint of another model; errors of jax's devices pass through unchanged.
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
    with as_unreadable(folder), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        stored = stored_shapes(reader, folder)
        differing = [] if like is None else differences(like._asdict(), stored)
        wanted = stored if like is None else dict(like._asdict())
        if like is None:
            wanted.pop("optimizer", None)
        shardings = ocp.checkpoint_utils.construct_restore_args(wanted)
        only_wanted = ocp.args.PyTreeRestore(wanted, shardings, partial_restore=True)
        state = None if differing else reader.restore(folder / "state", args=only_wanted)
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
    """The config, the step and all else that is saved beside the state; raises `Damaged` if the seal does not match."""
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

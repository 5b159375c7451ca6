"""Write results completely or not at all; a failed write leaves nothing behind."""

import contextlib
import fcntl
import glob
import os
import secrets
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from inspose_jax.errors import UserError

PARTIAL = ".partial"  # how the name of a temporary folder ends


@contextlib.contextmanager
def results_folder(folder: Path | None) -> Iterator[None]:
    """Create a folder for results before the work begins; if the work fails and the folder is empty, remove it again.

    None stands for no folder.  Raises UserError if the folder cannot be created or is not writable.
    """
    made = [] if folder is None else [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        if folder is not None:
            with as_user_error(f"{folder}: cannot be a folder for results", *made, folder):
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    pass  # shows now, not after the work is done, whether the folder is writable
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # a folder that is not empty stays
            for place in made:
                place.rmdir()
        raise


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill, which becomes `folder` on success and is removed on failure.

    If the process is killed, the temporary folder stays, under a hidden name, and the next call with the same `folder`
    removes it.  Raises UserError if `folder` already holds something or cannot be written.
    """
    refuse_filled(folder)
    target, place, before = places_of(folder)
    exists = place == target
    # An existing empty folder is not replaced: it may be a shell's current folder or the mount point of a disk.
    with results_folder(place), as_user_error(f"{folder}: cannot be written", place):
        partial = Path(tempfile.mkdtemp(prefix=before, suffix=PARTIAL, dir=place))
        in_use = os.open(partial, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(in_use, fcntl.LOCK_EX)
            partial.chmod(0o755)  # mkdtemp makes a folder that only its owner can access
            yield partial
            if exists:
                for path in list(partial.iterdir()):
                    path.rename(target / path.name)
            else:
                partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            os.close(in_use)


def refuse_filled(folder: Path) -> None:
    """Raise UserError if `folder` holds something else than what a killed process left, which is removed.

    A command calls it before it reads what it will write there.
    """
    target, place, before = places_of(folder)
    for left in place.glob(f"{glob.escape(before)}*{PARTIAL}"):
        remove_abandoned(left)
    is_empty = target.is_dir() and not any(target.iterdir())
    if not is_empty and (target.exists() or target.is_symlink()):
        raise UserError(f"{folder}: already exists; give a new or empty folder")


def refuse_among_images(target: Path, folders: Iterable[Path], option: str) -> None:
    """Raise UserError if `target` lies in or below a folder that holds images of a dataset, which is never changed.

    The message names a place beside the dataset, as a value of `option`: two folders above, since a file of labels
    often lies between.
    """
    holding = {folder.resolve() for folder in folders}
    if around := [folder for folder in target.resolve().parents if folder in holding]:
        free = around[-1].parent.parent / target.name
        free = free if target.is_absolute() else Path(os.path.relpath(free))
        raise UserError(
            f"{target}: is in a folder of images, which is never changed; choose another place, such as {option} "
            f"{shlex.quote(str(free))}"
        )


def places_of(folder: Path) -> tuple[Path, Path, str]:
    """The folder without symbolic links, where its temporary folder belongs, and how the name of that begins."""
    target = Path(os.path.realpath(folder))  # so that a symbolic link remains one
    return target, target if target.is_dir() else target.parent, f".{target.name}."


def remove_abandoned(partial: Path) -> None:
    """Remove a temporary folder of `new_folder`, unless the process that fills it is alive and holds the lock."""
    with contextlib.suppress(OSError):  # locked, or removed by somebody else meanwhile
        in_use = os.open(partial, os.O_RDONLY)
        try:
            fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(partial)
        finally:
            os.close(in_use)


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`, with the same suffix, which replaces `path` on success.

    Readers therefore never see a partial file, and an existing file stays until the new one is complete.  On failure
    the temporary file is removed.  Raises UserError if `path` cannot be written.
    """
    if path.exists() and not path.is_file():  # a folder, or a device file, which a move onto it would destroy
        raise UserError(f"{path}: not a file that can be replaced; choose another place")
    target = Path(os.path.realpath(path))  # so that a symbolic link remains one
    # Not named by the process ID: two containers that share a folder may both run as process 1.
    partial = target.with_name(f".{secrets.token_hex(8)}.partial{path.suffix}")
    try:
        with as_user_error(f"{path}: cannot be written", partial, target):
            partial.touch(exist_ok=False)  # shows before the work begins whether the place is writable
            yield partial
            partial.replace(target)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def write(path: Path, content: str) -> None:
    """Write a text file, completely or not at all."""
    with atomic(path) as partial:
        partial.write_text(content, encoding="utf-8")


@contextlib.contextmanager
def as_user_error(what: str, *places: Path) -> Iterator[None]:
    """Turn an OSError, such as a full disk, into a UserError that begins with `what` and gives the reason.

    An error that names a file outside `places` concerns something else, such as an image that is read meanwhile, and
    passes through unchanged.
    """
    try:
        yield
    except UserError:  # some are OSErrors too, and their messages are already clear
        raise
    except OSError as error:
        about = isinstance(error.filename, str | bytes) and Path(os.path.realpath(os.fsdecode(error.filename)))
        if about and not any(about.is_relative_to(os.path.realpath(place)) for place in places):
            raise
        raise UserError(f"{what} ({error.strerror or error}); choose another place, or free some space there") from None

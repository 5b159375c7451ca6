"""Writing results: whole or not at all, and nothing left where it fails."""

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from inspose_jax.errors import UserError


@contextlib.contextmanager
def results_folder(folder: Path | None) -> Iterator[None]:
    """Make a folder for results before the work begins; if that fails with nothing in it, it is gone again.

    None is no folder.  ValueError where there cannot be one.
    """
    made = [] if folder is None else [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        if folder is not None:
            with as_user_error(f"{folder}: cannot be a folder for results", *made, folder):
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    pass  # whether one may write there is known now, not when the work is done
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # one that holds something stays
            for place in made:
                place.rmdir()
        raise


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `folder` when that is done and is gone where it fails.

    UserError where `folder` already holds something, or cannot be.
    """
    target = Path(os.path.realpath(folder))  # a link stays one
    exists = target.is_dir() and not any(target.iterdir())
    if not exists and (target.exists() or target.is_symlink()):
        raise UserError(f"{folder}: already holds something; give a new or empty folder")
    # An empty folder stays the one it is: somebody may stand in it, or a disk may be mounted there.
    place = target if exists else target.parent
    with results_folder(place), as_user_error(f"{folder}: cannot be written", place):
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=place))
        try:
            partial.chmod(0o755)  # a temporary folder is its maker's alone
            yield partial
            if exists:
                for path in list(partial.iterdir()):
                    path.rename(target / path.name)
            else:
                partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place beside `path`, of the same suffix, to write to; moved to `path` in the end, gone if anything fails.

    So whoever reads never sees half a file, and one that was there stays until the new one is whole.  ValueError where
    it cannot be written.
    """
    if path.exists() and not path.is_file():  # a folder; or a device, which moving a file there would destroy
        raise UserError(f"{path}: no file that can be replaced; choose another place")
    target = Path(os.path.realpath(path))  # a link stays one
    # Not the process's number: two containers that share a folder may both be process 1.
    partial = target.with_name(f".{secrets.token_hex(8)}.partial{path.suffix}")
    try:
        with as_user_error(f"{path}: cannot be written", partial, target):
            partial.touch(exist_ok=False)  # before the work begins
            yield partial
            partial.replace(target)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def write(path: Path, content: str) -> None:
    """Write a text file, whole or not at all."""
    with whole(path) as partial:
        partial.write_text(content, encoding="utf-8")


@contextlib.contextmanager
def as_user_error(what: str, *places: Path) -> Iterator[None]:
    """An OSError inside, such as of a full disk, becomes a UserError that says what could not be done, and why.

    One that names a file outside of `places` is about something else, such as an image that is read meanwhile, and
    stays as it is.
    """
    try:
        yield
    except UserError:  # some are OSErrors too, and say themselves what they are about
        raise
    except OSError as error:
        about = isinstance(error.filename, str | bytes) and Path(os.path.realpath(os.fsdecode(error.filename)))
        if about and not any(about.is_relative_to(os.path.realpath(place)) for place in places):
            raise
        raise UserError(f"{what} ({error.strerror or error}); choose another place, or make space there") from None

"""Writing results: whole files or none."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def results_folder(folder: Path | None) -> Iterator[None]:
    """Make a folder for results before the work begins; if that fails with nothing in it, it is gone again.

    None is no folder.  ValueError where there cannot be one.
    """
    made = [] if folder is None else [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a file is there" if folder.is_file() else error.strerror
        raise ValueError(f"{folder}: cannot be a folder for results ({reason}); choose another") from None
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # one that holds something stays
            for place in made:
                place.rmdir()
        raise


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place beside `path`, of the same suffix, to write to; moved to `path` in the end, gone if anything fails.

    So whoever reads never sees half a file, and one that was there stays until the new one is whole.  ValueError where
    it cannot be written.
    """
    if path.exists() and not path.is_file():  # a folder; or a device, which moving a file there would destroy
        raise ValueError(f"{path}: is no file that can be replaced; choose another place")
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"{path}: cannot be written ({reason}); choose another place, or make space there") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def write(path: Path, content: str) -> None:
    """Write a text file, whole or not at all."""
    with whole(path) as partial:
        partial.write_text(content)

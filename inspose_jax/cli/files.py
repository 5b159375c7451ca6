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
        raise ValueError(f"{folder}: cannot be a folder for results ({error.strerror}); choose another") from None
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # one that holds something stays
            for place in made:
                place.rmdir()
        raise


def write(path: Path, content: str) -> None:
    """Write text beside its place, then move it there: whoever reads never sees half of it."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(content)
        partial.replace(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()

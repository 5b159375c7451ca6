"""Writing results: whole files or none."""

from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make a folder for results; one line where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{folder}: cannot be a folder for results ({error.strerror}); choose another") from None


def write(path: Path, content: str) -> None:
    """Write text beside its place, then move it there: whoever reads never sees half of it."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(content)
        partial.replace(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
    finally:
        partial.unlink(missing_ok=True)

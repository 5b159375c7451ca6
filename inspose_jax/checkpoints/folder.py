"""A folder of checkpoints: which are finished, which one is meant, and what is left of a save that was killed."""

import hashlib
import json
import shutil
import time
from itertools import count
from pathlib import Path

from inspose_jax import paths, processes, run_folder
from inspose_jax.checkpoints import seals
from inspose_jax.errors import NotFound, UserError

FINISHED = "commit_success.txt"
UNFINISHED = ".orbax-checkpoint-tmp"


def steps(folder: Path) -> list[int]:
    """The finished steps in a folder of checkpoints, oldest first; an empty folder named like a step does not count."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(path.name) for path in found if path.name.isdigit() and is_finished(path))


def is_finished(folder: Path) -> bool:
    """Whether a folder is a checkpoint that was written completely."""
    return (folder / FINISHED).exists()


def holds(path: Path) -> bool:
    """Whether a folder is a finished checkpoint, a folder of them, or the workdir of a run that has one."""
    return is_finished(path) or bool(steps(path / run_folder.CHECKPOINTS) or steps(path))


def find(path: Path) -> Path:
    """The folder to read: that of one checkpoint, or that of all checkpoints of a run.

    Raises NotFound, a FileNotFoundError, if there is nothing at `path`, and UserError if that is no checkpoint.
    """
    if not path.exists():
        raise NotFound(f"{path}: no such checkpoint; give a run's folder or one of its checkpoints/<step>")
    if not holds(path):
        raise UserError(f"{path}: holds no checkpoint; give a run's folder or one of its checkpoints/<step>")
    inner = path / run_folder.CHECKPOINTS
    return inner if steps(inner) else path


def identity(path: Path) -> str:
    """A hash, 64 hexadecimal digits, of the files of a checkpoint, or of the newest of a run, be it intact or damaged.

    Raises as `find` does.
    """
    folder = find(paths.absolute(path))
    checkpoint = folder if is_finished(folder) else folder / str(steps(folder)[-1])
    return hashlib.sha256(json.dumps(seals.checksums(checkpoint)).encode()).hexdigest()


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

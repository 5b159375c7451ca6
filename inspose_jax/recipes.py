"""Recipes: Python files whose `recipe()` returns a config, and which may also define the method for it.

    def recipe() -> Config: ..
    def method(model) -> Method: ..      # from `Config.model`, whose class the recipe may define itself

A recipe may import modules that lie beside its file.

A checkpoint of a recipe's own method records the file's name and text but never executes them: to load the
checkpoint, give the file again.
"""

import hashlib
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from inspose_jax import config_check, paths
from inspose_jax.config import Config
from inspose_jax.errors import UserError, did_you_mean

PACKAGE = Path(__file__).parent
FOLDERS: set[str] = set()  # of executed recipes, where they were added to Python's search path
CARRIED = [PACKAGE / "configs", PACKAGE.parent / "configs"]  # in a wheel; in a checkout


@dataclass(frozen=True, eq=False)
class Recipe:
    """The content of a recipe file, and the config and method that it defines."""

    path: Path
    text: str
    config: Config
    make_method: Callable[[Any], Any] | None  # `Config.model` -> `Method`; None for a method of the package

    @property
    def sha256(self) -> str:
        """SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def carried(name: str) -> Path:
    """The file of a recipe that comes with the package, regardless of the current folder's contents."""
    return next(path for place in CARRIED if (path := place / f"{name}.py").is_file())


def find(name: str | Path) -> Path:
    """The file of a recipe, by its path or by its name in ./configs or the package; UserError lists the known names."""
    places = [Path("configs"), *CARRIED]  # the current folder's recipes come first
    for path in (paths.expanded(name), *(place / f"{name}.py" for place in places)):
        if path.is_file() and path.suffix == ".py":
            return path
    known = sorted({path.stem for place in places for path in place.glob("*.py") if path.stem != "__init__"})
    hint = did_you_mean(str(name), known, f"the recipes are {', '.join(known)}")
    raise UserError(f"{name}: no such recipe file or name; {hint}")


def read(name: str | Path) -> Recipe:
    """Execute a recipe file, located with `find`; UserError if it fails or has no function `recipe`."""
    path = find(name)
    try:
        module = executed(path)
        made = module.recipe() if callable(getattr(module, "recipe", None)) else None
    except (Exception, SystemExit) as error:  # a user's file may raise anything
        raise failed(path, error) from error
    if not isinstance(made, Config):
        raise UserError(f"{path}: not a recipe; it needs a function `recipe` that returns a Config")
    try:
        config_check.check(made)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    make_method = getattr(module, "method", None)
    if make_method is not None and not callable(make_method):
        raise UserError(f"{path}: `method` is not a function of `Config.model` that returns a Method")
    return Recipe(path, path.read_text(), made, make_method)


def executed(path: Path) -> ModuleType:
    """The module that a recipe file defines; it is executed anew with every call.

    Like any module it is known to Python, which looks there for what is said about its classes.  It finds other modules
    in its folder, after those that are installed; they are executed anew too.
    """
    whole = path.absolute()
    # Another recipe may have modules of the same names beside it, and those of this one may have changed.
    sys.path[:] = [place for place in sys.path if place not in FOLDERS]
    for beside in whole.parent.glob("*.py"):
        known = getattr(sys.modules.get(beside.stem), "__file__", None)
        if known and str(Path(known).parent) in FOLDERS:
            del sys.modules[beside.stem]
    if str(whole.parent) not in sys.path:
        FOLDERS.add(str(whole.parent))
        sys.path.append(str(whole.parent))
    module = ModuleType(str(whole))
    module.__file__ = str(whole)
    sys.modules[module.__name__] = module
    exec(compile(whole.read_bytes(), whole, "exec"), module.__dict__)
    return module


def failed(path: Path, error: BaseException) -> UserError:
    """The error for a recipe that raises an exception, with its last line in the file or in one beside it."""
    folder = path.absolute().parent
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == folder]
    at = f"{path.with_name(Path(frames[-1].filename).name)}, line {frames[-1].lineno}" if frames else str(path)
    return UserError(f"{at}: the recipe fails with {type(error).__name__}: {error}; correct it")

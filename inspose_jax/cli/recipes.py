"""Finding a recipe: a path, or a name looked up in ./configs and in the recipes that the package carries."""

import runpy
from pathlib import Path

from inspose_jax import config
from inspose_jax.cli import arguments
from inspose_jax.config import Config

PACKAGE = Path(__file__).parents[1]
CARRIED = [PACKAGE / "configs", PACKAGE.parent / "configs"]  # in a wheel, in a checkout


def carried(name: str) -> Path:
    """The file of a recipe that comes with the package, whatever lies where one stands."""
    return next(path for place in CARRIED if (path := place / f"{name}.py").is_file())


def find(name: str) -> Path:
    """The file of a recipe; ValueError lists the known names."""
    places = [Path("configs"), *CARRIED]  # those where one stands come first
    for path in (Path(name), *(place / f"{name}.py" for place in places)):
        if path.is_file() and path.suffix == ".py":
            return path
    known = sorted({path.stem for place in places for path in place.glob("*.py") if path.stem != "__init__"})
    hint = arguments.did_you_mean(name, known, f"there are {', '.join(known)}")
    raise ValueError(f"{name}: no such recipe file or name; {hint}")


def load(name: str) -> Config:
    """The config that a recipe returns; ValueError if the file fails or has no function `recipe`."""
    path = find(name)
    try:
        recipe = runpy.run_path(str(path)).get("recipe")
        made = recipe() if callable(recipe) else None
    except (Exception, SystemExit) as error:  # whatever a user's file may raise
        raise ValueError(f"{path}: the recipe fails with {type(error).__name__}: {error}; mend it") from error
    if not isinstance(made, Config):
        raise ValueError(f"{path}: no recipe; it needs a function `recipe` that returns a Config")
    try:
        config.check(made)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return made


def override(base: Config, overrides: list[str]) -> Config:
    """`base` with `--config.FIELD VALUE` arguments put in; ValueError names a wrong one."""
    given = [argument.replace("--config.", "--", 1) for argument in overrides]
    try:
        changed = arguments.tyro_cli(Config, "the fields are in inspose_jax/config.py", default=base, args=given)
    except ValueError as error:
        raise ValueError(str(error).replace("--", "--config.")) from None
    config.check(changed)
    return changed

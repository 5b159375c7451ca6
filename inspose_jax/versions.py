"""The versions of this package and of those that do the computing, as runs and evaluations record them."""

from importlib import import_module, metadata

OURS = "0.3.0"  # this package; pyproject.toml and `inspose_jax.__version__` take it from here


def version(module: str) -> str:
    """The version of an importable module: its `__version__`, or else that of the distribution of the same name.

    The module comes first since a distribution may have any name: OpenCV's `cv2` comes from `opencv-python`, from its
    variants with `-headless` or `contrib` in the name, or from conda, and if two of them are installed, one has
    overwritten the other.  Returns "not installed" or "unknown" instead of raising an error.
    """
    try:
        found = getattr(import_module(module), "__version__", None)
    except ImportError:
        return "not installed"
    try:
        return found or metadata.version(module)
    except metadata.PackageNotFoundError:
        return "unknown"

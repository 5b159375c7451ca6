"""The version of this package and of those that compute, for what a run and an evaluation say of themselves."""

from importlib import import_module, metadata

OURS = "0.3.0"  # this package; pyproject.toml and `inspose_jax.__version__` take it from here


def version(module: str) -> str:
    """Of an importable module, by its own word or else by the distribution of its name; never an error.

    The module is asked first since a distribution may have any name: OpenCV's `cv2` comes as `opencv-python`, with
    `-headless` or `contrib` in it, or from conda, and where two of them are installed one has written over the other.
    """
    try:
        told = getattr(import_module(module), "__version__", None)
    except ImportError:
        return "not installed"
    try:
        return told or metadata.version(module)
    except metadata.PackageNotFoundError:
        return "unknown"

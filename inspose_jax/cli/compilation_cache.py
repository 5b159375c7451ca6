"""What was compiled once is not compiled again: JAX's persistent cache, in the user's cache folder, by machine type."""

import hashlib
import os
import platform
from pathlib import Path

VARIABLE = "JAX_COMPILATION_CACHE_DIR"  # jax reads it when it is imported


def turn_on() -> None:
    """Name the folder to jax, which must not be imported yet, unless the user did, or has no place for it."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if not home.is_absolute():  # nobody knows where home is
        return
    present = next((folder for folder in (home, *home.parents) if folder.exists()), None)
    if present is not None and os.access(present, os.W_OK):
        os.environ.setdefault(VARIABLE, str(home / "inspose_jax" / machine_type()))


def machine_type() -> str:
    """A name for machines that run the same code: a home folder may be seen from several kinds."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    # x86 calls its instruction sets flags, ARM features; elsewhere the processor's name must do.
    sets = next((line for line in lines if line.lower().startswith(("flags", "features"))), platform.processor())
    return f"{platform.machine()}-{hashlib.sha256(sets.encode()).hexdigest()[:8]}"

"""Turn on JAX's persistent compilation cache, in the user's cache folder, with one subfolder per machine type."""

import hashlib
import os
import platform
from pathlib import Path

VARIABLE = "JAX_COMPILATION_CACHE_DIR"  # JAX reads it on import


def turn_on() -> None:
    """Set the cache folder before JAX is imported, unless the user has set one or the folder would not be writable."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if not home.is_absolute():  # the home folder is unknown
        return
    present = next((folder for folder in (home, *home.parents) if folder.exists()), None)
    if present is not None and os.access(present, os.W_OK):
        os.environ.setdefault(VARIABLE, str(home / "inspose_jax" / machine_type()))


def machine_type() -> str:
    """A name shared by machines that can run the same code, since several kinds may share one home folder."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    # x86 lists its instruction sets as flags, ARM as features; elsewhere the processor's name must do.
    sets = next((line for line in lines if line.lower().startswith(("flags", "features"))), platform.processor())
    return f"{platform.machine()}-{hashlib.sha256(sets.encode()).hexdigest()[:8]}"

"""What the operating system said when a file could not be written or read."""

import os
import re


def reason(error: Exception) -> str:
    """Why a file could not be written or read: the operating system's message if there is one."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    code = system_code(error)
    return os.strerror(code) if code else type(error).__name__


def system_code(error: Exception) -> int:
    """The operating system's error number that tensorstore puts into its message; 0 if it contains none."""
    found = re.search(r"os_error_code='(\d+)'", str(error))
    return int(found[1]) if found else 0

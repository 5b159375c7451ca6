"""What a user can put right: errors whose text says what was found, what was expected and the remedy.

The command line shows them as one line, and the system's own errors too, such as "Permission denied". Whatever else
is raised is a bug, here or in a library, and shows where it came from. `except ValueError` catches all of this file.
"""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Input, a setting or a machine with which the program cannot do what it was asked to do."""


class NotFound(UserError, FileNotFoundError):
    """A file or folder that the user named is not there, or is of another kind."""


class NotWritten(UserError, OSError):
    """A result or a checkpoint cannot be written; what was written before is intact."""


class NotFinite(UserError, FloatingPointError):
    """A loss or gradient is NaN or infinite."""


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """The remedy for a word that is not known: the nearest that is, or something else to say."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}?" if near else otherwise

"""Errors that a user can correct; their messages say what was found, what was expected and the remedy.

The command line shows them, and system errors such as "Permission denied", as one line.  Any other exception is a bug,
here or in a library, and shows its traceback.  `except ValueError` catches all errors of this module.  What is worth
a line but no error is a warning, or a `Note`.
"""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """The input, a setting or the machine makes it impossible to do what the user asked for."""


class NotFound(UserError, FileNotFoundError):
    """A file or folder that the user named does not exist, or is of another kind."""


class NotWritten(UserError, OSError):
    """A result or a checkpoint cannot be written; everything written earlier is intact."""


class NotFinite(UserError, FloatingPointError):
    """A loss or gradient is NaN or infinite."""


class Note(UserWarning):
    """What a user should know of how the input is understood; nothing is wrong with it."""


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """The remedy for an unknown word: suggest the nearest known one, or give `otherwise` if none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}?" if near else otherwise

"""What a user can put right: errors whose text says what was found, what was expected and the remedy.

The command line shows them as one line, and the system's own errors too, such as "Permission denied". Whatever else
is raised is a bug, here or in a library, and shows where it came from. `except ValueError` catches all of this file.
"""


class UserError(ValueError):
    """Input, a setting or a machine with which the program cannot do what it was asked to do."""


class NotFound(UserError, FileNotFoundError):
    """A file or folder that the user named is not there, or is of another kind."""


class NotWritten(UserError, OSError):
    """A result or a checkpoint cannot be written; what was written before is intact."""


class NotFinite(UserError, FloatingPointError):
    """A loss or gradient is NaN or infinite."""

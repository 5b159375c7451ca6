"""A run that is asked to stop ends its step, saves and leaves; asked a second time, it leaves at once."""

import os
import signal
import threading
from types import FrameType

ASKING = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """Whether SIGTERM or Ctrl-C came while inside `with`; outside of a main thread nothing is caught."""

    def __init__(self) -> None:
        self.came = False
        self.before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self.note) for number in ASKING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def note(self, number: int, _: FrameType | None) -> None:
        """Remember it, and let the next one do what it always does: end the process."""
        self.came = True
        for asking in ASKING:
            signal.signal(asking, signal.SIG_DFL)
        # Not print: it may be interrupted in the middle of a print.
        os.write(2, f"\ninspose: {signal.Signals(number).name}: saving; once more to leave at once\n".encode())

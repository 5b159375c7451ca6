"""A run that is asked to stop finishes its step, saves and exits; asked a second time, it exits at once."""

import os
import signal
import threading
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """Whether SIGTERM or Ctrl-C arrived inside the `with`; outside the main thread nothing is caught."""

    def __init__(self) -> None:
        self.received = False
        self.before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self.on_signal) for number in STOP_SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def on_signal(self, number: int, _: FrameType | None) -> None:
        """Remember the signal, and install the system's default handlers, so that the next one ends the process."""
        self.received = True
        for stop_signal in STOP_SIGNALS:
            signal.signal(stop_signal, signal.SIG_DFL)
        # Not `print`: the signal may have arrived in the middle of one.
        os.write(
            2,
            f"\ninspose: {signal.Signals(number).name}: saving and stopping; a second signal stops at once\n".encode(),
        )

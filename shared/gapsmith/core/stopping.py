"""A flag that tells threads to stop and also ends their waits for sockets, so that nobody has to look at it all the time."""

import socket
import threading
from contextlib import suppress


class StopFlag(threading.Event):
    """An event with a descriptor for ``select`` and ``poll``, which is readable as soon as the event is set."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting, self._setting = socket.socketpair()

    def fileno(self) -> int:
        """The descriptor; nothing may be read from it."""
        return self._waiting.fileno()

    def set(self) -> None:
        """Tell everybody; safe from a signal handler."""
        super().set()
        self._setting.setblocking(False)
        with suppress(BlockingIOError):  # it was set often, and is readable
            self._setting.send(b"x")

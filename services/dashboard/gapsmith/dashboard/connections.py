"""Connections of the web server: how many of one address, and how long a request may take to arrive."""

import asyncio
from collections import Counter
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S: Final = 10.0  # until the first byte has come, and from then on until the headers are whole
MOST_OF_ADDRESS: Final = 128  # open connections
_open: Counter[str] = Counter()


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that closes connections of clients which open too many of them or send too slowly."""

    _address: str | None = None  # as it is counted
    _overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Count the connection, and begin to wait for a request."""
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if _open[address] >= MOST_OF_ADDRESS:
            transport.close()
            return
        self._address = address
        _open[address] += 1
        self._wait()

    def handle_events(self) -> None:
        """Take what has come; the headers of a request must be whole in time."""
        super().handle_events()
        if self.conn.their_state is not h11.IDLE:
            self._arrived()
        elif self._overdue is None and self.conn.trailing_data[0]:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting the connection."""
        super().connection_lost(exc)
        self._arrived()
        if self._address is not None:
            _open[self._address] -= 1
            if not _open[self._address]:
                del _open[self._address]
            self._address = None

    def _wait(self) -> None:
        self._overdue = self.loop.call_later(HEAD_S, self.transport.close)

    def _arrived(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

"""Another rank, as the one that asks it for samples sees it."""

import contextlib
import socket

import numpy as np

from gapsmith.core.errors import DataError, InputError
from gapsmith.datastore import wire
from gapsmith.datastore.ragged import Ragged


class Peer:
    """A connection to a rank, made when it is first needed and again after it broke."""

    def __init__(self, rank: int, address: tuple[str, int], *, token: bytes, digest: bytes, timeout_s: float) -> None:
        self.rank, self.address = rank, address
        self.failure: str | None = None  # why it counts as lost
        self.broken = 0  # failures since it last answered
        self._token, self._digest, self._timeout_s = token, digest, timeout_s
        self._connection: socket.socket | None = None
        self._known = False  # it was the right rank once

    def __str__(self) -> str:
        """Rank and address."""
        return f"rank {self.rank} at {self.address[0]}:{self.address[1]}"

    def request(self, indices: np.ndarray) -> None:
        """Ask for samples.

        Raises:
            OSError: the rank cannot be reached, or something else has its address by now.
            InputError: it has another token or another data set from the start, or that is too much to ask at once.
        """
        if len(indices) > wire.MOST_SAMPLES:
            raise InputError(f"at most {wire.MOST_SAMPLES} samples of {self} can be fetched at once")
        connection = self._connection or self._connect()
        connection.sendall(wire.COUNT.pack(len(indices)) + indices.astype("<i8").tobytes())

    def receive(self, into: Ragged) -> None:
        """Read the samples that were asked for into memory of their sizes.

        Raises:
            OSError: the rank ended, or said nothing for ``timeout_s``.
            DataError: it does not have what was asked for.
        """
        connection = self._connection
        if connection is None:
            raise ConnectionResetError("the connection is closed")
        status, length = wire.REPLY.unpack(wire.receive(connection, wire.REPLY.size))
        if status:
            message = wire.receive(connection, min(length, wire.MOST_MESSAGE_BYTES)).decode(errors="replace")
            raise DataError(f"{self} does not serve samples that it should have: {message}")
        if length != into.nbytes:
            self.close()
            raise DataError(f"{self} sent {length} bytes of samples, expected {into.nbytes}")
        for view in into.views():
            wire.receive_into(connection, view)

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self.address, self._timeout_s)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            digest, rank = wire.introduce(connection, self._token)
            if (digest, rank) != (self._digest, self.rank):
                raise InputError(f"it is rank {rank}, or has another data set: start all ranks with the same one")
        except InputError as error:
            connection.close()
            if self._known:
                raise ConnectionRefusedError(str(error)) from error
            raise InputError(f"the data store of {self} cannot be used: {error}") from error
        except BaseException:
            connection.close()
            raise
        self._connection, self._known = connection, True
        return connection

"""The threads of a rank that serve its shards to others, whatever its training is doing."""

import contextlib
import socket
import threading

import numpy as np

from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.datastore import wire
from gapsmith.datastore.store import Held

HANDSHAKE_S = 10.0
SEND_S = 60.0
EVERYWHERE = ("", "0.0.0.0", "::")


class ShardServer:
    """Serves what a rank holds; see ``wire``."""

    def __init__(self, held: Held, *, token: bytes, digest: bytes, rank: int, host: str, port: int = 0) -> None:
        """Listen and serve.

        Args:
            held: the rank's shards.
            token: the run's secret, at least 16 bytes.
            digest: (32,) SHA-256 of the data set's index.
            rank: of this process.
            host: address of the interface to listen at, by which other ranks reach it.
            port: any that is free if 0.

        Raises:
            InputError: the token is too short, or the host is a wildcard.
            UnavailableError: the address cannot be listened at.
        """
        self._held, self._token = held, wire.checked_token(token)
        self._digest, self._rank = digest, rank
        if host in EVERYWHERE:
            raise InputError(f"a data store cannot listen at {host!r}: name the address by which other ranks reach it")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listener = socket.create_server((host, port), family=family, backlog=128)
        except OSError as error:
            raise UnavailableError(
                f"rank {rank} cannot listen at {host}:{port} ({error}): name an address of this machine"
            ) from error
        self.address: tuple[str, int] = (host, self._listener.getsockname()[1])
        self._connections: set[socket.socket] = set()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="shard-server", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and end all connections."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._listener.close()
        self._thread.join(5)
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._closed.wait(0.1):  # no file descriptor is free: later perhaps
                    return
                continue
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), name="shard-client", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        """One client, until it or this rank ends."""
        try:
            connection.settimeout(HANDSHAKE_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if not wire.greet(connection, self._token, self._digest, self._rank):
                return
            while not self._closed.is_set():
                connection.settimeout(None)
                (count,) = wire.COUNT.unpack(wire.receive(connection, wire.COUNT.size))
                if count > wire.MOST_SAMPLES:
                    return
                connection.settimeout(SEND_S)
                self._reply(connection, np.frombuffer(wire.receive(connection, 8 * count), "<i8"))
        except OSError:  # the client ended, or asks nothing within its time
            pass
        finally:
            self._connections.discard(connection)
            connection.close()

    def _reply(self, connection: socket.socket, indices: np.ndarray) -> None:
        try:
            payload = list(self._held.take(indices).views())
        except IndexError as error:
            message = f"{error}".encode()[: wire.MOST_MESSAGE_BYTES]
            connection.sendall(wire.REPLY.pack(1, len(message)) + message)
            return
        length = sum(len(view) for view in payload)
        connection.sendall(b"".join([wire.REPLY.pack(0, length), *payload]))

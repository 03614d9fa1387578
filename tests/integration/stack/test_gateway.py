"""Workers of another machine: one port, TLS and a secret. Here that machine is another home and another loopback address."""

import asyncio
import base64
import os
import re
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from listening import Bomb, attack, listeners, on_loopback

from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.core.settings import Settings
from gapsmith.stack import gateway
from gapsmith.stack.gateway import Gateway, Identity, identity
from gapsmith.stack.joining import Joined
from gapsmith.stack.machine import service_pid
from gapsmith.stack.processes import wait_until
from gapsmith.stack.stack import EmbeddedStack

HERE, THERE = "127.0.0.1", "127.0.0.2"
PATIENCE_S = 400.0


class Echo:
    """A server that says back what it is told, and a gateway to it, each at a port of its own."""

    def __init__(self, home: Path) -> None:
        self.heard = bytearray()
        self.own = identity(home)
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self.loop).result()

    async def _start(self) -> int:
        inside = (await asyncio.start_server(self._answer, HERE, 0)).sockets[0].getsockname()[1]
        urls = {name: f"{name}://user:word@{HERE}:{inside}/0" for name in gateway.SERVICES}
        return int((await Gateway(self.own, urls).listen(THERE, 0)).sockets[0].getsockname()[1])

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            self.heard += data
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Echo]:
    one = Echo(tmp_path)
    yield one
    one.loop.call_soon_threadsafe(one.loop.stop)


def test_what_is_sent_comes_out_at_the_server_and_back(echo: Echo) -> None:
    with Joined(THERE, echo.port, echo.own.key) as joined:
        settings = joined.apply(Settings())
        assert settings.postgres_url is not None
        url = urlsplit(settings.postgres_url.get_secret_value())
        assert (url.scheme, url.username, url.password, url.path, url.hostname) == (
            "postgres",
            "user",
            "word",
            "/0",
            HERE,
        )
        sent = secrets.token_bytes(2**20)
        with socket.create_connection((HERE, url.port or 0), timeout=60) as link:
            threading.Thread(target=link.sendall, args=(sent,)).start()
            received = bytearray()
            while len(received) < len(sent):
                received += link.recv(2**16)
    assert received == sent == echo.heard


@pytest.mark.parametrize("secret", ["x" * 43, "", "é"])
def test_a_wrong_secret_is_refused(echo: Echo, secret: str) -> None:
    with pytest.raises(InputError, match="key"), Joined(THERE, echo.port, f"{echo.own.fingerprint}.{secret}"):
        pass


def test_another_gateway_is_not_told_the_secret(echo: Echo, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Echo(tmp_path / "other")
    with pytest.raises(InputError, match="nothing was sent"), Joined(THERE, other.port, echo.own.key):
        pass
    assert other.heard == b""


def test_plain_text_pickles_and_strangers_reach_no_server(echo: Echo, tmp_path: Path) -> None:
    mark = tmp_path / "opened"
    assert not any(echo.own.secret.encode() in answer for answer in attack((THERE, echo.port), Bomb(mark)))
    with socket.create_connection((THERE, echo.port), timeout=5) as plain, suppress(OSError):
        plain.sendall(f"{echo.own.secret} postgres\nhello".encode())
        assert not plain.recv(100).startswith(b"ok")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    for line in (b"hello\n", b"GET / HTTP/1.1\r\n\r\n", bytes(2**17), f"{echo.own.secret} kafka\n".encode()):
        with suppress(OSError), socket.create_connection((THERE, echo.port), timeout=5) as raw:
            link = tls.wrap_socket(raw)
            link.sendall(line)
            assert link.recv(100) == b""
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection((THERE, echo.port), timeout=5) as raw, pytest.raises(ssl.SSLError):
        tls.wrap_socket(raw)
    assert echo.heard == b""
    assert not mark.exists()


def test_the_key_stays_the_same_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    first, second = identity(tmp_path), identity(tmp_path)
    assert isinstance(first, Identity)
    assert first == second
    assert len(base64.urlsafe_b64decode(first.fingerprint + "=")) == 32
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / gateway.NAME).iterdir()} == {0o600}


@pytest.mark.parametrize("text", ["", ":1", "a b:c", "host:99999", "host/path", "user@host", "host:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not an address"):
        gateway.address(text)


def test_nobody_there_is_one_sentence(echo: Echo) -> None:
    with pytest.raises(UnavailableError, match=r"no gateway answers at 127\.0\.0\.1:1 "), Joined(HERE, 1, echo.own.key):
        pass


def gapsmith(home: Path, *words: str, **more: str) -> "subprocess.Popen[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GAPSMITH_")}
    own = {"GAPSMITH_HOME": str(home), "GAPSMITH_DASHBOARD_PORT": "0", "OMP_NUM_THREADS": "1", **more}
    return subprocess.Popen(
        [sys.executable, "-m", "gapsmith.cli.main", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**clean, **own},
    )


def refuses(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=60).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.serial
@pytest.mark.service
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_worker_of_another_home_computes_what_this_one_asks_for(service_folder: Path, tmp_path: Path) -> None:
    home, other = service_folder / "here", service_folder / "there"
    with socket.socket() as probe:
        probe.bind((THERE, 0))
        port = probe.getsockname()[1]
    up = gapsmith(home, "up", "--listen", f"{THERE}:{port}")
    said, _ = up.communicate(timeout=PATIENCE_S)
    try:
        assert up.returncode == 0, said
        command = re.search(rf"gapsmith worker --join {THERE}:{port} <<< (\S+)", said)
        assert command is not None, said
        worker = gapsmith(other, "worker", "--join", f"{THERE}:{port}", "--workers", "1")
        try:
            assert worker.stdin is not None
            worker.stdin.write(command[1] + "\n")
            worker.stdin.close()
            addresses = EmbeddedStack(home).find()
            assert addresses is not None
            with psycopg.connect(addresses.postgres_url, autocommit=True) as link:
                beats = "SELECT count(*) FROM heartbeats WHERE service = 'dft_worker' AND pid = %s"
                assert wait_until(lambda: link.execute(beats, (worker.pid,)).fetchone() == (1,), PATIENCE_S)
                own = service_pid(home, "dft_worker")
                assert own is not None
                os.kill(own, signal.SIGSTOP)  # so that the other one has to do it
                dft = gapsmith(home, "dft", "O")
                answer, _ = dft.communicate(timeout=PATIENCE_S)
                assert dft.returncode == 0, answer
                who = link.execute("SELECT DISTINCT owner FROM attempts").fetchall()
                assert [str(worker.pid) in row[0] for row in who] == [True]
            beyond = [at for at in listeners([psutil.Process(worker.pid)]) if not on_loopback(at[0])]
            assert beyond == []
            line = " ".join(psutil.Process(worker.pid).cmdline())
            assert command[1] not in line
        finally:
            worker.terminate()
            worker.wait(120)
        assert [path.stat().st_mode & 0o777 for path in other.glob("joined-*")] == [0o600]
    finally:
        gapsmith(home, "down").communicate(timeout=PATIENCE_S)
    assert wait_until(lambda: refuses(THERE, port), PATIENCE_S)

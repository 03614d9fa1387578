"""A private RabbitMQ node for tests: no root, no plugins, everything on loopback and in one folder.

The node is Debian's ``rabbitmq-server``, run by its inner script, for the one in PATH insists on the user ``rabbitmq``. Users
and virtual hosts come out of a definitions file that the node reads when it starts, so that its command-line tools, which
take seconds a call, are not needed.
"""

import base64
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from gapsmith.stack.processes import end, free_port, log_tail, spawn, wait_until, working_in
from gapsmith.stack.stack import EmbeddedStack

SCRIPTS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/homebrew/sbin/rabbitmq-server")  # Debian, Homebrew
VIRTUAL_HOSTS = 40  # a test takes one; each costs the node 20 ms when it starts
START_S = 120.0  # seven on a machine that is not busy
PROGRAMS = ("beam.smp", "epmd")
HELLO = b"AMQP\x00\x00\x09\x01"
START_FRAME = b"\x01\x00\x00"  # a method on channel 0: the server's half of the handshake


def script() -> str | None:
    """Path of the inner script; None where RabbitMQ is not installed."""
    return next((path for path in SCRIPTS if os.access(path, os.X_OK) and shutil.which("epmd")), None)


def salted(password: str) -> str:
    """RabbitMQ's form of a password's SHA-256."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


class Node:
    """One node, its port mapper and its data; it can be killed and started again with the same data on the same port.

    Args:
        folder: working folder of its processes, by which they are found again.
        program: path of the inner script.
    """

    user = "gapsmith"

    def __init__(self, folder: Path, program: str) -> None:
        self.folder = folder
        self.password = f"{secrets.token_hex(8)}@/:"  # has to be quoted in a URL
        self.port, self._mapper_port, self._distribution_port = (free_port() for _ in range(3))
        self._program = program
        self._processes: list[subprocess.Popen[bytes]] = []
        self._taken = 0
        self.folder.mkdir(parents=True)
        self._write_files()

    def url(self, virtual_host: str) -> str:
        """AMQP URL of a virtual host."""
        return f"amqp://{self.user}:{quote(self.password, safe='')}@127.0.0.1:{self.port}/{virtual_host}"

    def unused(self) -> str:
        """A virtual host that nobody was given yet."""
        self._taken += 1
        assert self._taken <= VIRTUAL_HOSTS, "more tests than virtual hosts: raise VIRTUAL_HOSTS"
        return f"test-{self._taken}"

    def start(self) -> None:
        """Start what does not run; returns when the node takes connections."""
        if not working_in(self.folder, "epmd"):
            self._spawn("epmd", "-port", str(self._mapper_port), "-address", "127.0.0.1")
        if not working_in(self.folder, "beam.smp"):
            server = self._spawn(self._program, "-noinput")
            ready = wait_until(lambda: self.answers() or server.poll() is not None, START_S, 0.1)
            if not ready or server.poll() is not None:
                raise AssertionError(f"RabbitMQ does not start:\n{log_tail(self.folder / 'output.log', 30)}")

    def answers(self) -> bool:
        """Whether the node begins an AMQP handshake."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5.0) as connection:
                connection.sendall(HELLO)
                return connection.recv(3) == START_FRAME
        except OSError:
            return False

    def server(self) -> psutil.Process:
        """The node's process, for signals."""
        (process,) = working_in(self.folder, "beam.smp")
        return process

    def kill(self) -> None:
        """End the node as a power cut would."""
        end([self.server()], first=signal.SIGKILL)

    def stop(self) -> None:
        """End node and port mapper: asked first, killed if that does not help."""
        for program in PROGRAMS:
            end(working_in(self.folder, program), grace_s=20.0)
        for process in self._processes:
            process.wait(120)

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        process = spawn(command, log=self.folder / "output.log", cwd=self.folder, env=self._environment())
        self._processes.append(process)
        return process

    def _environment(self) -> dict[str, str]:
        """Nothing is inherited but the path: the user's own RABBITMQ_* variables are of another node."""
        own = {
            "NODENAME": "gapsmith@localhost",
            "MNESIA_BASE": str(self.folder / "data"),
            "LOG_BASE": str(self.folder),
            "CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "CONF_ENV_FILE": str(self.folder / "absent.conf"),
            "ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "DIST_PORT": str(self._distribution_port),
            "ALLOW_INPUT": "1",  # the script becomes the node, so that signals reach it
            "SERVER_ADDITIONAL_ERL_ARGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +S 1:1",
        }
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),  # of the cookie
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            **{f"RABBITMQ_{name}": value for name, value in own.items()},
        }

    def _write_files(self) -> None:
        hosts = [f"test-{number}" for number in range(1, VIRTUAL_HOSTS + 1)]
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        hashed = {"password_hash": salted(self.password), "hashing_algorithm": "rabbit_password_hashing_sha256"}
        definitions = {
            "users": [{"name": self.user, "tags": [], **hashed}],
            "vhosts": [{"name": host} for host in hosts],
            "permissions": [{"user": self.user, "vhost": host, **everything} for host in hosts],
        }
        configuration = {
            "listeners.tcp.1": f"127.0.0.1:{self.port}",
            "load_definitions": self.folder / "definitions.json",
            "log.file": self.folder / "rabbitmq.log",
            "log.console": "false",
        }
        (self.folder / "definitions.json").write_text(json.dumps(definitions))
        (self.folder / "rabbitmq.conf").write_text(
            "".join(f"{key} = {value}\n" for key, value in configuration.items())
        )
        (self.folder / "enabled_plugins").write_text("[].\n")


@pytest.fixture(scope="session")
def rabbitmq(service_folder: Path) -> Iterator[Node]:
    """The run's RabbitMQ; a test that stops it starts it again."""
    program = script()
    if program is None:
        pytest.skip("RabbitMQ is not installed (Debian: apt-get install --no-install-recommends rabbitmq-server)")
    node = Node(service_folder / "rabbitmq", program)
    node.start()
    yield node
    node.stop()


@pytest.fixture
def rabbitmq_url(rabbitmq: Node) -> str:
    """URL of an empty virtual host of one's own."""
    rabbitmq.start()
    return rabbitmq.url(rabbitmq.unused())


@pytest.fixture(params=["valkey", "rabbitmq"])
def broker_url(request: pytest.FixtureRequest, service_folder: Path) -> Iterator[str]:
    """URL of an empty broker of each supported kind; the test runs once on each."""
    if request.param == "rabbitmq":
        yield request.getfixturevalue("rabbitmq_url")
        return
    home = service_folder / f"valkey-{secrets.token_hex(4)}"
    stack = EmbeddedStack(home, {"postgres": "postgresql://127.0.0.1:1/none", "kafka": "127.0.0.1:1"})
    yield stack.up().celery_broker_url
    stack.down()
    shutil.rmtree(home, ignore_errors=True)

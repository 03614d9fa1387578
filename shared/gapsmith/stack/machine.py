"""All of gapsmith on one machine: embedded servers, every service as a process, in the foreground or behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path

import structlog

from gapsmith.core.errors import UnavailableError
from gapsmith.core.logs import unfailing
from gapsmith.core.settings import Settings, settings
from gapsmith.stack import dashboard, gateway
from gapsmith.stack.hung import HeartbeatWatch
from gapsmith.stack.keeper import Keeper
from gapsmith.stack.owner import sign_in_address
from gapsmith.stack.pidfiles import PidFile
from gapsmith.stack.stack import EmbeddedStack
from gapsmith.stack.supervisor import ServiceSpec, ServiceState, Supervisor, running_services

SERVICE_GROUP = "gapsmith.services"
NICE = {"dashboard": 5, "generator": 5, "surrogate": 5, "trainer": 10}  # DFT and the coordinator come first
STOP_WITHIN_S = 40.0
NOTES_EVERY_S = 5.0


class Machine:
    """Services under a supervisor, and the embedded servers under a keeper.

    Args:
        connected: settings with servers.
        only: names of services; none: all.
    """

    def __init__(self, connected: Settings, only: Sequence[str] = ()) -> None:
        self._connected = connected
        self._served: str | None = None  # where the dashboard was when a person was told
        self._sign_in = ""
        self._keeper = Keeper(EmbeddedStack.of(settings()))
        self._home, self._logs = connected.home, connected.home / "logs"
        specs = [spec for spec in service_specs() if not only or spec.name in only]
        if connected.listen and not only:
            specs.append(ServiceSpec(gateway.NAME, [sys.executable, "-m", "gapsmith.stack.gateway"]))
        self.supervisor = Supervisor(specs, _environment(connected), self._logs)
        self._watch = HeartbeatWatch(connected, self.supervisor)

    def notes(self) -> list[str]:
        """What a person should know: services that had to be started again, servers that do not come back."""
        found = []
        for status in self.supervisor.statuses():
            if status.reason is None:
                continue
            how = status.reason.partition(";")[0]
            if status.state is ServiceState.FAILED:
                found.append(f"{status.name} {how} and was given up: see {self._logs / status.name}.log")
            elif status.restarts:
                found.append(f"{status.name} {how}; started again ({status.restarts})")
        return found + ([self._keeper.problem] if self._keeper.problem else [])

    def dashboard(self) -> str | None:
        """Address that signs a browser in to the dashboard as the owner, once; None if none serves."""
        served = dashboard.url(self._home)
        if served is not None and served != self._served:
            self._served, self._sign_in = served, sign_in_address(self._connected, served)
        return self._sign_in if served is not None else None

    def __enter__(self) -> "Machine":
        """Start."""
        self.supervisor.start()
        self._keeper.start()
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the services; the servers stay."""
        self._watch.stop()
        self._keeper.stop()
        self.supervisor.stop()


def service_specs() -> list[ServiceSpec]:
    """Every service that is installed."""
    names = sorted(point.name for point in entry_points(group=SERVICE_GROUP))
    return [
        ServiceSpec(name, [sys.executable, "-m", "gapsmith.cli.main", name, "serve"], nice=NICE.get(name, 0))
        for name in names
    ]


def service_pid(home: Path, name: str) -> int | None:
    """Process id of a running service of that home."""
    return running_services(home / "run").get(name)


def background_pid(home: Path) -> int | None:
    """Process id of the supervisor that ``gapsmith up`` left behind."""
    record = _background(home).read()
    return record.pid if record is not None else None


def start_background(connected: Settings, within_s: float) -> None:
    """Start all services behind; returns when each, the dashboard apart, has a process. Raises UnavailableError if not."""
    log = connected.home / "logs" / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "gapsmith.stack.machine"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            umask=0o077,
            env={**os.environ, "GAPSMITH_HOME": str(connected.home)},
        )
    names = {spec.name for spec in service_specs()} - {dashboard.SERVICE}
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and child.poll() is None:
        if names <= running_services(connected.home / "run").keys():
            return
        time.sleep(0.1)
    raise UnavailableError(f"the services do not start; see {log}")


def stop_background(home: Path) -> bool:
    """Stop what ``start_background`` started; False if nothing ran."""
    if (pid := background_pid(home)) is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_WITHIN_S
    while background_pid(home) is not None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)  # its watchdog ends the services
            break
        time.sleep(0.1)
    return True


@contextmanager
def _written_down(home: Path) -> Iterator[None]:
    file = _background(home)
    file.write(os.getpid())
    try:
        yield
    finally:
        file.remove()


def _background(home: Path) -> PidFile:
    return PidFile(home / "supervisor.pid")


def _environment(connected: Settings) -> dict[str, str]:
    """What the services see: this process's environment, the servers' addresses, a thread per numerical library."""
    assert connected.postgres_url  # of connected settings
    assert connected.kafka_bootstrap
    assert connected.celery_broker_url
    threads = str(connected.threads)
    return {
        **os.environ,
        "GAPSMITH_HOME": str(connected.home),
        "GAPSMITH_POSTGRES_URL": connected.postgres_url.get_secret_value(),
        "GAPSMITH_KAFKA_BOOTSTRAP": connected.kafka_bootstrap,
        "GAPSMITH_CELERY_BROKER_URL": connected.celery_broker_url.get_secret_value(),
        "GAPSMITH_DFT_WORKERS": str(connected.dft_workers),
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
    }


def main() -> None:
    """Run all services until SIGTERM: what ``gapsmith up`` leaves behind."""
    own = settings()
    connected = EmbeddedStack.of(own).up().apply(own)
    said_to = unfailing(sys.stderr)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=said_to))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with _written_down(own.home), Machine(connected) as machine:
        said: set[str] = set()
        while not stop.wait(NOTES_EVERY_S):
            for note in machine.notes():
                if note not in said:
                    said.add(note)
                    print(note, file=said_to, flush=True)


if __name__ == "__main__":
    main()

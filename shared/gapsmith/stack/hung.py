"""Notices services that are there and do nothing: without a heartbeat for a minute they are ended and started again."""

import threading
import time
from dataclasses import dataclass
from datetime import datetime

import psycopg
import structlog

from gapsmith.core.errors import UnavailableError
from gapsmith.core.settings import Settings
from gapsmith.stack.supervisor import ServiceState, Supervisor
from gapsmith.store import heartbeats
from gapsmith.store.database import Database

LOOK_EVERY_S = 10.0

log = structlog.get_logger(__name__)


@dataclass
class _Heard:
    """A life of a service, as far as it was heard of."""

    pid: int | None
    beat: datetime | None
    at: float | None = None  # monotonic, when its last beat was seen first; None before the first of this life


class HeartbeatWatch:
    """Watches the heartbeats of a supervisor's services.

    Times are of this process's monotonic clock: neither a clock that is set nor a machine that slept counts as silence, nor
    the time while Postgres does not answer.

    Args:
        connected: settings with servers.
        supervisor: of the services.
        silent_s: without a heartbeat for so long, a service is taken for hung.
    """

    def __init__(self, connected: Settings, supervisor: Supervisor, silent_s: float = heartbeats.SILENT_S) -> None:
        self._settings, self._supervisor, self._silent_s = connected, supervisor, silent_s
        self._heard: dict[str, _Heard] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End watching; to be called before the services stop."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        with Database.from_settings(self._settings, connections=1) as database:
            while not self._stopped.wait(LOOK_EVERY_S):
                try:
                    with database.transaction() as connection:
                        found = heartbeats.last_here(connection)
                except (UnavailableError, psycopg.Error):
                    self._heard.clear()
                    continue
                self.look(found, time.monotonic())

    def look(self, found: dict[str, datetime], now: float) -> None:
        """Compare the last heartbeats of this machine's services with those of the look before, and end who is hung."""
        for status in self._supervisor.statuses():
            beat, heard = found.get(status.name), self._heard.get(status.name)
            if status.state is not ServiceState.RUNNING or heard is None or heard.pid != status.pid:
                self._heard[status.name] = _Heard(status.pid, beat)
            elif beat != heard.beat:
                heard.beat, heard.at = beat, now
            elif heard.at is not None and now - heard.at > self._silent_s:
                log.warning("service is hung", service=status.name, pid=status.pid)
                self._supervisor.end_hung(status.name, f"gave no heartbeat for {self._silent_s:.0f} s and was ended")
                del self._heard[status.name]

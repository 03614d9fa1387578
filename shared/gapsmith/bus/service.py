"""What every service is: events in, long work under a lease, events out, a heartbeat, a clean shutdown."""

import os
import signal
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar
from uuid import UUID

import psycopg
import structlog

from gapsmith.bus import relay
from gapsmith.bus.inlet import Handler, Inlet
from gapsmith.core import crash
from gapsmith.core.errors import GapsmithError, UnavailableError
from gapsmith.core.logs import concerning, configure_logging
from gapsmith.core.settings import Settings
from gapsmith.core.stopping import StopFlag
from gapsmith.store import heartbeats, tasks
from gapsmith.store.database import Connection, Database
from gapsmith.store.tasks import Task

log = structlog.get_logger()

Commit = Callable[[Connection], None]


class Interrupted(Exception):
    """A task was to end before it was done; it goes back, unless it was taken away."""


class Service(ABC):
    """A process that handles events in short transactions and does its long work one unit at a time."""

    name: ClassVar[str]

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.stopping = StopFlag()
        self.wake = threading.Event()
        self.instance = f"{socket.gethostname()}-{os.getpid()}"
        self.doing = "idle"
        self.campaign_id: UUID | None = None  # whose task is in work

    @abstractmethod
    def handlers(self) -> Sequence[Handler]:
        """What to do with which event, see ``bus.inlet.on``."""

    def setup(self) -> None:
        """Before the first event: load models and the like."""

    @abstractmethod
    def work(self) -> bool:
        """Do one unit of long work, if there is any; True if there was."""

    def pause_s(self) -> float:
        """How long to wait for an event when there is no work, before work is looked for again."""
        return self.settings.poll_interval_s

    def beat(self, connection: Connection) -> None:
        """Renew leases; called with every heartbeat from another thread than ``work``."""

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        signal.signal(signal.SIGINT, lambda *_: self.stop())
        threads = [
            threading.Thread(target=relay.run, args=(self.settings, self.database, self.stopping), daemon=True),
            threading.Thread(target=self._heartbeat, daemon=True),
        ]
        self.doing = "starting"
        for thread in threads:
            thread.start()
        self.setup()
        self.doing = "idle"
        inlet = Inlet(self.settings, self.database, self.name, self.handlers(), self.wake.set)
        threads.append(threading.Thread(target=inlet.run, args=(self.stopping,), daemon=True))
        threads[-1].start()
        log.info("serving", service=self.name, pid=os.getpid())
        while not self.stopping.is_set():
            self.wake.clear()
            try:
                busy = self.work()
            except (UnavailableError, psycopg.OperationalError) as error:
                log.warning("work waits", reason=str(error))
                busy = False
                self.stopping.wait(1.0)
            if not busy:
                self.wake.wait(self.pause_s())
        for thread in threads:
            thread.join(timeout=5.0)
        try:
            with self.database.transaction() as connection:
                heartbeats.end(connection, self.name)
        except UnavailableError as error:
            log.warning("no farewell", reason=str(error))
        log.info("stopped", service=self.name)

    def stop(self) -> None:
        """Ask the service to end; safe from a signal handler."""
        self.stopping.set()
        self.wake.set()

    def _heartbeat(self) -> None:
        while not self.stopping.is_set():
            try:
                with self.database.transaction() as connection:
                    heartbeats.beat(connection, self.name, self.doing, campaign_id=self.campaign_id)
                    self.beat(connection)
            except (UnavailableError, psycopg.Error) as error:
                log.warning("no heartbeat", reason=str(error))
            self.stopping.wait(self.settings.heartbeat_s)


class TaskService(Service):
    """A service whose long work is rows in ``tasks``."""

    one_per: ClassVar[str | None] = None  # key of the payload: no two tasks with the same value run at a time
    _current: Task | None = None

    def __init__(self, settings: Settings, database: Database) -> None:
        super().__init__(settings, database)
        self.interrupt = (
            threading.Event()
        )  # the task in work must end: the service is to stop, or the task was taken away

    def stop(self) -> None:
        """Ask the service to end, and the task in work with it."""
        super().stop()
        self.interrupt.set()

    @abstractmethod
    def perform(self, task: Task) -> Commit:
        """Compute; returns what to write, run in one transaction with the end of the task.

        Raises:
            Interrupted: ``self.interrupt`` was set.
        """

    def work(self) -> bool:
        """Claim a task, perform it, write its results and its end in one transaction."""
        with self.database.transaction() as connection:
            task = tasks.claim(connection, self.name, self.instance, self.settings.lease_s, one_per=self.one_per)
        if task is None:
            return False
        self._current, self.doing, self.campaign_id = task, task.kind, task.campaign_id
        self.interrupt.clear()  # it may be of a task that was taken away
        if self.stopping.is_set():
            self.interrupt.set()
        try:
            with concerning(campaign_id=task.campaign_id, event_id=task.id):  # it has the id of the event that asked
                self._do(task)
        finally:
            self._current, self.doing, self.campaign_id = None, "idle", None
        return True

    def _do(self, task: Task) -> None:
        started = time.monotonic()
        try:
            commit = self.perform(task)
            with self.database.transaction() as connection:
                if tasks.finish(connection, task.id, self.instance):
                    commit(connection)
                    log.info("task done", kind=task.kind, seconds=round(time.monotonic() - started, 2))
                else:
                    log.warning("task was taken over", kind=task.kind)
        except Interrupted:
            with self.database.transaction() as connection:
                tasks.release(connection, task.id, self.instance)
        except (UnavailableError, psycopg.OperationalError):
            raise  # the lease runs out and the task is taken again
        except Exception as error:
            failure = error if isinstance(error, GapsmithError) else crash.record(error)
            log.exception("task failed", kind=task.kind, attempt=task.attempts, code=failure.code, reason=str(failure))
            with self.database.transaction() as connection:
                tasks.fail(connection, task.id, self.instance, f"{type(error).__name__}: {error}")

    def beat(self, connection: Connection) -> None:
        """Renew the lease of the task in work."""
        if (task := self._current) is not None:
            held = tasks.renew(connection, task.id, self.instance, self.settings.lease_s)
            if not held and self._current is task:
                self.interrupt.set()


def serve(service: type[Service], settings: Settings) -> None:
    """Entry point of a service's process."""
    configure_logging(settings)
    with Database.from_settings(settings) as database:
        service(settings, database).run()

"""The DFT worker: woken by Celery, takes the most urgent calculation from Postgres under a lease, computes it in a child.

Told to end (SIGTERM), it gives what it computes back to the queue at once, so that a batch system's grace time is enough.
"""

import logging
import os
import socket
import tempfile
import threading
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import structlog
from celery.exceptions import SecurityWarning
from celery.signals import worker_shutting_down

from gapsmith.core.errors import CalculationError, DataError, FailureClass, FailureCode, InputError, UnavailableError
from gapsmith.core.logs import concerning, configure_logging
from gapsmith.core.settings import Settings
from gapsmith.dft_queue import child
from gapsmith.dft_queue.app import QUEUES, TASK, make_app
from gapsmith.dft_queue.confirming import SURPRISING, confirmed, is_surprising
from gapsmith.dft_queue.engines import find
from gapsmith.dft_queue.jobs import CalculationInput, CalculationOutput
from gapsmith.dft_queue.outcomes import store_failure, store_output
from gapsmith.dft_queue.runner import Limits, Stopped, run_in_child, server, tail
from gapsmith.store import calculations, candidates, conformers, heartbeats, levels
from gapsmith.store.calculations import Calculation
from gapsmith.store.database import Database

log = structlog.get_logger()
NAME = heartbeats.DFT_WORKER
RESIDENT = 0.7  # of the address space that a calculation needs, what is in memory at a time
ONE_CALL_S = 600.0  # after so long a message is acknowledged, though more work waits


@dataclass
class Running:
    """A calculation in work, and the lease it is held under."""

    calculation: Calculation
    owner: str
    folder: Path  # its log and its files
    renewed_at: float  # monotonic
    stop: threading.Event = field(default_factory=threading.Event)


class Worker:
    """Computes up to ``settings.dft_workers`` calculations at a time, each in a process of its own with one thread."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.instance = f"{socket.gethostname()}-{os.getpid()}"
        self.host = socket.gethostname()
        self.queues = settings.dft_queues.split(",")
        self.stopping = threading.Event()
        self._running: dict[str, Running] = {}
        self._lock = threading.Lock()

    def calculate_next(self) -> UUID | None:
        """Claim, compute and store the most urgent calculation; its id, or None if there was nothing to do.

        Raises:
            UnavailableError: Postgres cannot be reached.
        """
        if self.stopping.is_set():
            return None
        owner = f"{self.instance}-{uuid4().hex[:8]}"  # of this attempt only: a lost one cannot store anything
        asked = time.monotonic()
        with self.database.transaction() as connection:
            calculation = calculations.claim(
                connection, owner, self.settings.lease_s, queues=self.queues, host=self.host
            )
        if calculation is None:
            return None
        with tempfile.TemporaryDirectory(prefix="gapsmith-dft-", ignore_cleanup_errors=True) as folder:
            running = Running(calculation, owner, Path(folder), renewed_at=asked)
            with self._lock:
                self._running[owner] = running
                if self.stopping.is_set():
                    running.stop.set()
            try:
                with concerning(campaign_id=calculation.campaign_id, calculation_id=calculation.id):
                    self._compute(running)
            finally:
                with self._lock:
                    del self._running[owner]
        return calculation.id

    def _compute(self, running: Running) -> None:
        calculation = running.calculation
        bound = log.bind(level=calculation.level, attempt=calculation.attempts)
        try:
            with self.database.transaction() as connection:
                level = levels.get(connection, calculation.level_version)
                start = conformers.get(connection, calculation.conformer_id)
            if level is None:
                raise DataError(
                    f"the level of theory {calculation.level!r} ({calculation.level_version}) is not stored"
                )
            numbers, coordinates = start.molecule.numbers, start.molecule.coordinates
            job = CalculationInput.of(numbers, coordinates, level, calculation.charge, calculation.spin, start.method)
            if level.conformers is not None:
                job = job.with_bonds(start.molecule)
            output = run_in_child(job, running.folder, self._limits(job), running.stop)
            with self.database.transaction() as connection:
                expected = candidates.predicted_gap_ev(connection, calculation.id)
            if is_surprising(output.gap_ev, expected):
                output = self._confirmed(running, job, output)
        except Stopped:
            bound.info("calculation stopped")
            if self.stopping.is_set():
                with self.database.transaction() as connection:
                    calculations.release(connection, calculation.id, running.owner)
        except (CalculationError, DataError, InputError, OSError) as error:
            failure = _classified(error)
            bound.warning(
                "calculation failed",
                failure_class=failure.failure_class,
                code=failure.failure_code,
                reason=failure.reason,
            )
            log_tail = tail(running.folder)
            self._insist(running, lambda: store_failure(self.database, calculation, running.owner, failure, log_tail))
        else:
            found, files, log_tail = output, running.folder / child.FILES, tail(running.folder)
            stored = self._insist(
                running,
                lambda: store_output(self.database, calculation, running.owner, level, found, files, log_tail),
            )
            bound.info("calculation done" if stored else "lease lost, result dropped", gap_ev=output.gap_ev)

    def _confirmed(self, running: Running, job: CalculationInput, output: CalculationOutput) -> CalculationOutput:
        """The result, if another route comes to the same gap at the same geometry.

        Raises:
            CalculationError: it does not, or does not converge (chemistry).
        """
        other = job.level.other_route
        if find(other.engine).fault(other):
            return output
        end = output.coordinates_angstrom or job.coordinates_angstrom
        check = job.model_copy(update={"level": other, "coordinates_angstrom": end})
        folder = running.folder / "other-route"
        folder.mkdir()
        try:
            again = run_in_child(check, folder, self._limits(check), running.stop)
        except CalculationError as error:
            raise CalculationError(
                error.failure_class, f"{SURPRISING}, and another route fails: {error.reason}", FailureCode.UNCONFIRMED
            ) from error
        return confirmed(output, again)

    def _limits(self, job: CalculationInput) -> Limits:
        """Of a job's process; raises CalculationError (poison) if it needs more memory than there is for it."""
        job.check()
        level = job.level
        seconds = level.time_limit_s or self.settings.dft_time_limit_s
        needed_mb = find(level.engine).memory_mb(job) or 0
        there_mb = machine_memory_mb() // self.settings.dft_workers
        if RESIDENT * needed_mb > there_mb:
            reason = (
                f"it needs about {RESIDENT * needed_mb:.0f} MB of memory; worker {self.host} has {there_mb} MB for each "
                f"of the {self.settings.dft_workers} calculations at a time: lower GAPSMITH_DFT_WORKERS there, or "
                f"use a larger machine; the level's memory_mb does not change that"
            )
            raise CalculationError(FailureClass.POISON, reason, FailureCode.MEMORY)
        return Limits(level.memory_mb or max(self.settings.dft_memory_mb, needed_mb), seconds, seconds)

    def _insist(self, running: Running, store: Any) -> bool:
        """Store an outcome; if Postgres is away, try until the lease is lost."""
        while True:
            try:
                return bool(store())
            except (UnavailableError, psycopg.OperationalError) as error:
                log.warning("cannot store the outcome yet", reason=str(error))
                if running.stop.wait(1.0):
                    return False

    def beat(self) -> None:
        """Renew the leases and the heartbeat row; stop calculations whose lease is lost or was taken away."""
        with self._lock:
            held = list(self._running.values())
        try:
            with self.database.transaction() as connection:
                heartbeats.beat(
                    connection,
                    NAME,
                    f"computing {len(held)}" if held else "idle",
                    queues=self.queues,
                    calculation_ids=[running.calculation.id for running in held],
                )
            for running in held:
                asked = time.monotonic()
                with self.database.transaction() as connection:
                    kept = calculations.renew(
                        connection, running.calculation.id, running.owner, self.settings.lease_s, _progress(running)
                    )
                if kept:
                    running.renewed_at = asked
                else:
                    running.stop.set()
        except (UnavailableError, psycopg.Error) as error:
            log.warning("no heartbeat", reason=str(error))
        for running in held:
            if time.monotonic() - running.renewed_at > self.settings.lease_s:
                running.stop.set()  # somebody else may have it by now

    def stop(self) -> None:
        """Stop all calculations; they go back to the queue."""
        with self._lock:
            self.stopping.set()
            for running in self._running.values():
                running.stop.set()

    def serve(self) -> None:
        """Work until SIGTERM or SIGINT."""
        server()  # children come from it, and it must come from the main thread
        app = make_app(self.settings)

        @app.task(name=TASK, ignore_result=True)  # type: ignore[untyped-decorator]  # Celery has no types
        def calculate(calculation_id: str) -> None:
            until = time.monotonic() + ONE_CALL_S
            try:
                while self.calculate_next() is not None and time.monotonic() < until:
                    pass  # while there is work there is no need to wait for the bell
            except UnavailableError as error:
                log.warning("woken in vain", calculation_id=calculation_id, reason=str(error))

        worker_shutting_down.connect(self._on_shutdown)
        warnings.simplefilter(
            "ignore", SecurityWarning
        )  # of root, who could be sent pickles: only JSON is accepted here
        pulse = threading.Thread(target=self._pulse, daemon=True)
        pulse.start()
        log.info("serving", service=NAME, pid=os.getpid(), at_a_time=self.settings.dft_workers)
        worker = app.Worker(
            pool="threads",  # the computing is done by child processes
            concurrency=self.settings.dft_workers,
            hostname=f"dft@{self.instance}",
            queues=[QUEUES[name] for name in self.queues],
            loglevel=logging.WARNING,
            quiet=True,
            without_gossip=True,
            without_heartbeat=True,  # ours is in Postgres
            without_mingle=True,
        )
        worker.start()
        self.stop()
        pulse.join(timeout=5.0)
        try:
            with self.database.transaction() as connection:
                heartbeats.end(connection, NAME)
        except UnavailableError as error:
            log.warning("no farewell", reason=str(error))
        log.info("stopped", service=NAME)
        if worker.exitcode:  # Celery has logged why
            raise SystemExit(worker.exitcode)

    def _on_shutdown(self, **_: Any) -> None:
        threading.Thread(target=self.stop, daemon=True).start()  # not from the signal handler, which may hold the lock

    def _pulse(self) -> None:
        while not self.stopping.is_set():
            self.beat()
            self.stopping.wait(self.settings.heartbeat_s)


def machine_memory_mb() -> int:
    """Memory of the machine, or of the control group that the worker is in, if that has less."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # there is none, or it says max
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return int(memory // 2**20)


def _progress(running: Running) -> str | None:
    lines = tail(running.folder).splitlines()
    return lines[-1][:200] if lines else None


def _classified(error: Exception) -> CalculationError:
    if isinstance(error, CalculationError):
        return error
    if isinstance(error, DataError | InputError):
        return CalculationError(FailureClass.POISON, str(error))
    return CalculationError(FailureClass.TRANSIENT, f"the child process could not be run: {error}")


def main(settings: Settings) -> None:
    """Entry point of the worker."""
    configure_logging(settings)
    with Database.from_settings(settings, connections=settings.dft_workers + 2) as database:
        Worker(settings, database).serve()

"""Records a campaign's training while it goes on: its course to Postgres and to files, and its energy."""

import math
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from uuid import UUID

import psycopg
import structlog

from gapsmith.core.errors import UnavailableError
from gapsmith.store import training_runs
from gapsmith.store.database import Database
from gapsmith.trainer.job import Job, Progress
from gapsmith.trainer.launch import StoppedError
from gapsmith.training.energy import WATTS_PER_CORE, Energy, EnergyMeter, total
from gapsmith.training.metrics import MetricsWriter, Point

log = structlog.get_logger()

FLUSH_EVERY_S: Final = 2.0
RETRY_AFTER_S: Final = 60.0  # each try waits for a server that may be gone, and the training is not watched meanwhile
APART: Final = {
    "role",
    "processes",
    "device",
    "steps",
    "model_id",
    "parent_weights",
    "parent_sha256",
    "weights",
    "warnings",
}


def spent(directory: Path) -> Energy | None:
    """What all attempts at the training of a directory used together."""
    return total(directory / "energy")


class Recording:
    """A run in ``training_runs`` while it is entered. Neither a full disk nor a lost Postgres ends the training.

    Left with an exception, the run is stopped or failed. Left without, it is running still, until whoever takes up the model
    calls ``training_runs.finish``.

    Args:
        database: where the run is recorded.
        run_id: the same in every attempt.
        job: what is trained.
        backend: what several processes work together with.
        directory: of metrics.jsonl, TensorBoard's files, and what every attempt used; the same in every attempt.
        campaign_id: that asked for the training.
        watts_per_core: of the estimate where energy cannot be measured.
    """

    def __init__(
        self,
        database: Database,
        run_id: UUID,
        job: Job,
        *,
        backend: str,
        directory: Path,
        campaign_id: UUID | None,
        watts_per_core: float = WATTS_PER_CORE,
    ) -> None:
        self._database, self._run_id, self._job = database, run_id, job
        self._backend, self._directory, self._campaign_id = backend, directory, campaign_id
        self._meter = EnergyMeter(
            device=job.device, itself=False, directory=directory / "energy", watts_per_core=watts_per_core
        )
        self._before_kwh = 0.0
        self._files = MetricsWriter(directory)
        self._points: list[Point] = []
        self._last: Point | None = None
        self._flush_at = 0.0

    def __enter__(self) -> Self:
        """Begin; raises UnavailableError if Postgres cannot be reached."""
        job = self._job
        with self._database.transaction() as connection:
            training_runs.start(
                connection,
                self._run_id,
                role=job.role,
                processes=job.processes,
                backend=self._backend if job.processes > 1 else "single",
                device=job.device,
                campaign_id=self._campaign_id,
                planned_steps=job.steps,
                directory=self._directory,
                config=job.model_dump(mode="json", exclude=APART),
            )
        before = spent(self._directory)
        self._before_kwh = 0.0 if before is None else before.kwh
        self._meter.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End."""
        self._meter.__exit__(kind, error, traceback)
        self._files.close()
        try:
            with self._database.transaction() as connection:
                training_runs.record(connection, self._run_id, self._points, self.energy)
                if isinstance(error, StoppedError):
                    training_runs.finish(connection, self._run_id, "stopped", reason="told to stop")
                elif error is not None:
                    training_runs.finish(connection, self._run_id, "failed", reason=str(error))
        except (UnavailableError, psycopg.Error) as problem:
            log.warning("training not recorded to its end", run=str(self._run_id), reason=str(problem))

    @property
    def energy(self) -> Energy:
        """What the training used so far, all attempts together."""
        now = self._meter.read()
        return Energy(self._before_kwh + now.kwh, now.method, now.measured)

    def tell(self, progress: Progress) -> None:
        """Record where the training is, with its speed and energy."""
        if self._last is not None and progress.step == self._last.step:
            return
        speed = self._speed(progress) if progress.samples_per_s is None else progress.samples_per_s
        point = Point(
            progress.step, progress.elapsed_s, progress.losses, progress.rate, speed, self.energy.kwh
        ).finite()
        self._last = point
        self._points.append(point)
        problem = self._files.problem
        self._files.write(point)
        if self._files.problem not in (None, problem):
            log.warning("no metrics files", run=str(self._run_id), reason=self._files.problem)
        if time.monotonic() > self._flush_at:
            self._flush()

    def _speed(self, progress: Progress) -> float | None:
        """Samples per second since the last time."""
        if self._last is None or progress.step <= self._last.step:
            return None
        seconds = progress.elapsed_s - self._last.elapsed_s
        return self._job.batch_size * (progress.step - self._last.step) / seconds if seconds > 0 else math.inf

    def _flush(self) -> None:
        self._flush_at = time.monotonic() + FLUSH_EVERY_S
        try:
            with self._database.transaction() as connection:
                training_runs.record(connection, self._run_id, self._points, self.energy)
            self._points = []
        except (UnavailableError, psycopg.Error) as problem:
            self._flush_at = time.monotonic() + RETRY_AFTER_S
            log.warning("training not recorded for now", run=str(self._run_id), reason=str(problem))

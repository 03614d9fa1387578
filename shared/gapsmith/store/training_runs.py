"""Trainings: a row each, with their course by step, what they cost, and the model that came out."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from gapsmith.store.database import Connection
from gapsmith.training.energy import Energy
from gapsmith.training.metrics import Point


@dataclass(frozen=True)
class Run:
    """A row."""

    id: UUID
    role: str  # of model
    campaign_id: UUID | None  # None: a person started it
    model_id: UUID | None  # that came out, once it is registered
    state: str  # running, finished, failed or stopped
    reason: str | None  # of failed and stopped
    started_at: datetime
    updated_at: datetime  # when it was last heard of
    finished_at: datetime | None
    host: str
    processes: int
    backend: str  # single, horovod or torch
    device: str
    directory: str | None  # of its TensorBoard files
    planned_steps: int | None  # None: it is ended by time
    steps: int  # done
    elapsed_s: float  # of training, all attempts together
    energy_kwh: float | None
    energy_method: str | None
    energy_measured: bool | None  # False: estimated, wholly or in part
    config: Mapping[str, Any]

    @property
    def energy(self) -> Energy | None:
        """What it used so far, if that is known."""
        if self.energy_kwh is None:
            return None
        return Energy(self.energy_kwh, self.energy_method or "", bool(self.energy_measured))


_COLUMNS = ", ".join(Run.__dataclass_fields__)


def start(
    connection: Connection,
    run_id: UUID,
    *,
    role: str,
    processes: int,
    backend: str,
    device: str,
    campaign_id: UUID | None = None,
    planned_steps: int | None = None,
    directory: Path | None = None,
    config: Mapping[str, Any] | None = None,
) -> None:
    """Write down that a training starts, or goes on after it was stopped or killed.

    Args:
        connection: in a transaction.
        run_id: the same in every attempt.
        role: of model.
        processes: all together.
        backend: single, horovod or torch.
        device: torch's name of it.
        campaign_id: that asked for it.
        planned_steps: None if it is ended by time.
        directory: of its TensorBoard files.
        config: whatever else it was started with, as JSON can hold it.
    """
    connection.execute(
        """INSERT INTO training_runs (id, role, campaign_id, state, host, processes, backend, device, directory,
                                      planned_steps, config)
           VALUES (%s, %s, %s, 'running', %s, %s, %s, %s, %s, %s, %s)
           ON CONFLICT (id) DO UPDATE SET
               state = 'running', reason = NULL, finished_at = NULL, updated_at = now(), host = EXCLUDED.host,
               processes = EXCLUDED.processes, backend = EXCLUDED.backend, device = EXCLUDED.device,
               directory = EXCLUDED.directory, planned_steps = EXCLUDED.planned_steps, config = EXCLUDED.config""",
        (
            run_id,
            role,
            campaign_id,
            socket.gethostname(),
            processes,
            backend,
            device,
            None if directory is None else str(directory),
            planned_steps,
            Jsonb(dict(config or {})),
        ),
    )


def record(connection: Connection, run_id: UUID, points: Sequence[Point], energy: Energy | None = None) -> None:
    """Add points of a run that exists, as they came, and bring its row up to date.

    What a point finds of its own step and of later ones is forgotten: an attempt that was lost did those.
    """
    kept: list[Point] = []
    for point in points:
        while kept and kept[-1].step >= point.step:
            kept.pop()
        kept.append(point)
    if kept:
        connection.execute("DELETE FROM training_metrics WHERE run_id = %s AND step >= %s", (run_id, kept[0].step))
        rows = [asdict(point.finite()) for point in kept]
        with connection.cursor() as cursor:
            cursor.executemany(
                """INSERT INTO training_metrics (run_id, step, elapsed_s, losses, rate, samples_per_s, energy_kwh)
                   VALUES (%(run_id)s, %(step)s, %(elapsed_s)s, %(losses)s, %(rate)s, %(samples_per_s)s, %(energy_kwh)s)""",
                [{**row, "run_id": run_id, "losses": Jsonb(row["losses"])} for row in rows],
            )
        connection.execute(
            "UPDATE training_runs SET steps = %s, elapsed_s = %s, updated_at = now() WHERE id = %s",
            (kept[-1].step, kept[-1].elapsed_s, run_id),
        )
    if energy is not None:
        connection.execute(
            """UPDATE training_runs SET energy_kwh = %s, energy_method = %s, energy_measured = %s, updated_at = now()
               WHERE id = %s""",
            (energy.kwh, energy.method, energy.measured, run_id),
        )


def finish(
    connection: Connection,
    run_id: UUID,
    state: Literal["finished", "failed", "stopped"],
    *,
    reason: str | None = None,
    model_id: UUID | None = None,
    energy: Energy | None = None,
) -> None:
    """Write down how a run ended.

    Args:
        connection: in a transaction.
        run_id: of the run.
        state: finished, failed or stopped.
        reason: of failed and stopped.
        model_id: what came out, if it is registered.
        energy: of the whole run.
    """
    record(connection, run_id, (), energy)
    connection.execute(
        """UPDATE training_runs SET state = %s, reason = %s, model_id = coalesce(%s, model_id), finished_at = now(),
                  updated_at = now() WHERE id = %s""",
        (state, reason, model_id, run_id),
    )


def recent(
    connection: Connection, *, limit: int = 20, role: str | None = None, campaign_id: UUID | None = None
) -> list[Run]:
    """The newest runs, those of a role or of a campaign if wanted."""
    rows = connection.execute(
        f"""SELECT {_COLUMNS} FROM training_runs
            WHERE (%(role)s::text IS NULL OR role = %(role)s)
              AND (%(campaign)s::uuid IS NULL OR campaign_id = %(campaign)s)
            ORDER BY started_at DESC, id LIMIT %(limit)s""",
        {"role": role, "campaign": campaign_id, "limit": limit},
    ).fetchall()
    return [Run(**row) for row in rows]


def get(connection: Connection, run_id: UUID) -> Run | None:
    """A run by its id."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM training_runs WHERE id = %s", (run_id,)).fetchone()
    return Run(**row) if row else None


def of(connection: Connection, model_id: UUID) -> Run | None:
    """The run that a model came out of; None of shipped weights, and of models older than the records."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM training_runs WHERE model_id = %s ORDER BY started_at DESC LIMIT 1", (model_id,)
    ).fetchone()
    return Run(**row) if row else None


def points(connection: Connection, run_id: UUID) -> list[Point]:
    """The course of a run, by rising step."""
    rows = connection.execute(
        """SELECT step, elapsed_s, losses, rate, samples_per_s, energy_kwh FROM training_metrics
           WHERE run_id = %s ORDER BY step""",
        (run_id,),
    ).fetchall()
    return [Point(**row) for row in rows]

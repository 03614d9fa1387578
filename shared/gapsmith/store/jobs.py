"""What people ask of the DFT queue: which jobs there are; again, never mind, sooner."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from gapsmith.core.chemistry.elements import formula
from gapsmith.core.errors import FailureClass, InputError, NotFound
from gapsmith.core.hints import hint
from gapsmith.core.messages import CalculationFinished, CalculationRequested
from gapsmith.store import candidates, outbox
from gapsmith.store.calculations import choosing
from gapsmith.store.database import Connection

SHORT: Final = 8  # characters of an id that people are shown
SHORTEST: Final = 4  # that they may write
CANCELLED: Final = "cancelled by its user"


class JobState(StrEnum):
    """Where a job is. What is quarantined has failed, too."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    CANCELLED = "cancelled"


class JobFilter(BaseModel):
    """Which jobs. What is None or empty does not restrict."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    ids: tuple[UUID, ...] | None = None
    states: tuple[JobState, ...] = Field((), description="any of these; failed includes quarantined")
    level: str | None = Field(None, description="name of a level of theory")
    campaign: str | None = Field(None, description="name of a campaign")
    failure_class: FailureClass | None = None

    def conditions(self) -> tuple[str, dict[str, Any]]:
        """SQL over ``calculations k`` and its parameters."""
        parts: list[str] = []
        values: dict[str, Any] = {}
        if self.ids is not None:
            parts.append("k.id = ANY(%(ids)s)")
            values["ids"] = list(self.ids)
        if self.states:
            plain = [str(state) for state in self.states if state is not JobState.QUARANTINED]
            quarantined = "k.state = 'failed' AND k.failure_class = 'poison'"
            either = f"k.state = ANY(%(states)s) OR ({quarantined})"
            parts.append(f"({either})" if JobState.QUARANTINED in self.states else "k.state = ANY(%(states)s)")
            values["states"] = plain
        for name, column in (("level", "k.level"), ("failure_class", "k.failure_class")):
            if (value := getattr(self, name)) is not None:
                parts.append(f"{column} = %({name})s")
                values[name] = str(value)
        if self.campaign is not None:
            parts.append("k.campaign_id = (SELECT id FROM campaigns WHERE name = %(campaign)s)")
            values["campaign"] = self.campaign
        return " AND ".join(parts) or "true", values

    def check(self, connection: Connection) -> None:
        """Raise InputError if it names a campaign or a level that there is nothing of, with those that there are."""
        if self.campaign is not None:
            rows = connection.execute("SELECT name FROM campaigns ORDER BY created_at").fetchall()
            if self.campaign not in (names := [row["name"] for row in rows]):
                raise InputError(f"--campaign: no campaign is called {self.campaign!r}{hint(self.campaign, names)}")
        if self.level is not None:
            rows = connection.execute("SELECT DISTINCT level FROM calculations ORDER BY level").fetchall()
            if self.level not in (levels := [row["level"] for row in rows]):
                raise InputError(f"--level: no job is of level {self.level!r}{hint(self.level, levels)}")


class Job(BaseModel):
    """A DFT job in a list."""

    model_config = ConfigDict(frozen=True)
    id: UUID
    state: JobState
    level: str
    campaign: str | None
    formula: str
    smiles: str | None
    priority: int
    attempts: int
    rung: str | None
    gap_ev: float | None
    seconds: float = Field(description="that it waits (negative: until it may start), runs, or took")
    host: str | None = Field(description="that works on it, or did last")
    failure_class: str | None
    reason: str | None = Field(description="of its last failure, if it has not succeeded since")
    created_at: datetime


@dataclass(frozen=True)
class Changed:
    """A job that was changed."""

    id: UUID
    queue: str
    priority: int


_STATE = "CASE WHEN k.state = 'failed' AND k.failure_class = 'poison' THEN 'quarantined' ELSE k.state END"
_LIST = f"""
    SELECT k.id, {_STATE} AS state, k.level, g.name AS campaign, f.numbers, k.charge, m.smiles, k.priority, k.attempts,
           k.rung, k.gap_ev, coalesce(a.host, k.host) AS host, k.failure_class, k.failure_reason AS reason, k.created_at,
           extract(epoch FROM CASE k.state
               WHEN 'queued' THEN now() - greatest(k.created_at, k.not_before)
               WHEN 'running' THEN now() - k.started_at
               ELSE k.finished_at - coalesce(k.started_at, k.finished_at) END)::float8 AS seconds
    FROM calculations k JOIN conformers f ON f.id = k.conformer_id
    LEFT JOIN molecules m ON m.id = f.molecule_id
    LEFT JOIN campaigns g ON g.id = k.campaign_id
    LEFT JOIN LATERAL (SELECT host FROM attempts WHERE calculation_id = k.id ORDER BY id DESC LIMIT 1) a ON true"""


def listed(connection: Connection, jobs: JobFilter, *, limit: int = 50, before: UUID | None = None) -> list[Job]:
    """The newest jobs that a filter selects; ``before`` is the last one of the page before. Raises InputError."""
    jobs.check(connection)
    where, values = jobs.conditions()
    if before is not None:
        where += """ AND k.created_at <= (SELECT created_at FROM calculations WHERE id = %(before)s)
                     AND (k.created_at < (SELECT created_at FROM calculations WHERE id = %(before)s) OR k.id > %(before)s)"""
    rows = connection.execute(
        f"{_LIST} WHERE {where} ORDER BY k.created_at DESC, k.id LIMIT %(limit)s",
        {**values, "before": before, "limit": limit},
    ).fetchall()
    return [_job(row) for row in rows]


def _job(row: dict[str, Any]) -> Job:
    numbers, charge, state = row.pop("numbers"), row.pop("charge"), row.pop("state")
    return Job(formula=_formula(bytes(numbers), charge), state=JobState(state), **row)


@lru_cache(maxsize=10_000)
def _formula(numbers: bytes, charge: int) -> str:
    return formula(numbers, charge)


def counts(connection: Connection, jobs: JobFilter, *, ended_within_s: float | None = None) -> dict[JobState, int]:
    """How many jobs a filter selects by state, quarantined ones apart; of those that ended, perhaps only recent ones."""
    where, values = jobs.conditions()
    if ended_within_s is not None:
        where += " AND (k.finished_at IS NULL OR k.finished_at > now() - make_interval(secs => %(span)s))"
        values["span"] = ended_within_s
    rows = connection.execute(
        f"SELECT {_STATE} AS state, count(*) AS n FROM calculations k WHERE {where} GROUP BY 1", values
    ).fetchall()
    found = {row["state"]: int(row["n"]) for row in rows}
    return {state: found[state] for state in JobState if state in found}


def resolve(connection: Connection, texts: Sequence[str]) -> list[UUID]:
    """Ids of jobs by how they begin, in their order; raises NotFound, or InputError for what begins several ids."""
    lows, highs = zip(*(_span(text) for text in texts), strict=True) if texts else ((), ())
    rows = connection.execute(
        """SELECT asked.place, k.id FROM unnest(%s::uuid[], %s::uuid[]) WITH ORDINALITY AS asked (low, high, place)
           LEFT JOIN LATERAL (SELECT id FROM calculations WHERE id BETWEEN asked.low AND asked.high ORDER BY id LIMIT 3) k
               ON true ORDER BY asked.place, k.id""",
        (list(lows), list(highs)),
    ).fetchall()
    found: list[list[UUID]] = [[] for _ in texts]
    for row in rows:
        if row["id"] is not None:
            found[row["place"] - 1].append(row["id"])
    for text, ids in zip(texts, found, strict=True):
        if not ids:
            raise NotFound(f"no job has an id that begins with {text!r}; gapsmith jobs list shows them")
        if len(ids) > 1:
            raise InputError(
                f"several jobs have ids that begin with {text!r}: {', '.join(map(str, ids))} ...; write more of it"
            )
    return list(dict.fromkeys(ids[0] for ids in found))


def _span(text: str) -> tuple[UUID, UUID]:
    """The first and the last id that begin with a text."""
    digits = text.strip().lower().replace("-", "")
    if not SHORTEST <= len(digits) <= 32 or set(digits) - set("0123456789abcdef"):
        raise NotFound(
            f"{text!r} is no id of a job: write {SHORTEST} or more of its hexadecimal digits, which gapsmith jobs list shows"
        )
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))


def retry(connection: Connection, jobs: JobFilter, *, source: str = "cli") -> list[Changed]:
    """Queue failed and cancelled jobs again, with fresh budgets of attempts; they keep their campaign unless it has ended.

    Candidates of campaigns that go on, which have failed or were withdrawn through them, wait for the new results.
    """
    jobs.check(connection)
    changed = [Changed(**row) for row in choosing.queue_again(connection, *jobs.conditions())]
    candidates.wait_again(connection, [one.id for one in changed])
    events = [CalculationRequested(calculation_id=one.id, queue=one.queue, priority=one.priority) for one in changed]
    outbox.emit_all(connection, events, source=source)
    return changed


def cancel(connection: Connection, jobs: JobFilter, *, source: str = "cli") -> list[Changed]:
    """Cancel queued and running jobs; workers notice when they renew their leases.

    Candidates that wait for them are withdrawn, and certificates given up, so that no campaign asks for them again.
    """
    jobs.check(connection)
    changed = [Changed(**row) for row in choosing.give_up(connection, *jobs.conditions(), CANCELLED)]
    candidates.give_up(connection, [one.id for one in changed], CANCELLED)
    events = [CalculationFinished(calculation_id=one.id, state="cancelled") for one in changed]
    outbox.emit_all(connection, events, source=source)
    return changed


def adopt(connection: Connection, ids: Sequence[UUID]) -> None:
    """See to it that jobs which a person waits for are not held up by campaigns that share them.

    Those of campaigns that do not run need not wait for them any more; those that a campaign took back are queued again.
    """
    choosing.disown(connection, ids)
    taken_back = connection.execute(
        "SELECT id FROM calculations WHERE id = ANY(%s) AND state = 'cancelled' AND failure_reason IS DISTINCT FROM %s",
        (list(ids), CANCELLED),
    ).fetchall()
    if taken_back:
        retry(connection, JobFilter(ids=tuple(row["id"] for row in taken_back)), source="cli")


def prioritise(connection: Connection, jobs: JobFilter, priority: int) -> list[Changed]:
    """Set the priority of queued and running jobs: of the queued ones, the highest start first."""
    jobs.check(connection)
    return [Changed(**row) for row in choosing.set_priority(connection, *jobs.conditions(), priority)]

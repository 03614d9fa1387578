"""Rows of calculations and their results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from gapsmith.store.database import Connection


@dataclass(frozen=True)
class Calculation:
    """A row."""

    id: UUID
    level: str
    level_version: str
    queue: str
    campaign_id: UUID | None
    conformer_id: UUID
    charge: int
    spin: int
    priority: int
    state: str
    attempts: int
    losses: int
    transients: int
    gap_ev: float | None
    result_conformer_id: UUID | None
    failure_class: str | None
    failure_reason: str | None


@dataclass(frozen=True)
class Result:
    """What a calculation gave. None stands for what its level does not give."""

    energy_hartree: float
    gap_ev: float | None
    homo_ev: float | None
    lumo_ev: float | None
    dipole_debye: float | None
    rung: str | None
    wall_s: float
    cpu_s: float
    host: str
    software: Mapping[str, str]
    result_conformer_id: UUID | None = None  # of a relaxation
    rearranged: str | None = None
    findings: Sequence[str] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


COLUMNS: Final = """id, level, level_version, queue, campaign_id, conformer_id, charge, spin, priority, state, attempts,
                      losses, transients, gap_ev, result_conformer_id, failure_class, failure_reason"""


def get(connection: Connection, calculation_id: UUID) -> Calculation | None:
    """A calculation by id."""
    row = connection.execute(f"SELECT {COLUMNS} FROM calculations WHERE id = %s", (calculation_id,)).fetchone()
    return Calculation(**row) if row else None


def conformers(connection: Connection, content_hashes: Sequence[str]) -> dict[str, UUID]:
    """The conformers that calculations of some contents start from, of those that there are."""
    rows = connection.execute(
        "SELECT content_hash, conformer_id FROM calculations WHERE content_hash = ANY(%s)", (list(content_hashes),)
    )
    return {row["content_hash"]: row["conformer_id"] for row in rows}


def waiting(connection: Connection, older_than_s: float) -> list[tuple[UUID, str]]:
    """Queued calculations that have been due for a while, and their queues: the broker may have forgotten them."""
    rows = connection.execute(
        """SELECT k.id, k.queue FROM calculations k LEFT JOIN campaigns c ON c.id = k.campaign_id
           WHERE k.state = 'queued' AND greatest(k.not_before, k.created_at) < now() - make_interval(secs => %s)
             AND (c.id IS NULL OR c.state = 'running') ORDER BY k.priority DESC, k.created_at LIMIT 10000""",
        (older_than_s,),
    ).fetchall()
    return [(row["id"], row["queue"]) for row in rows]


@dataclass(frozen=True)
class Ended:
    """What an ended calculation came to."""

    id: UUID
    state: str
    homo_ev: float | None
    lumo_ev: float | None
    energy_hartree: float | None
    dipole_debye: float | None
    mulliken_e: Sequence[float] | None
    rung: str | None
    cpu_s: float | None
    software: Mapping[str, str] | None
    failure_class: str | None
    failure_reason: str | None


def ended(connection: Connection, ids: Sequence[UUID]) -> list[Ended]:
    """Those of the given calculations that have ended."""
    rows = connection.execute(
        """SELECT id, state, homo_ev, lumo_ev, energy_hartree, dipole_debye, result->'mulliken_e' AS mulliken_e, rung, cpu_s,
                  software, failure_class, failure_reason
           FROM calculations WHERE id = ANY(%s) AND state IN ('done', 'failed', 'cancelled')""",
        (list(ids),),
    ).fetchall()
    return [Ended(**row) for row in rows]

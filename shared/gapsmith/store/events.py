"""Events read back from the outbox: by people, pages and programs that follow what happens."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from gapsmith.store.database import Connection


class StoredEvent(BaseModel):
    """An event with its place in the order of all."""

    model_config = ConfigDict(frozen=True)
    sequence: int
    id: UUID
    type: str = Field(description="CloudEvents type")
    at: datetime
    source: str
    campaign: str | None = Field(description="name; null: it concerns all")
    data: Mapping[str, Any]


class Told(StoredEvent):
    """An event with what it refers to."""

    level: str | None  # of its calculation, as the next three
    property: str  # that the campaign wants, the gap without one
    value: float | None  # of it
    failure_reason: str | None
    candidate_id: UUID | None  # that asked for the calculation
    outcome: str | None  # of that candidate, if its value that counts is of this calculation
    smiles: str | None
    model_version: int | None


_COLUMNS = (
    "o.sequence, o.id, o.type, o.created_at AS at, o.envelope ->> 'source' AS source, o.envelope -> 'data' AS data"
)
_FROM = """
    FROM outbox o LEFT JOIN campaigns g ON g.id = (o.envelope #>> '{data,campaign_id}')::uuid"""
# What an event of a calculation concerns is the campaign that asked for it.
_CONCERNED = f"""{_FROM}
    LEFT JOIN calculations k ON k.id = (o.envelope #>> '{{data,calculation_id}}')::uuid
    LEFT JOIN campaigns kg ON kg.id = k.campaign_id"""


def after(
    connection: Connection, sequence: int, *, campaign_id: UUID | None = None, type: str | None = None, limit: int
) -> list[StoredEvent]:
    """The oldest events that came after one, of a campaign or of all, and of a CloudEvents type or of all."""
    rows = connection.execute(
        f"""SELECT {_COLUMNS}, g.name AS campaign {_FROM}
            WHERE o.sequence > %(after)s AND (%(key)s::text IS NULL OR o.key = %(key)s)
              AND (%(type)s::text IS NULL OR o.type = %(type)s)
            ORDER BY o.sequence LIMIT %(limit)s""",
        {
            "after": sequence,
            "key": None if campaign_id is None else str(campaign_id),
            "type": type,
            "limit": limit,
        },
    ).fetchall()
    return [StoredEvent(**row) for row in rows]


def latest(connection: Connection, campaign: str, *, limit: int, among: int) -> list[Told]:
    """A campaign's latest events and those that concern all, newest first, if they are among the newest ``among`` of all."""
    rows = connection.execute(
        f"""SELECT * FROM (
                SELECT {_COLUMNS}, coalesce(g.name, kg.name) AS campaign, k.level, k.failure_reason, wanted.property,
                       (k.properties ->> wanted.property)::float8 AS value, c.candidate_id, c.outcome,
                       coalesce(c.smiles, km.smiles) AS smiles, mo.version AS model_version
                {_CONCERNED}
                CROSS JOIN LATERAL (SELECT coalesce(coalesce(g.config, kg.config) #>> '{{target,0,property}}', 'gap')
                                    AS property) wanted
                LEFT JOIN conformers kf ON kf.id = k.conformer_id
                LEFT JOIN molecules km ON km.id = kf.molecule_id
                LEFT JOIN LATERAL (
                    SELECT c.id AS candidate_id, m.smiles, CASE WHEN k.id = CASE WHEN c.certified_value IS NULL
                           THEN c.triage_id ELSE c.certificate_id END THEN c.outcome END AS outcome
                    FROM candidates c JOIN molecules m ON m.id = c.molecule_id
                    WHERE c.triage_id = k.id OR c.certificate_id = k.id
                    ORDER BY c.campaign_id = k.campaign_id DESC LIMIT 1) c ON true
                LEFT JOIN models mo ON mo.id = (o.envelope #>> '{{data,model_id}}')::uuid
                WHERE o.sequence > (SELECT max(sequence) FROM outbox) - %s) AS found
            WHERE campaign = %s OR campaign IS NULL ORDER BY sequence DESC LIMIT %s""",
        (among, campaign, limit),
    ).fetchall()
    return [Told(**row) for row in rows]


def newest(connection: Connection) -> int:
    """Sequence of the newest event; 0 if there is none."""
    row = connection.execute("SELECT coalesce(max(sequence), 0) AS newest FROM outbox").fetchone()
    assert row is not None  # an aggregate without GROUP BY always gives a row
    return int(row["newest"])


def unseen(connection: Connection, sequence: int, seen: Sequence[int]) -> dict[int, str | None]:
    """Campaigns (None: all are concerned) of the events after a sequence that were not seen yet, by sequence.

    Events are numbered before they commit, so that a late one may have a lower number than what was seen already.
    """
    rows = connection.execute(
        f"""SELECT o.sequence, coalesce(g.name, kg.name) AS campaign {_CONCERNED}
            WHERE o.sequence > %s AND o.sequence <> ALL(%s) ORDER BY o.sequence""",
        (sequence, list(seen)),
    ).fetchall()
    return {row["sequence"]: row["campaign"] for row in rows}

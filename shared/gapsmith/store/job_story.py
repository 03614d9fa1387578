"""Everything that is known of one job of the DFT queue, and of what it waits for."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from gapsmith.core.chemistry.elements import formula
from gapsmith.core.errors import NotFound
from gapsmith.store import attempts, calculation_files, heartbeats
from gapsmith.store.attempts import Attempt
from gapsmith.store.calculation_files import JobFile
from gapsmith.store.database import Connection


@dataclass(frozen=True)
class Candidacy:
    """A candidate that asked for a job."""

    campaign: str
    campaign_state: str
    state: str
    reason: str | None
    certificate: bool  # or triage


@dataclass(frozen=True)
class Story:
    """A row of ``calculations`` with everything around it."""

    id: UUID
    state: str
    level: str
    level_version: str | None
    definition: Mapping[str, Any] | None  # of the level
    queue: str
    campaign: str | None
    campaign_state: str | None
    formula: str
    atoms: int
    smiles: str | None
    charge: int
    spin: int  # unpaired electrons
    geometry_method: str
    priority: int
    losses: int
    transients: int
    progress: str | None
    lease_owner: str | None
    lease_left_s: float | None
    due_in_s: float  # negative: it may start
    rung: str | None
    gap_ev: float | None
    homo_ev: float | None
    lumo_ev: float | None
    energy_hartree: float | None
    dipole_debye: float | None
    extra: Mapping[str, Any]  # whatever else the engine gave
    rearranged: str | None
    findings: Sequence[str]
    failure_class: str | None
    failure_code: str | None
    failure_reason: str | None
    wall_s: float | None
    cpu_s: float | None
    host: str | None
    software: Mapping[str, str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    now: datetime  # by the database's clock
    conformer_id: UUID
    result_conformer_id: UUID | None
    attempts: Sequence[Attempt]
    files: Sequence[JobFile]
    candidacies: Sequence[Candidacy]

    @property
    def final_conformer_id(self) -> UUID:
        """The geometry that the results belong to."""
        return self.result_conformer_id or self.conformer_id

    @property
    def geometry_ids(self) -> list[UUID]:
        """The conformer that it starts from and, if it relaxed that, the one that came of it."""
        return [self.conformer_id] + ([] if self.result_conformer_id is None else [self.result_conformer_id])


@dataclass(frozen=True)
class Surroundings:
    """What a queued job waits for."""

    ahead: int  # jobs of its queue that start before it
    running: int  # of its queue
    workers: int  # that were heard of lately
    suspended: Mapping[str, datetime]  # hosts of theirs that get no jobs, and until when


_STORY = """
    SELECT k.id, k.state, k.level, k.level_version, l.definition, k.queue, g.name AS campaign, g.state AS campaign_state,
           f.numbers, m.smiles, k.charge, k.spin, f.method AS geometry_method, k.priority, k.losses, k.transients, k.progress,
           k.lease_owner, extract(epoch FROM k.lease_expires_at - now())::float8 AS lease_left_s,
           extract(epoch FROM k.not_before - now())::float8 AS due_in_s, k.rung, k.gap_ev, k.homo_ev, k.lumo_ev,
           k.energy_hartree, k.dipole_debye, coalesce(k.result, '{}') AS extra, k.rearranged, k.findings, k.failure_class,
           k.failure_code, k.failure_reason, k.wall_s, k.cpu_s, k.host, coalesce(k.software, '{}') AS software, k.created_at,
           k.started_at, k.finished_at, now() AS now, k.conformer_id, k.result_conformer_id
    FROM calculations k JOIN conformers f ON f.id = k.conformer_id
    LEFT JOIN molecules m ON m.id = f.molecule_id
    LEFT JOIN levels l ON l.version = k.level_version
    LEFT JOIN campaigns g ON g.id = k.campaign_id
    WHERE k.id = ANY(%s)"""


def story(connection: Connection, job_id: UUID) -> Story:
    """Everything of one job; raises NotFound if there is none of that id."""
    found = stories(connection, [job_id])
    if job_id not in found:
        raise NotFound(f"no job has the id {job_id}; gapsmith jobs list shows them")
    return found[job_id]


def stories(connection: Connection, job_ids: Sequence[UUID]) -> dict[UUID, Story]:
    """Everything of those of the jobs that there are."""
    ids = list(job_ids)
    rows = connection.execute(_STORY, (ids,)).fetchall()
    candidacies: dict[UUID, list[Candidacy]] = defaultdict(list)
    for one in connection.execute(
        """SELECT k.id, g.name AS campaign, g.state AS campaign_state, c.state, c.reason,
                  coalesce(c.certificate_id = k.id, false) AS certificate
           FROM calculations k JOIN candidates c ON k.id IN (c.triage_id, c.certificate_id)
           JOIN campaigns g ON g.id = c.campaign_id WHERE k.id = ANY(%s) ORDER BY g.created_at, c.id""",
        (ids,),
    ):
        candidacies[one.pop("id")].append(Candidacy(**one))
    tries, files = attempts.of(connection, ids), calculation_files.listed(connection, ids)
    found = {}
    for row in rows:
        numbers, job_id = row.pop("numbers"), row["id"]
        found[job_id] = Story(
            formula=formula(numbers, row["charge"]),
            atoms=len(numbers),
            attempts=tries.get(job_id, []),
            files=files.get(job_id, []),
            candidacies=candidacies.get(job_id, []),
            **row,
        )
    return found


def of_molecule(connection: Connection, molecule_id: int, also: Sequence[UUID], *, limit: int) -> list[Story]:
    """Jobs of a molecule, whoever asked for them, and some others, newest first."""
    rows = connection.execute(
        """SELECT k.id FROM calculations k JOIN conformers f ON f.id = k.conformer_id
           WHERE f.molecule_id = %s OR k.id = ANY(%s) ORDER BY k.created_at DESC, k.id LIMIT %s""",
        (molecule_id, list(also), limit),
    ).fetchall()
    found = stories(connection, [row["id"] for row in rows])
    return [found[row["id"]] for row in rows]


def surroundings(connection: Connection, job_id: UUID) -> Surroundings:
    """What a queued job waits for."""
    row = connection.execute(
        """SELECT count(*) FILTER (WHERE o.state = 'queued' AND o.id <> k.id AND o.not_before <= now()
                                   AND (g.id IS NULL OR g.state = 'running')
                                   AND (o.priority, k.created_at, k.id) > (k.priority, o.created_at, o.id)) AS ahead,
                  count(*) FILTER (WHERE o.state = 'running') AS running, min(k.queue) AS queue
           FROM calculations k JOIN calculations o ON o.queue = k.queue AND o.state IN ('queued', 'running')
           LEFT JOIN campaigns g ON g.id = o.campaign_id WHERE k.id = %s""",
        (job_id,),
    ).fetchone()
    assert row is not None  # an aggregate without GROUP BY
    workers = [one for one in heartbeats.alive(connection) if row["queue"] in one.queues]
    hosts = sorted({one.host for one in workers})
    until = {host: attempts.suspended(connection, host) for host in hosts}
    closed = {host: when for host, when in until.items() if when is not None}
    return Surroundings(row["ahead"], row["running"], len(workers), closed)

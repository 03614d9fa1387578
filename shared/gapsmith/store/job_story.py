"""Everything that is known of one job of the DFT queue, and of what it waits for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gapsmith.core.chemistry.elements import formula
from gapsmith.core.errors import InputError
from gapsmith.store import attempts
from gapsmith.store.attempts import Attempt
from gapsmith.store.database import Connection

HEARD_WITHIN_S: Final = 60.0
WORKER: Final = "dft_worker"  # as heartbeats name it


@dataclass(frozen=True)
class JobFile:
    """A file of a result, without its content."""

    name: str
    size_bytes: int
    sha256: str


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
           k.failure_reason, k.wall_s, k.cpu_s, k.host, coalesce(k.software, '{}') AS software, k.created_at, k.started_at,
           k.finished_at, now() AS now, k.conformer_id, k.result_conformer_id
    FROM calculations k JOIN conformers f ON f.id = k.conformer_id
    LEFT JOIN molecules m ON m.id = f.molecule_id
    LEFT JOIN levels l ON l.version = k.level_version
    LEFT JOIN campaigns g ON g.id = k.campaign_id
    WHERE k.id = %s"""


def story(connection: Connection, job_id: UUID) -> Story:
    """Everything of one job; raises InputError if there is none of that id."""
    row = connection.execute(_STORY, (job_id,)).fetchone()
    if row is None:
        raise InputError(f"no job has the id {job_id}; gapsmith jobs list shows them")
    files = connection.execute(
        "SELECT name, size_bytes, sha256 FROM calculation_files WHERE calculation_id = %s ORDER BY name", (job_id,)
    ).fetchall()
    candidacies = connection.execute(
        """SELECT g.name AS campaign, g.state AS campaign_state, c.state, c.reason, c.certificate_id = k.id AS certificate
           FROM calculations k JOIN candidates c ON k.id IN (c.triage_id, c.certificate_id)
           JOIN campaigns g ON g.id = c.campaign_id WHERE k.id = %s ORDER BY g.created_at, c.id""",
        (job_id,),
    ).fetchall()
    numbers = row.pop("numbers")
    return Story(
        formula=formula(numbers, row["charge"]),
        atoms=len(numbers),
        attempts=attempts.of(connection, job_id),
        files=[JobFile(**file) for file in files],
        candidacies=[Candidacy(**{**one, "certificate": bool(one["certificate"])}) for one in candidacies],
        **row,
    )


def surroundings(connection: Connection, job_id: UUID) -> Surroundings:
    """What a queued job waits for."""
    row = connection.execute(
        """SELECT count(*) FILTER (WHERE o.state = 'queued' AND o.id <> k.id AND o.not_before <= now()
                                   AND (g.id IS NULL OR g.state = 'running')
                                   AND (o.priority, k.created_at, k.id) > (k.priority, o.created_at, o.id)) AS ahead,
                  count(*) FILTER (WHERE o.state = 'running') AS running
           FROM calculations k JOIN calculations o ON o.queue = k.queue AND o.state IN ('queued', 'running')
           LEFT JOIN campaigns g ON g.id = o.campaign_id WHERE k.id = %s""",
        (job_id,),
    ).fetchone()
    assert row is not None  # an aggregate without GROUP BY
    beats = connection.execute(  # a worker's state begins with the queues that it takes jobs from
        """SELECT instance FROM heartbeats WHERE service = %s AND seen_at > now() - make_interval(secs => %s)
           AND (SELECT queue FROM calculations WHERE id = %s)
               = ANY(string_to_array(split_part(heartbeats.state, ':', 1), ','))""",
        (WORKER, HEARD_WITHIN_S, job_id),
    ).fetchall()
    hosts = sorted({beat["instance"].rpartition("-")[0] for beat in beats})  # an instance is a host and a process id
    until = {host: attempts.suspended(connection, host) for host in hosts}
    closed = {host: when for host, when in until.items() if when is not None}
    return Surroundings(row["ahead"], row["running"], len(beats), closed)


def content(connection: Connection, job_id: UUID, name: str) -> bytes:
    """A file of a result, packed with gzip as it is stored."""
    row = connection.execute(
        "SELECT content FROM calculation_files WHERE calculation_id = %s AND name = %s", (job_id, name)
    ).fetchone()
    if row is None:
        raise InputError(f"job {job_id} has no file {name!r}")
    return bytes(row["content"])

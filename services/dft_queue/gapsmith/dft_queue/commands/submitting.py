"""Molecules into the queue: what the database has is reused, what it does not have is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from gapsmith.data.known import in_qm9
from gapsmith.dft_queue.commands.molecules import Entry
from gapsmith.store import calculations, candidates, jobs
from gapsmith.store.database import Connection, Database
from gapsmith.store.jobs import JobFilter

TOGETHER: Final = 100  # molecules of one transaction
SOURCE: Final = "dft"


@dataclass(frozen=True)
class Asked:
    """A record of the input and its job."""

    entry: Entry
    job: UUID | None  # none: refused
    reused: bool = False  # it had ended before, or another record asks for the same


class Submission:
    """Asks for molecules, some at a time.

    Args:
        database: Postgres.
        priority: of the jobs; those that wait already are not put back.
        retry_failed: queue again what failed before.
    """

    def __init__(self, database: Database, *, priority: int = 0, retry_failed: bool = False) -> None:
        self._database = database
        self._priority, self._retry_failed = priority, retry_failed
        self._jobs: dict[str, UUID] = {}  # by content
        self.asked: list[Asked] = []  # in the order of the input

    def add(self, entries: Sequence[Entry]) -> list[Asked]:
        """Queue in one transaction; raises UnavailableError, and then none of these is queued."""
        new = {one.content_hash: one for one in entries if one.refusal is None and one.content_hash not in self._jobs}
        ended: set[str] = set()
        with self._database.transaction() as connection:
            found = calculations.conformers(connection, list(new))
            # Everyone locks rows in this order, so that two who ask for the same molecules do not wait for each other.
            queued = {key: self._request(connection, new[key], found.get(key)) for key in sorted(new)}
            ids = {key: one.id for key, one in queued.items()}
            failed = [one.id for one in queued.values() if one.state == "failed"]
            if self._retry_failed and failed:
                jobs.retry(connection, JobFilter(ids=tuple(failed)), source=SOURCE)
            again = set(failed) if self._retry_failed else set()
            ended = {key for key, one in queued.items() if one.state in ("done", "failed") and one.id not in again}
            jobs.adopt(connection, list(ids.values()))
        asked = []
        for one in entries:
            if one.refusal is not None:
                asked.append(Asked(one, None))
                continue
            key = one.content_hash
            first = key not in self._jobs
            self._jobs.setdefault(key, ids[key] if first else self._jobs[key])
            asked.append(Asked(one, self._jobs[key], reused=key in ended or not first))
        self.asked += asked
        return asked

    def _request(self, connection: Connection, entry: Entry, existing: UUID | None) -> calculations.Calculation:
        """Find or queue a calculation; ``existing`` is the conformer of one that there is."""
        assert entry.molecule is not None  # of what is not refused
        assert entry.level is not None
        conformer_id = existing
        if conformer_id is None:
            known = entry.identity
            molecule_id = (
                None if known is None else candidates.add_molecule(connection, known, in_qm9=in_qm9(known.inchikey))
            )
            conformer_id = candidates.add_conformer(
                connection, entry.molecule, method=entry.method, molecule_id=molecule_id
            )
        return calculations.request(
            connection,
            content_hash=entry.content_hash,
            level=entry.level,
            conformer_id=conformer_id,
            campaign_id=None,
            charge=entry.charge,
            spin=entry.spin,
            priority=self._priority,
            source=SOURCE,
        )

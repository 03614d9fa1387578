"""Files that calculations left, such as cubes of orbitals, packed with gzip."""

import gzip
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from gapsmith.core.errors import NotFound
from gapsmith.store.database import Connection


@dataclass(frozen=True)
class JobFile:
    """A file of a result, without its content."""

    name: str
    size_bytes: int  # unpacked
    sha256: str


def keep(connection: Connection, calculation_id: UUID, name: str, content: bytes) -> None:
    """Store a file, or replace the one of that name."""
    connection.execute(
        """INSERT INTO calculation_files (calculation_id, name, content, size_bytes, sha256)
           VALUES (%s, %s, %s, %s, %s)
           ON CONFLICT (calculation_id, name) DO UPDATE SET content = EXCLUDED.content,
               size_bytes = EXCLUDED.size_bytes, sha256 = EXCLUDED.sha256""",
        (calculation_id, name, gzip.compress(content), len(content), hashlib.sha256(content).hexdigest()),
    )


def listed(connection: Connection, calculation_ids: Sequence[UUID]) -> dict[UUID, list[JobFile]]:
    """The files of each calculation that has any, by name."""
    rows = connection.execute(
        """SELECT calculation_id, name, size_bytes, sha256 FROM calculation_files
           WHERE calculation_id = ANY(%s) ORDER BY name""",
        (list(calculation_ids),),
    ).fetchall()
    found: dict[UUID, list[JobFile]] = defaultdict(list)
    for row in rows:
        found[row.pop("calculation_id")].append(JobFile(**row))
    return found


def packed(connection: Connection, calculation_id: UUID, name: str) -> bytes:
    """A file as it is stored, packed with gzip; raises NotFound if there is none of that name."""
    row = connection.execute(
        "SELECT content FROM calculation_files WHERE calculation_id = %s AND name = %s", (calculation_id, name)
    ).fetchone()
    if row is None:
        raise NotFound(f"job {calculation_id} has no file {name!r}")
    return bytes(row["content"])

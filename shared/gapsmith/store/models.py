"""The model registry: versions of a kind, their lineage, who is live and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from psycopg.types.json import Jsonb

from gapsmith.core.errors import InputError
from gapsmith.core.messages import ModelPromoted
from gapsmith.store import outbox
from gapsmith.store.database import Connection

NAMESPACE = UUID("5f0f5d1e-3c5e-4a59-9a52-6d2f9b3a7c10")


@dataclass(frozen=True)
class Model:
    """A row of the registry."""

    id: UUID
    kind: str
    version: int
    parent_id: UUID | None
    state: str
    path: str
    sha256: str
    metrics: Mapping[str, Any]
    labels: int
    verdict: str | None


_COLUMNS = "id, kind, version, parent_id, state, path, sha256, metrics, labels, verdict"


def ensure_shipped(connection: Connection, kind: str, path: Path, digest: str) -> UUID:
    """Register the weights that come with the installation; they go live if nothing better of their kind is.

    An older version's shipped weights give way to them, a model that was trained here does not.

    Args:
        connection: in a transaction.
        kind: "generator" or "surrogate".
        path: weights file.
        digest: its SHA-256.
    """
    _lock(connection, kind)
    model_id = uuid5(NAMESPACE, f"{kind}/{digest}")
    connection.execute(
        "UPDATE models SET state = 'retired' WHERE kind = %s AND state = 'live' AND verdict = 'shipped' AND id <> %s",
        (kind, model_id),
    )
    has_live = connection.execute("SELECT 1 FROM models WHERE kind = %s AND state = 'live'", (kind,)).fetchone()
    connection.execute(
        """INSERT INTO models (id, kind, version, state, path, sha256, verdict)
           VALUES (%s, %s, (SELECT coalesce(max(version) + 1, 0) FROM models WHERE kind = %s), %s, %s, %s, 'shipped')
           ON CONFLICT (id) DO UPDATE SET path = EXCLUDED.path,
               state = CASE WHEN %s THEN models.state ELSE 'live' END""",
        (model_id, kind, kind, "retired" if has_live else "live", str(path), digest, has_live is not None),
    )
    return model_id


def live(connection: Connection, kind: str) -> Model | None:
    """The model that its service uses."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM models WHERE kind = %s AND state = 'live'", (kind,)).fetchone()
    return Model(**row) if row else None


def get(connection: Connection, model_id: UUID) -> Model:
    """A model by id; raises InputError if there is none."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM models WHERE id = %s", (model_id,)).fetchone()
    if row is None:
        raise InputError(f"no model has the id {model_id}")
    return Model(**row)


def add(
    connection: Connection,
    model_id: UUID,
    *,
    kind: str,
    parent_id: UUID,
    path: Path,
    digest: str,
    metrics: Mapping[str, Any],
    labels: int,
    campaign_id: UUID | None,
) -> int:
    """Register a trained model as a candidate for promotion; returns its version."""
    _lock(connection, kind)
    row = connection.execute(
        """INSERT INTO models (id, kind, version, parent_id, state, path, sha256, metrics, labels, campaign_id)
           VALUES (%s, %s, (SELECT coalesce(max(version) + 1, 0) FROM models WHERE kind = %s),
                   %s, 'candidate', %s, %s, %s, %s, %s) RETURNING version""",
        (model_id, kind, kind, parent_id, str(path), digest, Jsonb(dict(metrics)), labels, campaign_id),
    ).fetchone()
    assert row is not None  # INSERT ... RETURNING gives a row or raises
    return int(row["version"])


def promote(connection: Connection, model_id: UUID, verdict: str, *, source: str) -> None:
    """Make a model the live one of its kind and tell everybody."""
    model = get(connection, model_id)
    _lock(connection, model.kind)
    connection.execute("UPDATE models SET state = 'retired' WHERE kind = %s AND state = 'live'", (model.kind,))
    connection.execute("UPDATE models SET state = 'live', verdict = %s WHERE id = %s", (verdict, model_id))
    outbox.emit(connection, ModelPromoted(kind=model.kind, model_id=model_id), source=source)


def reject(connection: Connection, model_id: UUID, verdict: str) -> None:
    """Record that the gate said no."""
    connection.execute("UPDATE models SET state = 'rejected', verdict = %s WHERE id = %s", (verdict, model_id))


def _lock(connection: Connection, kind: str) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('gapsmith.models.' || %s))", (kind,))

"""The model registry: versions of a role, their lineage, who is live and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from psycopg.types.json import Jsonb

from gapsmith.core.errors import CheckpointError, NotFound
from gapsmith.core.messages import ModelPromoted
from gapsmith.core.model_domain import ModelDomain
from gapsmith.store import outbox
from gapsmith.store.database import Connection
from gapsmith.training.card import read_card
from gapsmith.training.shipped import shipped_domains

NAMESPACE = UUID("5f0f5d1e-3c5e-4a59-9a52-6d2f9b3a7c10")


@dataclass(frozen=True)
class Model:
    """A row of the registry."""

    id: UUID
    role: str
    architecture: str
    version: int
    parent_id: UUID | None
    state: str
    path: str
    sha256: str
    metrics: Mapping[str, Any]
    labels: int
    verdict: str | None

    @property
    def name(self) -> str:
        """What people call it, e.g. ``surrogate:3``."""
        return f"{self.role}:{self.version}"


_COLUMNS = "id, role, architecture, version, parent_id, state, path, sha256, metrics, labels, verdict"


def ensure_shipped(connection: Connection, path: Path, card: Mapping[str, Any]) -> UUID:
    """Register the weights that come with the installation; they go live if nothing better of their role is.

    Another version's shipped weights give way to them, but a model that was trained here does not, and neither does one
    that somebody went back to from these very weights.

    Args:
        connection: in a transaction.
        path: weights file.
        card: of the weights.
    """
    role, digest = str(card["role"]), str(card["sha256"])
    lock(connection, role)
    model_id = uuid5(NAMESPACE, f"{role}/{digest}")
    current, now_live = current_promotion(connection, role), live(connection, role)
    new = connection.execute("SELECT 1 FROM models WHERE id = %s", (model_id,)).fetchone() is None
    connection.execute(
        """INSERT INTO models (id, role, version, state, path, sha256, architecture, domain, verdict)
           VALUES (%s, %s, (SELECT coalesce(max(version) + 1, 0) FROM models WHERE role = %s), 'retired', %s, %s, %s, %s,
                   'shipped')
           ON CONFLICT (id) DO UPDATE SET path = EXCLUDED.path""",
        (model_id, role, role, str(path), digest, card["architecture"], Jsonb(card["domain"])),
    )
    gives_way = now_live is None or (
        now_live.id != model_id and now_live.parent_id is None and (new or current is None or current.how == "shipped")
    )
    if gives_way:
        go_live(connection, role, model_id, None if current is None else current.id, how="shipped", source=role)
    return model_id


def live_domains(connection: Connection) -> dict[str, ModelDomain]:
    """What the live model of every role knows, by the model's name; of the shipped weights where none is live yet."""
    rows = connection.execute("SELECT role, version, domain FROM models WHERE state = 'live' ORDER BY role").fetchall()
    found = {f"{row['role']}:{row['version']}": ModelDomain.of(row["domain"]) for row in rows}
    return found | shipped_domains({row["role"] for row in rows})


def live(connection: Connection, role: str) -> Model | None:
    """The model that its service uses."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM models WHERE role = %s AND state = 'live'", (role,)).fetchone()
    return Model(**row) if row else None


def get(connection: Connection, model_id: UUID) -> Model:
    """A model by id; raises NotFound if there is none."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM models WHERE id = %s", (model_id,)).fetchone()
    if row is None:
        raise NotFound(f"no model has the id {model_id}")
    return Model(**row)


def ids(connection: Connection) -> set[UUID]:
    """Of all models."""
    return {row["id"] for row in connection.execute("SELECT id FROM models")}


def add(
    connection: Connection,
    model_id: UUID,
    card: Mapping[str, Any],
    *,
    parent_id: UUID,
    path: Path,
    metrics: Mapping[str, Any],
    labels: int,
    campaign_id: UUID | None,
) -> int:
    """Register a trained model as a candidate for promotion; returns its version."""
    role = str(card["role"])
    lock(connection, role)
    row = connection.execute(
        """INSERT INTO models (id, role, version, parent_id, state, path, sha256, architecture, domain, metrics, labels,
                               campaign_id)
           VALUES (%s, %s, (SELECT coalesce(max(version) + 1, 0) FROM models WHERE role = %s),
                   %s, 'candidate', %s, %s, %s, %s, %s, %s, %s) RETURNING version""",
        (
            model_id, role, role, parent_id, str(path), card["sha256"], card["architecture"], Jsonb(card["domain"]),
            Jsonb(dict(metrics)), labels, campaign_id,
        ),
    ).fetchone()  # fmt: skip
    assert row is not None  # INSERT ... RETURNING gives a row or raises
    return int(row["version"])


def promote(connection: Connection, model_id: UUID, verdict: str, *, source: str, reason: str | None = None) -> None:
    """Make a model the live one of its role and tell everybody.

    Args:
        connection: in a transaction.
        model_id: of the model.
        verdict: why, stored with it.
        source: who decided that: the trainer, or user@host.
        reason: what a person gave as one.
    """
    role = get(connection, model_id).role
    lock(connection, role)
    connection.execute("UPDATE models SET verdict = %s WHERE id = %s", (verdict, model_id))
    current = current_promotion(connection, role)
    previous_id = None if current is None else current.id
    go_live(connection, role, model_id, previous_id, how="promoted", source=source, reason=reason)


def check(model: Model) -> None:
    """Raise CheckpointError unless the model's file is there, undamaged, of its role, and the one that was registered."""
    try:
        card = read_card(Path(model.path), role=model.role)
    except OSError as error:
        raise CheckpointError(f"{model.path} cannot be read: {error.strerror or error}") from error
    if card["sha256"] != model.sha256:
        raise CheckpointError(
            f"{model.path} holds another model than the one registered as {model.name} (SHA-256 {card['sha256']}, "
            f"registered {model.sha256})"
        )


def reject(connection: Connection, model_id: UUID, verdict: str) -> None:
    """Record that the gate said no."""
    connection.execute("UPDATE models SET state = 'rejected', verdict = %s WHERE id = %s", (verdict, model_id))


def lock(connection: Connection, role: str) -> None:
    """Nobody else changes which model of a role is live until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('gapsmith.models.' || %s))", (role,))


@dataclass(frozen=True)
class Promotion:
    """How a model went live."""

    id: int
    model_id: UUID
    previous_id: int | None  # the promotion that a rollback from here leads to
    how: str  # shipped, promoted or rolled back


def current_promotion(connection: Connection, role: str) -> Promotion | None:
    """The newest of a role, that of its live model."""
    row = connection.execute(
        "SELECT id, model_id, previous_id, how FROM promotions WHERE role = %s ORDER BY id DESC LIMIT 1", (role,)
    ).fetchone()
    return Promotion(**row) if row else None


def go_live(
    connection: Connection,
    role: str,
    model_id: UUID,
    previous_id: int | None,
    *,
    how: str,
    source: str,
    reason: str | None = None,
) -> None:
    """Make a model the live one, write down why, and tell everybody; under ``lock``."""
    connection.execute("UPDATE models SET state = 'retired' WHERE role = %s AND state = 'live'", (role,))
    connection.execute("UPDATE models SET state = 'live' WHERE id = %s", (model_id,))
    connection.execute(
        "INSERT INTO promotions (role, model_id, previous_id, how, source, reason) VALUES (%s, %s, %s, %s, %s, %s)",
        (role, model_id, previous_id, how, source, reason),
    )
    if how != "shipped":  # its service registers it and knows
        outbox.emit(connection, ModelPromoted(role=role, model_id=model_id), source=source)

"""The model registry: versions of a kind, their lineage, who is live and why."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from psycopg.types.json import Jsonb

from gapsmith.core.errors import CheckpointError, NotFound
from gapsmith.core.messages import ModelPromoted
from gapsmith.store import outbox
from gapsmith.store.database import Connection
from gapsmith.training.card import read_card
from gapsmith.training.files import card_path

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

    @property
    def name(self) -> str:
        """What people call it, e.g. ``surrogate:3``."""
        return f"{self.kind}:{self.version}"


_COLUMNS = "id, kind, version, parent_id, state, path, sha256, metrics, labels, verdict"


def ensure_shipped(connection: Connection, kind: str, path: Path, digest: str) -> UUID:
    """Register the weights that come with the installation; they go live if nothing better of their kind is.

    Another version's shipped weights give way to them, but a model that was trained here does not, and neither does one
    that somebody went back to from these very weights.

    Args:
        connection: in a transaction.
        kind: "generator" or "surrogate".
        path: weights file.
        digest: its SHA-256.
    """
    lock(connection, kind)
    model_id = uuid5(NAMESPACE, f"{kind}/{digest}")
    current, now_live = current_promotion(connection, kind), live(connection, kind)
    new = connection.execute("SELECT 1 FROM models WHERE id = %s", (model_id,)).fetchone() is None
    connection.execute(
        """INSERT INTO models (id, kind, version, state, path, sha256, verdict)
           VALUES (%s, %s, (SELECT coalesce(max(version) + 1, 0) FROM models WHERE kind = %s), 'retired', %s, %s, 'shipped')
           ON CONFLICT (id) DO UPDATE SET path = EXCLUDED.path""",
        (model_id, kind, kind, str(path), digest),
    )
    gives_way = now_live is None or (
        now_live.id != model_id and now_live.parent_id is None and (new or current is None or current.how == "shipped")
    )
    if gives_way:
        go_live(connection, kind, model_id, None if current is None else current.id, how="shipped", source=kind)
    return model_id


def live(connection: Connection, kind: str) -> Model | None:
    """The model that its service uses."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM models WHERE kind = %s AND state = 'live'", (kind,)).fetchone()
    return Model(**row) if row else None


def heads(connection: Connection) -> list[str] | None:
    """What the live surrogate predicts, by its card; None if no surrogate is registered, or its card is not here."""
    model = live(connection, "surrogate")
    if model is None or not model.path or not (card := card_path(Path(model.path))).is_file():
        return None
    return [*json.loads(card.read_text()).get("config", {}).get("heads", {})]


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
    lock(connection, kind)
    row = connection.execute(
        """INSERT INTO models (id, kind, version, parent_id, state, path, sha256, metrics, labels, campaign_id)
           VALUES (%s, %s, (SELECT coalesce(max(version) + 1, 0) FROM models WHERE kind = %s),
                   %s, 'candidate', %s, %s, %s, %s, %s) RETURNING version""",
        (model_id, kind, kind, parent_id, str(path), digest, Jsonb(dict(metrics)), labels, campaign_id),
    ).fetchone()
    assert row is not None  # INSERT ... RETURNING gives a row or raises
    return int(row["version"])


def promote(connection: Connection, model_id: UUID, verdict: str, *, source: str, reason: str | None = None) -> None:
    """Make a model the live one of its kind and tell everybody.

    Args:
        connection: in a transaction.
        model_id: of the model.
        verdict: why, stored with it.
        source: who decided that: the trainer, or user@host.
        reason: what a person gave as one.
    """
    kind = get(connection, model_id).kind
    lock(connection, kind)
    connection.execute("UPDATE models SET verdict = %s WHERE id = %s", (verdict, model_id))
    current = current_promotion(connection, kind)
    previous_id = None if current is None else current.id
    go_live(connection, kind, model_id, previous_id, how="promoted", source=source, reason=reason)


def check(model: Model) -> None:
    """Raise CheckpointError unless the model's file is there, undamaged, of its kind, and the one that was registered."""
    try:
        card = read_card(Path(model.path), kind=model.kind)
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


def lock(connection: Connection, kind: str) -> None:
    """Nobody else changes which model of a kind is live until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('gapsmith.models.' || %s))", (kind,))


@dataclass(frozen=True)
class Promotion:
    """How a model went live."""

    id: int
    model_id: UUID
    previous_id: int | None  # the promotion that a rollback from here leads to
    how: str  # shipped, promoted or rolled back


def current_promotion(connection: Connection, kind: str) -> Promotion | None:
    """The newest of a kind, that of its live model."""
    row = connection.execute(
        "SELECT id, model_id, previous_id, how FROM promotions WHERE kind = %s ORDER BY id DESC LIMIT 1", (kind,)
    ).fetchone()
    return Promotion(**row) if row else None


def go_live(
    connection: Connection,
    kind: str,
    model_id: UUID,
    previous_id: int | None,
    *,
    how: str,
    source: str,
    reason: str | None = None,
) -> None:
    """Make a model the live one, write down why, and tell everybody; under ``lock``."""
    connection.execute("UPDATE models SET state = 'retired' WHERE kind = %s AND state = 'live'", (kind,))
    connection.execute("UPDATE models SET state = 'live' WHERE id = %s", (model_id,))
    connection.execute(
        "INSERT INTO promotions (kind, model_id, previous_id, how, source, reason) VALUES (%s, %s, %s, %s, %s, %s)",
        (kind, model_id, previous_id, how, source, reason),
    )
    if how != "shipped":  # its service registers it and knows
        outbox.emit(connection, ModelPromoted(kind=kind, model_id=model_id), source=source)

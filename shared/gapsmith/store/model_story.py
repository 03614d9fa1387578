"""What people ask of the model registry: which models there are, where one comes from, when it was live and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gapsmith.core.errors import InputError, NotFound
from gapsmith.core.hints import hint
from gapsmith.store.database import Connection
from gapsmith.store.models import Model
from gapsmith.training.shipped import roles as installed_roles

SHORTEST: Final = 4  # characters of an id that people may write


@dataclass(frozen=True)
class Entry(Model):
    """A model with what it is connected to."""

    parent_version: int | None
    campaign: str | None  # that asked for its training
    created_at: datetime
    live_since: datetime | None  # of the live one


@dataclass(frozen=True)
class WentLive:
    """When a model went live, and by whose decision."""

    model: str  # e.g. surrogate:3
    how: str  # shipped, promoted or rolled back
    source: str  # a service, or user@host
    reason: str | None
    at: datetime


_ENTRY = """
    SELECT m.id, m.role, m.architecture, m.version, m.parent_id, m.state, m.path, m.sha256, m.metrics, m.labels, m.verdict,
           parent.version AS parent_version, g.name AS campaign, m.created_at,
           CASE WHEN m.state = 'live' THEN (SELECT created_at FROM promotions WHERE model_id = m.id
                                            ORDER BY id DESC LIMIT 1) END AS live_since
    FROM models m LEFT JOIN models parent ON parent.id = m.parent_id LEFT JOIN campaigns g ON g.id = m.campaign_id"""


def listed(connection: Connection, *, role: str | None = None, states: Sequence[str] = ()) -> list[Entry]:
    """Models of a role and of any of some states, newest first; raises InputError for a role that there is nothing of."""
    if role is not None:
        check_role(connection, role)
    rows = connection.execute(
        f"""{_ENTRY} WHERE (%(role)s::text IS NULL OR m.role = %(role)s)
            AND (cardinality(%(states)s::text[]) = 0 OR m.state = ANY(%(states)s))
            ORDER BY m.created_at DESC, m.version DESC, m.role""",
        {"role": role, "states": list(states)},
    ).fetchall()
    return [Entry(**row) for row in rows]


def lineage(connection: Connection, model_id: UUID) -> list[Entry]:
    """A model, what it was trained from, and so on to the shipped weights; raises NotFound if there is none of that id."""
    rows = connection.execute(
        f"""WITH RECURSIVE line (id, depth) AS (
                SELECT id, 0 FROM models WHERE id = %s
                UNION ALL SELECT m.parent_id, depth + 1 FROM line JOIN models m ON m.id = line.id
                          WHERE m.parent_id IS NOT NULL)
            SELECT found.* FROM ({_ENTRY}) AS found JOIN line ON line.id = found.id ORDER BY line.depth""",
        (model_id,),
    ).fetchall()
    if not rows:
        raise NotFound(f"no model has the id {model_id}")
    return [Entry(**row) for row in rows]


def promotions(connection: Connection, *, role: str, model_id: UUID | None = None) -> list[WentLive]:
    """When models of a role, or one of them, went live, oldest first."""
    rows = connection.execute(
        """SELECT m.role || ':' || m.version AS model, p.how, p.source, p.reason, p.created_at AS at
           FROM promotions p JOIN models m ON m.id = p.model_id
           WHERE p.role = %(role)s AND (%(model)s::uuid IS NULL OR p.model_id = %(model)s) ORDER BY p.id""",
        {"role": role, "model": model_id},
    ).fetchall()
    return [WentLive(**row) for row in rows]


def roles(connection: Connection) -> list[str]:
    """Kinds of models, by name."""
    rows = connection.execute("SELECT DISTINCT role FROM models").fetchall()
    return sorted({*installed_roles(), *(row["role"] for row in rows)})


def check_role(connection: Connection, role: str) -> None:
    """Raise InputError if there is no such role of model."""
    if role not in (known := roles(connection)):
        raise InputError(f"no model is with the role {role!r}{hint(role, known)}")


def resolve(connection: Connection, text: str) -> UUID:
    """The model that a person means: a role (its live one), role:version, or how an id begins.

    Raises:
        NotFound: there is none like that.
        InputError: there are several.
    """
    role, colon, version = text.strip().partition(":")
    known = roles(connection)
    if role.lower() in known:
        return _of_role(connection, role.lower(), version if colon else None)
    if colon:
        raise NotFound(f"{text!r}: no model has the role {role!r}{hint(role, known)}")
    digits = role.lower().replace("-", "")
    if not SHORTEST <= len(digits) <= 32 or set(digits) - set("0123456789abcdef"):
        raise NotFound(
            f"{text!r} is no model: write {SHORTEST} or more digits of its id, role:version, or a role for its live one "
            f"({', '.join(known)}); gapsmith models list shows them{hint(role, known)}"
        )
    rows = connection.execute(
        "SELECT id FROM models WHERE id BETWEEN %s AND %s ORDER BY id LIMIT 3",
        (UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))),
    ).fetchall()
    if not rows:
        raise NotFound(f"no model has an id that begins with {text!r}; gapsmith models list shows them")
    if len(rows) > 1:
        found = ", ".join(str(row["id"]) for row in rows)
        raise InputError(f"several models have ids that begin with {text!r}: {found} ...; write more of it")
    return UUID(str(rows[0]["id"]))


def _of_role(connection: Connection, role: str, version: str | None) -> UUID:
    rows = connection.execute(
        "SELECT id, version, state FROM models WHERE role = %s ORDER BY version", (role,)
    ).fetchall()
    if not rows:
        raise NotFound(f"no {role} is registered yet: its service does that when it starts (gapsmith up)")
    wanted: Mapping[str, Any] | None
    if version is None:
        wanted = next((row for row in rows if row["state"] == "live"), None)
        problem = f"no {role} is live"
    else:
        wanted = next((row for row in rows if str(row["version"]) == version.strip()), None)
        problem = f"there is no version {version!r} of {role}"
    if wanted is None:
        versions = ", ".join(f"{role}:{row['version']}" for row in rows)
        raise NotFound(f"{problem}; there is: {versions}")
    return UUID(str(wanted["id"]))

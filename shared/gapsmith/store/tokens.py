"""Who may use the API from elsewhere, or change anything: bearer tokens with a role, hashed at rest."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid4

from gapsmith.core.errors import Conflict, InputError, NotFound
from gapsmith.store.database import Connection

PREFIX: Final = "gapsmith_"  # scanners of leaked secrets know it by this
SESSION: Final = timedelta(hours=12)  # of a browser that signed in


class Role(StrEnum):
    """What a token allows."""

    VIEWER = "viewer"  # to look
    OPERATOR = "operator"  # to start, pause, stop and change, too

    def allows(self, wanted: "Role") -> bool:
        """Whether who has this role may do what needs the other."""
        return self is Role.OPERATOR or self is wanted


@dataclass(frozen=True)
class Token:
    """A row, without the secret, which nobody has but its owner."""

    id: UUID
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None


_COLUMNS = "id, name, role, created_at, expires_at, revoked_at, used_at"
_VALID = "t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())"


def create(connection: Connection, name: str, role: Role, *, valid_for: timedelta | None = None) -> str:
    """Make a token and return it: this is the only time that anybody sees it.

    Raises:
        Conflict: there is a token of that name.
        InputError: the name is empty or too long.
    """
    if not 0 < len(name.strip()) <= 64 or not name.isprintable():
        raise InputError(f"name: {name!r} must be 1 to 64 printable characters, such as whose token it is")
    secret = PREFIX + secrets.token_urlsafe(32)
    row = connection.execute(
        """INSERT INTO api_tokens (id, name, role, sha256, expires_at) VALUES (%s, %s, %s, %s, now() + %s)
           ON CONFLICT (name) DO NOTHING RETURNING id""",
        (uuid4(), name.strip(), role, _hash(secret), valid_for),
    ).fetchone()
    if row is None:
        raise Conflict(f"name: there is a token called {name.strip()!r} already; choose another name")
    return secret


def every(connection: Connection) -> list[Token]:
    """All tokens, revoked ones included, oldest first."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM api_tokens ORDER BY created_at, name").fetchall()
    return [_token(row) for row in rows]


def revoke(connection: Connection, name: str) -> None:
    """End a token, and all sessions that it began, for good; raises NotFound if there is none of that name."""
    row = connection.execute(
        "UPDATE api_tokens SET revoked_at = coalesce(revoked_at, now()) WHERE name = %s RETURNING id", (name,)
    ).fetchone()
    if row is None:
        names = ", ".join(token.name for token in every(connection)) or "none yet"
        raise NotFound(f"no token is called {name!r}; there is: {names}")
    connection.execute("DELETE FROM api_sessions WHERE token_id = %s", (row["id"],))


def of_secret(connection: Connection, secret: str) -> Token | None:
    """The valid token of a secret; that it was used is written down once a minute."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM api_tokens t WHERE sha256 = %s AND {_VALID}", (_hash(secret),)
    ).fetchone()
    if row is None:
        return None
    connection.execute(
        """UPDATE api_tokens SET used_at = now()
           WHERE id = %s AND (used_at IS NULL OR used_at < now() - interval '1 minute')""",
        (row["id"],),
    )
    return _token(row)


def begin_session(connection: Connection, secret: str) -> str:
    """A browser signs in with a token: the content of its cookie; raises InputError if the token is not valid."""
    token = of_secret(connection, secret)
    if token is None:
        raise InputError("token: it is not valid (any more); 'gapsmith token create NAME' makes one")
    connection.execute("DELETE FROM api_sessions WHERE expires_at < now()")
    session = secrets.token_urlsafe(32)
    connection.execute(
        "INSERT INTO api_sessions (sha256, token_id, expires_at) VALUES (%s, %s, now() + %s)",
        (_hash(session), token.id, SESSION),
    )
    return session


def of_session(connection: Connection, session: str) -> Token | None:
    """The token that a browser signed in with, while both are valid."""
    row = connection.execute(
        f"""SELECT {", ".join(f"t.{name.strip()}" for name in _COLUMNS.split(","))}
            FROM api_sessions s JOIN api_tokens t ON t.id = s.token_id
            WHERE s.sha256 = %s AND s.expires_at > now() AND {_VALID}""",
        (_hash(session),),
    ).fetchone()
    return _token(row) if row else None


def end_session(connection: Connection, session: str) -> None:
    """A browser signs out."""
    connection.execute("DELETE FROM api_sessions WHERE sha256 = %s", (_hash(session),))


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _token(row: dict[str, object]) -> Token:
    return Token(**{**row, "role": Role(str(row["role"]))})  # type: ignore[arg-type]

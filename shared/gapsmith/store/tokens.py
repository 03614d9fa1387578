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


def ensure(connection: Connection, name: str, role: Role, secret: str) -> None:
    """Store a token that was made elsewhere, unless it is stored."""
    connection.execute(
        "INSERT INTO api_tokens (id, name, role, sha256) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (uuid4(), name, role, _hash(secret)),
    )


def fingerprint(secret: str) -> str:
    """Short, to tell tokens apart by."""
    return _hash(secret).hex()[:8]


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
    return _begin(connection, _valid(connection, secret).id)


def one_time_key(connection: Connection, secret: str) -> str:
    """A key that begins one session with a token, within the time of a session; raises InputError if it is not valid."""
    return _begin(connection, _valid(connection, secret).id, is_key=True)


def redeem(connection: Connection, key: str) -> str:
    """A browser signs in with a one-time key: the content of its cookie; raises InputError if the key was used."""
    row = connection.execute(
        f"""DELETE FROM api_sessions s USING api_tokens t
            WHERE s.sha256 = %s AND s.is_key AND s.expires_at > now() AND t.id = s.token_id AND {_VALID}
            RETURNING s.token_id""",
        (_hash(key),),
    ).fetchone()
    if row is None:
        raise InputError("key: this address was used already or is too old; 'gapsmith dashboard' prints another one")
    return _begin(connection, row["token_id"])


def _valid(connection: Connection, secret: str) -> Token:
    token = of_secret(connection, secret)
    if token is None:
        raise InputError("token: it is not valid (any more); 'gapsmith token create NAME' makes one")
    return token


def _begin(connection: Connection, token_id: UUID, *, is_key: bool = False) -> str:
    connection.execute("DELETE FROM api_sessions WHERE expires_at < now()")
    session = secrets.token_urlsafe(32)
    connection.execute(
        "INSERT INTO api_sessions (sha256, token_id, is_key, expires_at) VALUES (%s, %s, %s, now() + %s)",
        (_hash(session), token_id, is_key, SESSION),
    )
    return session


def of_session(connection: Connection, session: str) -> Token | None:
    """The token that a browser signed in with, while both are valid."""
    row = connection.execute(
        f"""SELECT {", ".join(f"t.{name.strip()}" for name in _COLUMNS.split(","))}
            FROM api_sessions s JOIN api_tokens t ON t.id = s.token_id
            WHERE s.sha256 = %s AND NOT s.is_key AND s.expires_at > now() AND {_VALID}""",
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

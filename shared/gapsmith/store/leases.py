"""Work under leases: rows that a worker claims, holds by heartbeats and ends, the same for tasks and calculations.

The attempt is counted when a row is claimed, before the work starts, so that work which kills its worker is noticed. Whoever
does not hold a row's lease any more changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gapsmith.store.database import Connection

Row = dict[str, Any]


@dataclass(frozen=True)
class Leases:
    """The rows of one table. ``changes`` are further assignments, for example ``, error = %(error)s``."""

    table: str
    waiting: str  # state of rows that nobody works on
    columns: str  # that are returned
    free: str = ""  # assignments to rows that are not worked on any more

    def claim(
        self, connection: Connection, owner: str, lease_s: float, chosen: str, values: Mapping[str, Any]
    ) -> Row | None:
        """Take the first row that a query ``chosen`` selects from the table as ``q``, and that nobody else is taking."""
        return connection.execute(
            f"""UPDATE {self.table} SET state = 'running', attempts = attempts + 1, lease_owner = %(owner)s,
                       started_at = now(), lease_expires_at = now() + make_interval(secs => %(lease_s)s){self.free}
                WHERE id = ({chosen} LIMIT 1 FOR UPDATE OF q SKIP LOCKED) RETURNING {self.columns}""",
            {**values, "owner": owner, "lease_s": lease_s},
        ).fetchone()

    def renew(
        self, connection: Connection, id: UUID, owner: str, lease_s: float, changes: str = "", **values: Any
    ) -> bool:
        """Extend a lease; False if it was lost or the row cancelled: then the work must stop."""
        row = connection.execute(
            f"""UPDATE {self.table} SET lease_expires_at = now() + make_interval(secs => %(lease_s)s){changes}
                WHERE id = %(id)s AND lease_owner = %(owner)s AND state = 'running' RETURNING id""",
            {**values, "id": id, "owner": owner, "lease_s": lease_s},
        ).fetchone()
        return row is not None

    def held(self, connection: Connection, id: UUID, owner: str) -> Row | None:
        """Lock a row whose lease is held; None if it is not held any more."""
        return connection.execute(
            f"""SELECT {self.columns} FROM {self.table} WHERE id = %s AND lease_owner = %s AND state = 'running'
                FOR UPDATE""",
            (id, owner),
        ).fetchone()

    def finish(self, connection: Connection, id: UUID, owner: str, changes: str = "", **values: Any) -> bool:
        """End a row as done, in the transaction of its results; False if its lease is not held any more."""
        row = connection.execute(
            f"""UPDATE {self.table} SET state = 'done', finished_at = now(), lease_expires_at = NULL{self.free}{changes}
                WHERE id = %(id)s AND lease_owner = %(owner)s AND state = 'running' RETURNING id""",
            {**values, "id": id, "owner": owner},
        ).fetchone()
        return row is not None

    def fail(
        self, connection: Connection, id: UUID, owner: str, *, again: bool, changes: str = "", **values: Any
    ) -> None:
        """End an attempt that failed: the row waits again, or has failed for good."""
        connection.execute(
            f"""UPDATE {self.table} SET state = %(state)s, finished_at = CASE WHEN %(again)s THEN NULL ELSE now() END,
                       lease_owner = NULL, lease_expires_at = NULL{self.free}{changes}
                WHERE id = %(id)s AND lease_owner = %(owner)s AND state = 'running'""",
            {**values, "id": id, "owner": owner, "again": again, "state": self.waiting if again else "failed"},
        )

    def release(self, connection: Connection, id: UUID, owner: str) -> Row | None:
        """Give a row back undone, without counting the attempt: a clean shutdown. None if its lease is not held."""
        return connection.execute(
            f"""UPDATE {self.table} SET state = %s, attempts = attempts - 1, lease_owner = NULL,
                       lease_expires_at = NULL{self.free}
                WHERE id = %s AND lease_owner = %s AND state = 'running' RETURNING {self.columns}""",
            (self.waiting, id, owner),
        ).fetchone()

    def cancel(self, connection: Connection, where: str, changes: str = "", **values: Any) -> list[Row]:
        """Cancel rows that wait or are worked on; their workers notice when they renew their leases."""
        return connection.execute(
            f"""UPDATE {self.table} SET state = 'cancelled', finished_at = now(), lease_owner = NULL,
                       lease_expires_at = NULL{self.free}{changes}
                WHERE state IN (%(waiting)s, 'running') AND ({where}) RETURNING {self.columns}""",
            {**values, "waiting": self.waiting},
        ).fetchall()

    def expired(self, connection: Connection, where: str = "true", **values: Any) -> list[Row]:
        """Lock the rows of silent workers."""
        return connection.execute(
            f"""SELECT * FROM {self.table}
                WHERE state = 'running' AND lease_expires_at < now() AND ({where}) FOR UPDATE SKIP LOCKED""",
            values,
        ).fetchall()

"""What the screen for hazards did: how many molecules of which class it refused, and who switched it off.

Structures are not recorded, and the records stay when a campaign is deleted.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from gapsmith.store.database import Connection

_INSERT = """INSERT INTO hazard_audits (campaign, campaign_id, action, hazard, molecules, source)
             SELECT name, id, %(action)s, %(hazard)s, %(molecules)s, %(source)s FROM campaigns WHERE id = %(campaign)s"""


def refused(connection: Connection, campaign_id: UUID, molecules: Mapping[str, int], *, source: str) -> None:
    """Record how many molecules of each hazardous class were refused."""
    for hazard, count in molecules.items():
        _add(connection, campaign_id, "refused", source, hazard=hazard, molecules=count)


def switched_off(connection: Connection, campaign_id: UUID, *, source: str) -> None:
    """Record that a campaign began without the screen."""
    _add(connection, campaign_id, "switched_off", source)


def records(connection: Connection, campaign: str | None = None) -> list[dict[str, Any]]:
    """All records or those of campaigns with one name, oldest first: when, campaign, action, hazard, molecules, source."""
    return connection.execute(
        """SELECT created_at, campaign, action, hazard, molecules, source FROM hazard_audits
           WHERE %(name)s::text IS NULL OR campaign = %(name)s ORDER BY id""",
        {"name": campaign},
    ).fetchall()


def _add(
    connection: Connection,
    campaign_id: UUID,
    action: str,
    source: str,
    hazard: str | None = None,
    molecules: int | None = None,
) -> None:
    values = {"campaign": campaign_id, "action": action, "hazard": hazard, "molecules": molecules, "source": source}
    connection.execute(_INSERT, values)

"""How a campaign's gaps are distributed, as the models predict them and as DFT computes them."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from gapsmith.core.domain import Window
from gapsmith.store.database import Connection

BIN_EV: Final = 0.2


@dataclass(frozen=True)
class Distribution:
    """Molecules per bin of the gap."""

    name: str  # whose predictions, or DFT
    counts: dict[float, int]  # by the lower end of the bin, eV


def distributions(connection: Connection, campaign_id: UUID, window: Window) -> list[Distribution]:
    """Predicted gaps of each model version, then DFT gaps, in bins of which the window's lower end is an edge."""
    rows = connection.execute(
        """SELECT name, floor((gap_ev - %(low)s) / %(bin)s + 1e-9)::int AS place, count(*)::int AS n FROM (
               SELECT 'surrogate:' || m.version AS name, m.version, p.gap_ev
               FROM predictions p JOIN models m ON m.id = p.model_id JOIN candidates c ON c.id = p.candidate_id
               WHERE c.campaign_id = %(id)s
               UNION ALL
               SELECT 'DFT', NULL, gap_ev FROM candidates WHERE campaign_id = %(id)s AND gap_ev IS NOT NULL) AS gaps
           GROUP BY name, version, place ORDER BY version NULLS LAST, place""",
        {"id": campaign_id, "low": window.low_ev, "bin": BIN_EV},
    ).fetchall()
    found: dict[str, dict[float, int]] = {}
    for row in rows:
        edge = round(window.low_ev + row["place"] * BIN_EV, 6)
        found.setdefault(row["name"], {})[edge] = row["n"]
    return [Distribution(name, counts) for name, counts in found.items()]


def mark(connection: Connection, campaign_id: UUID) -> tuple[object, ...]:
    """Something that changes whenever the predictions of a campaign, or the models, do."""
    row = connection.execute(
        """SELECT (SELECT count(*) FROM predictions p JOIN candidates c ON c.id = p.candidate_id
                   WHERE c.campaign_id = %s) AS predictions, (SELECT max(created_at) FROM models) AS newest""",
        (campaign_id,),
    ).fetchone()
    assert row is not None  # it has no FROM
    return row["predictions"], row["newest"]

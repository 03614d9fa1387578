"""How values of a campaign's target are distributed, as the models predict them and as DFT computes them."""

import math
from dataclasses import dataclass
from uuid import UUID

from gapsmith.core.wanted import Window
from gapsmith.store.database import Connection


@dataclass(frozen=True)
class Distribution:
    """Molecules per bin of the target's property."""

    name: str  # whose predictions, or DFT
    counts: dict[float, int]  # by the lower end of the bin


def distributions(connection: Connection, campaign_id: UUID, window: Window) -> list[Distribution]:
    """Predictions of each model version, then DFT labels, in bins of which an end of the window is an edge."""
    start = window.low if math.isfinite(window.low) else window.high
    rows = connection.execute(
        """SELECT name, floor((value - %(low)s) / %(bin)s + 1e-9)::int AS place, count(*)::int AS n FROM (
               SELECT 'surrogate:' || m.version AS name, m.version,
                      (p.properties -> (g.config #>> '{target,0,property}') ->> 'mean')::float8 AS value
               FROM predictions p JOIN models m ON m.id = p.model_id JOIN candidates c ON c.id = p.candidate_id
               JOIN campaigns g ON g.id = c.campaign_id
               WHERE c.campaign_id = %(id)s
               UNION ALL
               SELECT 'DFT', NULL, label_value FROM candidates
               WHERE campaign_id = %(id)s AND label_value IS NOT NULL) AS found
           GROUP BY name, version, place ORDER BY version NULLS LAST, place""",
        {"id": campaign_id, "low": start, "bin": bin_width(window)},
    ).fetchall()
    found: dict[str, dict[float, int]] = {}
    for row in rows:
        edge = round(start + row["place"] * bin_width(window), 6)
        found.setdefault(row["name"], {})[edge] = row["n"]
    return [Distribution(name, counts) for name, counts in found.items()]


def bin_width(window: Window) -> float:
    """The window is one bin, if it ends on both sides."""
    return 2 * window.scale


def mark(connection: Connection, campaign_id: UUID) -> tuple[object, ...]:
    """Something that changes whenever the predictions of a campaign, or the models, do."""
    row = connection.execute(
        """SELECT (SELECT count(*) FROM predictions p JOIN candidates c ON c.id = p.candidate_id
                   WHERE c.campaign_id = %s) AS predictions, (SELECT max(created_at) FROM models) AS newest""",
        (campaign_id,),
    ).fetchone()
    assert row is not None  # it has no FROM
    return row["predictions"], row["newest"]

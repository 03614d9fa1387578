"""The numbers behind the charts of a campaign."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, Final

from gapsmith.core.lifecycle import Outcome
from gapsmith.core.target import Target
from gapsmith.store import campaigns, results
from gapsmith.store.database import Database
from gapsmith.store.distributions import bin_width, distributions
from gapsmith.store.progress import Attempt

LEVELS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # nominal coverage of the calibration curve
MOST_POINTS: Final = 2000  # of the parity plot: the newest


def charts(database: Database, name: str) -> dict[str, Any]:
    """Everything that is drawn, as JSON; raises NotFound if there is no such campaign."""
    with database.transaction() as connection:
        campaign = campaigns.named(connection, name)
    found = results.collect(database, campaign)
    window = campaign.config.target.window
    with database.transaction() as connection:
        gaps = distributions(connection, campaign.id, window)
    kind = campaign.config.target.main
    low, high = (end if math.isfinite(end) else None for end in (window.low, window.high))
    return {
        "property": {"noun": kind.noun, "unit": kind.unit},
        "window": {"low": low, "high": high},  # null: there is no such limit
        "hits": _hits(found.attempts, found.base_rate, campaign.config.dft.certify),
        "best": _best(found.attempts),
        "gaps": {
            "bin": bin_width(window),
            "series": [{"name": one.name, "x": list(one.counts), "y": list(one.counts.values())} for one in gaps],
        },
        "parity": _parity(found.attempts),
        "front": _front(found.attempts, campaign.config.target),
        "calibration": calibration(found.attempts),
    }


def _hits(attempts: Sequence[Attempt], base_rate: float, certifies: bool) -> dict[str, Any]:
    found, certified = [0], [0]
    for one in attempts:
        found.append(found[-1] + (one.outcome is not None and one.outcome.hit))
        certified.append(certified[-1] + (one.outcome is Outcome.HIT_BY_CERTIFICATE))
    return {
        "found": found,
        "certified": certified if certifies else None,
        "base_rate": base_rate,
        "smiles": [one.smiles for one in attempts],
    }


def _best(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Least distance from the middle of the windows after so many jobs, in units of their scales: 1 is at an edge."""
    nearest: list[float | None] = []
    for one in attempts:
        before = nearest[-1] if nearest else None
        distance = None if one.violation is None else max(1 + one.violation, 0.0)
        nearest.append(min((d for d in (before, distance) if d is not None), default=None))
    return {"distance": nearest}


def _front(attempts: Sequence[Attempt], target: Target) -> dict[str, Any] | None:
    """The hits by two objectives, and which of them are on the Pareto front; None without two."""
    if len(target.objectives) < 2:
        return None
    hits = [one for one in attempts if one.outcome is not None and one.outcome.hit]
    best = set(target.front([one.counting for one in hits]))
    kinds = [one.kind for one in target.objectives]
    points = [
        {"x": one.counting[kinds[0].name], "y": one.counting[kinds[1].name], "best": place in best}
        | {"smiles": one.smiles, "id": str(one.candidate_id)}
        for place, one in enumerate(hits)
        if all(kind.name in one.counting for kind in kinds)
    ]
    return {"axes": [f"{kind.noun}, {kind.unit}" for kind in kinds], "points": points}


def _parity(attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
    known = [one for one in attempts if one.label_value is not None and one.predicted is not None]
    return [
        {
            "predicted": one.predicted,
            "deviation": one.predicted_std,
            "dft": one.label_value,
            "hit": one.outcome is not None and one.outcome.hit,
            "smiles": one.smiles,
            "id": str(one.candidate_id),
        }
        for one in known[-MOST_POINTS:]
    ]


def calibration(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Share of labels inside the central interval of a normal distribution about the prediction, beside its nominal share."""
    scores = [
        abs(one.label_value - one.predicted) / one.predicted_std
        for one in attempts
        if one.label_value is not None and one.predicted is not None and one.predicted_std
    ]
    observed = [
        sum(score <= NormalDist().inv_cdf(0.5 + level / 2) for score in scores) / len(scores)
        for level in LEVELS
        if scores
    ]
    return {"nominal": list(LEVELS) if scores else [], "observed": observed, "labels": len(scores)}

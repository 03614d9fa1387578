"""The numbers behind the charts of a campaign."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, Final

from gapsmith.core.domain import Window
from gapsmith.core.lifecycle import Outcome
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
    kind = campaign.config.target.kind
    return {
        "property": {"noun": kind.noun, "unit": kind.unit},
        "window": {"low": window.low, "high": window.high, "value": window.value},
        "hits": _hits(found.attempts, found.base_rate, campaign.config.dft.certify),
        "best": _best(found.attempts, window),
        "gaps": {
            "bin": bin_width(window),
            "series": [{"name": one.name, "x": list(one.counts), "y": list(one.counts.values())} for one in gaps],
        },
        "parity": _parity(found.attempts),
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


def _best(attempts: Sequence[Attempt], window: Window) -> dict[str, Any]:
    """Distance from the target of the best gap after so many jobs, eV."""
    nearest: list[float | None] = []
    for one in attempts:
        before = nearest[-1] if nearest else None
        distance = None if one.value is None else abs(one.value - window.value)
        nearest.append(min((d for d in (before, distance) if d is not None), default=None))
    return {"distance": nearest, "tolerance": window.tolerance}


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

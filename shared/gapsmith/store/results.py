"""A campaign's results as numbers, the same ones wherever they are shown: report, terminal and dashboard."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from gapsmith.core import properties
from gapsmith.core.campaign import CampaignConfig, Constraints
from gapsmith.core.properties import Property
from gapsmith.core.target import Target
from gapsmith.store import progress
from gapsmith.store.campaigns import Campaign
from gapsmith.store.database import Database
from gapsmith.store.progress import Attempt, DftCost, Progress, TrainedModel

if TYPE_CHECKING:
    import numpy as np

    from gapsmith.data.qm9 import QM9


@dataclass(frozen=True)
class Results:
    """All that a report tells of."""

    campaign: Campaign
    progress: Progress
    attempts: list[Attempt]
    cost: DftCost
    models: list[TrainedModel]
    base_rate: float  # share of QM9's molecules, within the campaign's elements and sizes, that hold all windows


def collect(database: Database, campaign: Campaign) -> Results:
    """Read a campaign's results."""
    with database.transaction() as connection:
        return Results(
            campaign=campaign,
            progress=progress.progress(connection, campaign.id),
            attempts=progress.attempts(connection, campaign.id),
            cost=progress.dft_cost(connection, campaign.id),
            models=progress.trained_models(connection, campaign.id),
            base_rate=base_rate(campaign.config),
        )


def base_rate(config: CampaignConfig) -> float:
    """Hit rate of drawing blindly: share of QM9's molecules, of the allowed elements and sizes, that hold all windows."""
    return _base_rate(config.constraints, config.target)


@lru_cache(maxsize=128)
def _base_rate(constraints: Constraints, target: Target) -> float:
    import numpy as np

    from gapsmith.data import qm9
    from gapsmith.data.screened import fitting

    data = qm9.load()
    allowed = fitting(data, constraints)
    inside = holding(data, target)
    return 0.0 if inside is None or not allowed.any() else float(np.mean(inside[allowed]))


def holding(data: "QM9", target: Target) -> "np.ndarray | None":
    """(molecules,) bool: which molecules of QM9 hold all windows; None where QM9 does not tell."""
    import numpy as np

    inside = np.ones(len(data), dtype=bool)
    for name, window in target.windows.items():
        values = _known(data, properties.get(name))
        if values is None:
            return None
        inside &= (values >= window.low) & (values <= window.high)
    return inside


def _known(data: "QM9", kind: Property) -> "np.ndarray | None":
    """Values of a property over QM9; None where they do not follow from what QM9 has."""
    import numpy as np

    if kind.column in data.properties:
        return data.properties[kind.column]
    known = {name: properties.get(name).column for name in kind.heads}
    if not known or any(column not in data.properties for column in known.values()):
        return None
    parts = [(weight, data.properties[known[name]]) for name, weight in kind.heads.items()]
    total = np.zeros(len(data))
    for weight, values in parts:
        total += weight * values
    return total


def wilson(hits: int, jobs: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a rate (E. B. Wilson, J. Am. Stat. Assoc. 22, 209, 1927)."""
    rate = hits / jobs
    middle = rate + z * z / (2 * jobs)
    half = z * (rate * (1 - rate) / jobs + z * z / (4 * jobs * jobs)) ** 0.5
    scale = 1 + z * z / jobs
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def mean_absolute_error(found: Sequence[Attempt]) -> tuple[float, int] | None:
    """Of the predictions that were made before their labels, in eV, and of how many; None without any."""
    errors = [
        abs(attempt.predicted - attempt.label_value)
        for attempt in found
        if attempt.label_value is not None and attempt.predicted is not None
    ]
    return (sum(errors) / len(errors), len(errors)) if errors else None


def failures(found: Sequence[Attempt]) -> list[tuple[str, int]]:
    """Why DFT jobs failed, the most frequent first."""
    return Counter(attempt.reason or "no reason given" for attempt in found if attempt.state == "failed").most_common()

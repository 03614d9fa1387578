"""The candidates to choose from, with what the newest model says of each, as arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from gapsmith.coordinator import acquisition
from gapsmith.coordinator.adaptation import LATEST, Adaptation
from gapsmith.coordinator.improvement import expected_improvement
from gapsmith.core.campaign import CampaignConfig
from gapsmith.core.chemistry.identity import unpack_fingerprints
from gapsmith.core.properties import correlations
from gapsmith.core.target import Target
from gapsmith.store import selection
from gapsmith.store.campaigns import Campaign
from gapsmith.store.database import Connection
from gapsmith.store.selection import Waiting

SHORTLIST = 512  # diversity is weighed among so many of the best scores, so that a large pool costs no more
PARENTS = 8  # of one regrowing request
PARENTS_FROM = 32  # best candidates that parents are drawn from


@dataclass(frozen=True)
class Pool:
    """Candidates that wait for DFT, best score first, the longest list cut at ``SHORTLIST``."""

    ids: list[UUID]
    queued: np.ndarray  # (candidates,) bool: requested already, not begun
    score: np.ndarray  # (candidates,)
    distance: np.ndarray  # (candidates,) of the predictions from the middle of the windows, in units of their scales
    fingerprints: np.ndarray  # (candidates, 256) uint8


def seed(config: CampaignConfig, stream: int, counter: int) -> int:
    """A seed below 2**31 that depends on the campaign's seed, what it is for, and how often that was done before."""
    return int(np.random.SeedSequence([config.seed, stream, counter]).generate_state(1)[0]) >> 1


def load(connection: Connection, campaign: Campaign, *, queued: Sequence[UUID] = (), counter: int = 0) -> Pool:
    """The campaign's scored candidates, and ``queued`` ones with them; ``counter`` varies the random strategy."""
    target = campaign.config.target
    wanted, windows = list(target.windows), list(target.windows.values())
    rows = selection.waiting(connection, campaign.id, [one.name for one in target.properties], queued=queued)
    mean, std = _said(rows, wanted)
    for index, found in enumerate(adaptations(connection, campaign.id, wanted)):
        mean[:, index] += found.shift
        std[:, index] *= found.factor
    score = acquisition.scores(
        campaign.config.acquisition.strategy,
        mean,
        std,
        np.array([correlations(row.correlations, wanted) for row in rows]).reshape(-1, len(wanted), len(wanted)),
        np.array([row.out_of_distribution for row in rows], dtype=bool),
        windows,
        seed=seed(campaign.config, 0, counter),
    )
    if target.objectives and campaign.config.acquisition.strategy != "random":
        score = score * _gain(rows, target, selection.hits(connection, campaign.id))
    distance = acquisition.distances(mean, windows)
    holds_place = np.array([row.queued for row in rows], dtype=bool)
    best = np.lexsort((distance, -score))
    order = np.concatenate([best[holds_place[best]], best[~holds_place[best]][:SHORTLIST]])
    ids = [rows[index].id for index in order]
    fingerprints = unpack_fingerprints(selection.fingerprints(connection, ids))
    return Pool(ids, holds_place[order], score[order], distance[order], fingerprints)


def adaptations(connection: Connection, campaign_id: UUID, names: Sequence[str]) -> list[Adaptation]:
    """What the campaign's labels say of the predictions of these properties."""
    known = selection.foretold(connection, campaign_id, LATEST)
    found = []
    for name in names:
        rows = [
            (one.predicted[name]["mean"], one.predicted[name]["std"], one.labels[name])
            for one in known
            if name in one.predicted and name in one.labels
        ]
        found.append(Adaptation.of(*np.array(rows, dtype=np.float64).reshape(-1, 3).T))
    return found


def _said(rows: Sequence[Waiting], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations, (candidates, properties)."""
    mean, std = (
        np.array([[row.properties[name][part] for name in names] for row in rows]).reshape(-1, len(names))
        for part in ("mean", "std")
    )
    return mean, std


def _gain(rows: Sequence[Waiting], target: Target, hits: Sequence[Mapping[str, float]]) -> np.ndarray:
    """(candidates,) the improvement that is expected by the target's objectives, in units of the greatest one."""
    objectives = target.objectives
    mean, std = _said(rows, [one.property for one in objectives])
    unit = np.array([one.direction / one.usual_range for one in objectives])
    known = [target.utilities(one) for one in hits if target.merit(one) > -np.inf]
    worst = np.array([min(end * by for end in one.kind.usual) for one, by in zip(objectives, unit, strict=True)])
    found = expected_improvement(mean * unit, std * np.abs(unit), np.array(known).reshape(-1, len(objectives)), worst)
    most = found.max(initial=0.0)
    return found / most if most > 0 else np.ones(len(rows))


def taken(connection: Connection, campaign: Campaign, *, but: Sequence[UUID] = ()) -> np.ndarray:
    """Fingerprints of what the campaign has computed or is computing, (molecules, 256) uint8."""
    return unpack_fingerprints(selection.chosen_fingerprints(connection, campaign.id, but=but))


def parents(connection: Connection, campaign: Campaign, *, counter: int) -> tuple[UUID, ...]:
    """What to regrow: labelled candidates nearest to the target, then the most promising of those that wait.

    They are drawn without replacement with weights 1 / rank, so that the best come often and never alone.
    """
    ranked = selection.nearest(connection, campaign.id, PARENTS_FROM)
    if len(ranked) < PARENTS_FROM:
        ranked += load(connection, campaign, counter=counter).ids[: PARENTS_FROM - len(ranked)]
    if not ranked:
        return ()
    weights = 1.0 / np.arange(1, len(ranked) + 1)
    generator = np.random.default_rng(seed(campaign.config, 1, counter))
    drawn = generator.choice(
        len(ranked), size=min(PARENTS, len(ranked)), replace=False, p=weights / weights.sum(), shuffle=False
    )
    return tuple(ranked[index] for index in sorted(drawn))

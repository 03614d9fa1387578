"""The candidates to choose from, with what the newest model says of each, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from gapsmith.coordinator import acquisition
from gapsmith.core.campaign import CampaignConfig
from gapsmith.core.chemistry.identity import unpack_fingerprints
from gapsmith.store import selection
from gapsmith.store.campaigns import Campaign
from gapsmith.store.database import Connection

SHORTLIST = 512  # diversity is weighed among so many of the best scores, so that a large pool costs no more
PARENTS = 8  # of one regrowing request
PARENTS_FROM = 32  # best candidates that parents are drawn from


@dataclass(frozen=True)
class Pool:
    """Candidates that wait for DFT, best score first, the longest list cut at ``SHORTLIST``."""

    ids: list[UUID]
    queued: np.ndarray  # (candidates,) bool: requested already, not begun
    score: np.ndarray  # (candidates,)
    distance: np.ndarray  # (candidates,) of the predicted value from the middle of the window
    fingerprints: np.ndarray  # (candidates, 256) uint8


def seed(config: CampaignConfig, stream: int, counter: int) -> int:
    """A seed below 2**31 that depends on the campaign's seed, what it is for, and how often that was done before."""
    return int(np.random.SeedSequence([config.seed, stream, counter]).generate_state(1)[0]) >> 1


def load(connection: Connection, campaign: Campaign, *, queued: Sequence[UUID] = (), counter: int = 0) -> Pool:
    """The campaign's scored candidates, and ``queued`` ones with them; ``counter`` varies the random strategy."""
    rows = selection.waiting(connection, campaign.id, queued=queued)
    mean = np.array([row.mean for row in rows], dtype=np.float64)
    score = acquisition.scores(
        campaign.config.acquisition.strategy,
        mean,
        np.array([row.std for row in rows], dtype=np.float64),
        np.array([row.out_of_distribution for row in rows], dtype=bool),
        campaign.config.target.window,
        seed=seed(campaign.config, 0, counter),
    )
    distance = np.abs(mean - campaign.config.target.window.value)
    holds_place = np.array([row.queued for row in rows], dtype=bool)
    best = np.lexsort((distance, -score))
    order = np.concatenate([best[holds_place[best]], best[~holds_place[best]][:SHORTLIST]])
    ids = [rows[index].id for index in order]
    fingerprints = unpack_fingerprints(selection.fingerprints(connection, ids))
    return Pool(ids, holds_place[order], score[order], distance[order], fingerprints)


def taken(connection: Connection, campaign: Campaign, *, but: Sequence[UUID] = ()) -> np.ndarray:
    """Fingerprints of what the campaign has computed or is computing, (molecules, 256) uint8."""
    return unpack_fingerprints(selection.chosen_fingerprints(connection, campaign.id, but=but))


def parents(connection: Connection, campaign: Campaign, *, counter: int) -> tuple[UUID, ...]:
    """What to regrow: labelled candidates nearest to the target, then the most promising of those that wait.

    They are drawn without replacement with weights 1 / rank, so that the best come often and never alone.
    """
    ranked = selection.nearest(connection, campaign.id, campaign.config.target.value, PARENTS_FROM)
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

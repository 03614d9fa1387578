"""Carries out the policy's decisions on a campaign, in the caller's transaction."""

from collections.abc import Sequence
from uuid import UUID

import structlog

from gapsmith.coordinator import acquisition, pool, snapshot
from gapsmith.coordinator.policy import QUEUED_ADVANTAGE, Decisions, Snapshot, decide
from gapsmith.core.calculation import content_hash
from gapsmith.core.domain import Level
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.messages import GenerateRequested, TrainingRequested
from gapsmith.store import calculations, campaigns, candidates, requests, selection
from gapsmith.store.campaigns import Campaign
from gapsmith.store.database import Connection

log = structlog.get_logger()

SOURCE = "coordinator"
PRIORITY = {Level.TRIAGE: 0, Level.CERTIFICATE: 10}  # what is nearly proven comes before what is only hoped
SPIN = 0  # candidates are closed-shell molecules
MOST_ROUNDS = 50  # of one steering: each may settle at once what was computed before


def steer(connection: Connection, campaign_id: UUID, *, workers: int, tick_s: float | None = None) -> None:
    """Bring a campaign up to date with what has ended, and decide what comes next.

    The campaign's row stays locked until the transaction ends, so that two coordinators never both decide.

    Args:
        connection: in a transaction.
        campaign_id: the campaign.
        workers: DFT workers there are.
        tick_s: count the time since the last tick, up to so many seconds.
    """
    campaigns.lock(connection, campaign_id)
    if tick_s is not None:
        campaigns.tick(connection, campaign_id, most_s=tick_s)
    campaign = campaigns.get(connection, campaign_id)
    if campaign.state.ended:
        _abandon(connection, campaign_id, campaign.stop_reason or f"the campaign is {campaign.state}")
        return
    _settle(connection, campaign_id)
    for _ in range(MOST_ROUNDS):
        now = snapshot.take(connection, campaign, workers=workers)
        decisions = decide(campaign.config, now)
        if decisions == Decisions():
            return
        _carry_out(connection, campaign, now, decisions)
        if decisions.stop:
            return
        _settle(connection, campaign_id)


def _settle(connection: Connection, campaign_id: UUID) -> None:
    """Give the candidates what has ended. Who shares a calculation with a campaign that does not run takes it over."""
    candidates.settle(connection, campaign_id)
    calculations.take_over(connection, campaign_id)


def _abandon(connection: Connection, campaign_id: UUID, reason: str) -> None:
    """Take back everything that is still open: the campaign has ended. What another campaign waits for goes on."""
    unfinished = calculations.open_of(connection, campaign_id)
    _settle(connection, campaign_id)
    for calculation_id in unfinished:
        calculations.release_from(connection, campaign_id, calculation_id)
    candidates.withdraw(connection, campaign_id, unfinished, reason)


def rerank(connection: Connection, campaign_id: UUID) -> None:
    """After new predictions: selections that nobody computes yet give way to what is clearly better.

    A displaced candidate goes back to ``scored``, may be chosen again later, and is not charged to the budget.
    """
    campaigns.lock(connection, campaign_id)
    campaign = campaigns.get(connection, campaign_id)
    if campaign.state is not CampaignState.RUNNING or campaign.config.acquisition.strategy == "random":
        return
    queued = selection.not_begun(connection, campaign_id)
    if not queued:
        return
    waiting = pool.load(connection, campaign, queued=list(queued))
    leaving, entering = acquisition.displaced(
        waiting.score,
        waiting.queued,
        waiting.fingerprints,
        pool.taken(connection, campaign, but=list(queued)),
        diversity=campaign.config.acquisition.diversity,
        advantage=QUEUED_ADVANTAGE,
        distance=waiting.distance,
    )
    for index in leaving:
        candidates.displace(connection, waiting.ids[index])
        calculations.release_from(connection, campaign_id, queued[waiting.ids[index]])
    _select(connection, campaign, [waiting.ids[index] for index in entering])
    log.info("re-ranked", campaign=campaign.name, queued=len(queued), replaced=len(leaving))


def _carry_out(connection: Connection, campaign: Campaign, now: Snapshot, decisions: Decisions) -> None:
    if decisions.stop:
        campaigns.set_state(connection, campaign.id, CampaignState.FINISHED, source=SOURCE, reason=decisions.stop)
        _abandon(connection, campaign.id, decisions.stop.text)
        log.info("campaign ends", campaign=campaign.name, code=decisions.stop.code, reason=decisions.stop.text)
        return
    if decisions.certify:
        _certify(connection, campaign)
    if decisions.dispatch:
        _dispatch(connection, campaign, now, decisions.dispatch)
    for index, regrow in enumerate(decisions.generate):
        _generate(connection, campaign, now.requests.made + index, regrow=regrow)
    if decisions.train:
        _train(connection, campaign, now)


def _dispatch(connection: Connection, campaign: Campaign, now: Snapshot, count: int) -> None:
    waiting = pool.load(connection, campaign, counter=now.used_jobs)
    diversity = campaign.config.acquisition.diversity
    chosen = acquisition.pick(
        waiting.score,
        waiting.fingerprints,
        pool.taken(connection, campaign),
        count,
        diversity=diversity,
        distance=waiting.distance,
    )
    _select(connection, campaign, [waiting.ids[index] for index in chosen])


def _select(connection: Connection, campaign: Campaign, candidate_ids: Sequence[UUID]) -> None:
    """Request triage of candidates.

    What is computed already, for whichever campaign, is used at once: it counts as one of the campaign's ``dft_jobs``,
    since the choice was made like any other, but no CPU time is spent on it again.
    """
    for candidate_id in candidate_ids:
        calculation_id = _request(connection, campaign, candidate_id, Level.TRIAGE)
        candidates.select(connection, candidate_id, calculation_id)


def _certify(connection: Connection, campaign: Campaign) -> None:
    for candidate_id in selection.uncertified(connection, campaign.id):
        certificate_id = _request(connection, campaign, candidate_id, Level.CERTIFICATE)
        candidates.certify(connection, candidate_id, certificate_id)


def _request(connection: Connection, campaign: Campaign, candidate_id: UUID, level: Level) -> UUID:
    structure = selection.structure(connection, candidate_id)
    molecule = structure.molecule
    charge = int(molecule.charges.sum())
    theory = campaign.levels[level]
    return calculations.request(
        connection,
        content_hash=content_hash(molecule.numbers, molecule.coordinates, charge, SPIN, theory, structure.method),
        level=theory,
        conformer_id=structure.conformer_id,
        campaign_id=campaign.id,
        charge=charge,
        spin=SPIN,
        priority=PRIORITY[level],
    ).id


def _generate(connection: Connection, campaign: Campaign, counter: int, *, regrow: bool) -> None:
    config = campaign.config
    parents = pool.parents(connection, campaign, counter=counter) if regrow else ()
    requests.generate(
        connection,
        GenerateRequested(
            campaign_id=campaign.id,
            count=config.exploration.batch,
            target=config.target.aims,
            seed=pool.seed(config, 2, counter),
            parents=parents,
            mask_fraction=config.exploration.mask_fraction if parents else None,
            heavy_atoms=config.constraints.heavy_atoms,
            elements=config.constraints.elements,
        ),
        source=SOURCE,
    )


def _train(connection: Connection, campaign: Campaign, now: Snapshot) -> None:
    retraining = campaign.config.retraining
    for role in retraining.models:
        request = TrainingRequested(
            campaign_id=campaign.id,
            role=role,
            labels=now.labels,
            steps=retraining.steps,
            processes=retraining.processes,
            seed=pool.seed(campaign.config, 3, now.labels),
        )
        requests.train(connection, request, source=SOURCE)

"""Steering: what to do next in a campaign, as pure functions of a snapshot. Nothing here touches a database."""

from dataclasses import dataclass

from gapsmith.core.campaign import CampaignConfig, Retraining
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.reasons import Reason, ReasonCode

QUEUE_AHEAD = 1  # triage jobs that wait beyond one per worker, so that no worker ever waits for the coordinator
FIRST_WAIT_S = 300.0  # the first DFT starts by then with what there is, or after FIRST_WAIT_SHARE of the wall time
FIRST_WAIT_SHARE = 0.15
MOST_OPEN_REQUESTS = 3  # more would be drawn before anything was learnt from the first
BARREN_REQUESTS = 10  # so many requests in a row without one usable molecule: there is nothing more to find
PRIOR_YIELD, PRIOR_PASS = 0.25, 0.7  # usable share of what is drawn, and of what is proposed, before anything is known
PRIOR_WEIGHT = 32.0  # in molecules
LABELS_THAT_SHOW_DRIFT = 4  # fewer errors say little about their spread
QUEUED_ADVANTAGE = 2.0  # a queued selection gives way only to what is twice as good


@dataclass(frozen=True)
class Requests:
    """What was asked of the generator so far."""

    made: int = 0
    open: int = 0  # not answered yet
    barren: int = 0  # answered since the last usable candidate was proposed
    regrown: int = 0  # of those made, with parents


@dataclass(frozen=True)
class Proposals:
    """What the generator and the surrogate made of the requests."""

    sampled: int = 0  # molecules drawn
    unjudged: int = 0  # proposed, and the surrogate has not come to them
    judged: int = 0  # proposed, and the surrogate has come to them
    usable: int = 0  # of those judged, the ones that it scored


@dataclass(frozen=True)
class Snapshot:
    """A campaign at one moment: everything that a decision depends on."""

    state: CampaignState
    elapsed_s: float
    workers: int
    waiting: int = 0  # scored, not selected
    open_triage: int = 0  # selected, not computed yet
    used_jobs: int = 0  # triage calculations that count against the budget: open, done and failed
    labels: int = 0
    hits: int = 0  # by label or by certificate
    certified_hits: int = 0
    uncertified_hits: int = 0  # hits whose certificate was not asked for
    open_certificates: int = 0
    requests: Requests = Requests()
    proposals: Proposals = Proposals()
    parents: int = 0  # candidates that could be regrown
    trained_labels: int = 0  # how many labels there were at the last request for a training
    open_trainings: int = 0
    trainings: int = 0  # asked for so far
    since_training_s: float = 0.0  # since a training was asked for, or since the campaign began
    drift: float = 0.0  # root mean square of the new labels' errors in predicted standard deviations


@dataclass(frozen=True)
class Decisions:
    """What to do now."""

    dispatch: int = 0  # triage calculations to request
    generate: tuple[bool, ...] = ()  # one request each; True regrows parents
    certify: bool = False  # request certificates of all hits without one
    train: bool = False
    stop: Reason | None = None  # end the campaign, for this reason


def decide(config: CampaignConfig, now: Snapshot) -> Decisions:
    """The decisions that follow from a snapshot; none unless the campaign runs."""
    if now.state is not CampaignState.RUNNING:
        return Decisions()
    if reason := stop_reason(config, now):
        return Decisions(stop=reason)
    left = config.budget.dft_jobs - now.used_jobs
    return Decisions(
        dispatch=_dispatch(config, now, left),
        generate=_generate(config, now, left),
        certify=config.dft.certify and now.uncertified_hits > 0,
        # what is learnt must still be of use
        train=left > 0 and now.open_trainings == 0 and (_due(config.retraining, now) or _unlearned(config, now)),
    )


def _unlearned(config: CampaignConfig, now: Snapshot) -> bool:
    """Whether imported data waits to be learned: it takes no label, so that the first candidates gain by it."""
    return bool(config.data) and now.trainings == 0


def _due(policy: Retraining, now: Snapshot) -> bool:
    new = now.labels - now.trained_labels
    if not policy.enabled or new <= 0:
        return False
    drifted = policy.drift is not None and new >= LABELS_THAT_SHOW_DRIFT and now.drift >= policy.drift
    late = policy.every is not None and now.since_training_s >= policy.every.total_seconds()
    return new >= policy.every_labels or drifted or late


def stop_reason(config: CampaignConfig, now: Snapshot) -> Reason | None:
    """Why the campaign should end, if it should."""
    budget = config.budget
    hits, kind = (now.certified_hits, "certified hits") if config.dft.certify else (now.hits, "hits")
    if budget.wanted_hits is not None and hits >= budget.wanted_hits:
        return Reason(ReasonCode.HITS_FOUND, f"{hits} of {budget.wanted_hits} wanted {kind} were found")
    if now.elapsed_s >= budget.wall_time.total_seconds():
        minutes = budget.wall_time.total_seconds() / 60
        return Reason(ReasonCode.WALL_TIME, f"the wall time of {minutes:g} min is over")
    busy = now.open_triage + now.open_certificates + (now.uncertified_hits if config.dft.certify else 0)
    if busy:
        return None
    if now.used_jobs >= budget.dft_jobs:
        return Reason(ReasonCode.DFT_BUDGET, f"the budget of {budget.dft_jobs} DFT jobs is spent")
    if now.waiting == 0 and now.requests.open == 0 and now.proposals.unjudged == 0 and _exhausted(now):
        return Reason(
            ReasonCode.NOTHING_MORE_FOUND,
            f"nothing more was found: {now.requests.barren} requests in a row gave no molecule that is new, allowed "
            "and stable; wider constraints may help",
        )
    return None


def expected(config: CampaignConfig, now: Snapshot) -> float:
    """How many candidates the open requests and unjudged proposals will add to those that wait, as far as known."""
    done = now.proposals
    pass_rate = (done.usable + PRIOR_PASS * PRIOR_WEIGHT) / (done.judged + PRIOR_WEIGHT)
    drawn_and_judged = done.sampled * done.judged / max(done.judged + done.unjudged, 1)
    draw_rate = (done.usable + PRIOR_YIELD * PRIOR_WEIGHT) / (drawn_and_judged + PRIOR_WEIGHT)
    return min(pass_rate, 1.0) * done.unjudged + min(draw_rate, 1.0) * config.exploration.batch * now.requests.open


def _dispatch(config: CampaignConfig, now: Snapshot, left: int) -> int:
    wanted = min(now.workers + QUEUE_AHEAD - now.open_triage, left, now.waiting)
    return max(wanted, 0) if _ready(config, now) else 0


def _ready(config: CampaignConfig, now: Snapshot) -> bool:
    patience = min(FIRST_WAIT_S, FIRST_WAIT_SHARE * config.budget.wall_time.total_seconds())
    return (
        now.used_jobs > 0  # the campaign is past its start
        or now.waiting >= config.acquisition.pool
        or now.elapsed_s >= patience
        or _exhausted(now)
    )


def _exhausted(now: Snapshot) -> bool:
    return now.requests.barren >= BARREN_REQUESTS


def _generate(config: CampaignConfig, now: Snapshot, left: int) -> tuple[bool, ...]:
    if left <= 0 or _exhausted(now):
        return ()
    decided: list[bool] = []
    open_now = now.requests.open
    requests = now.requests
    while open_now < MOST_OPEN_REQUESTS:
        asked = Requests(requests.made, open_now, requests.barren, requests.regrown)
        ahead = Snapshot(now.state, now.elapsed_s, now.workers, requests=asked, proposals=now.proposals)
        if now.waiting + expected(config, ahead) >= config.acquisition.pool:
            break
        decided.append(now.parents > 0 and _regrow_next(config, requests.made, requests.regrown))
        requests = Requests(requests.made + 1, open_now + 1, requests.barren, requests.regrown + decided[-1])
        open_now += 1
    return tuple(decided)


def _regrow_next(config: CampaignConfig, made: int, regrown: int) -> bool:
    """Whether a regrowing request brings the share of such requests nearer to the wanted one."""
    return regrown < config.exploration.regrown_share * (made + 1) - 0.5

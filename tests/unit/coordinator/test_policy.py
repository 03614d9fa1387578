"""Steering decisions: budgets, stop rules, pause, and what is asked for when."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapsmith.coordinator.policy import (
    BARREN_REQUESTS,
    FIRST_WAIT_S,
    MOST_OPEN_REQUESTS,
    QUEUE_AHEAD,
    Decisions,
    Proposals,
    Requests,
    Snapshot,
    decide,
    expected,
)
from gapsmith.core.campaign import CampaignConfig, parse_campaign
from gapsmith.core.lifecycle import CampaignState
from gapsmith.core.reasons import Reason, ReasonCode

WORKERS = 2


def campaign(**sections: Any) -> CampaignConfig:
    """A campaign with some sections changed."""
    raw: dict[str, Any] = {
        "name": "test",
        "target": {"value": 4.0},
        "budget": {"dft_jobs": 6, "wall_time": "1h"},
        "acquisition": {"pool": 10},
        "exploration": {"batch": 20},
        "retraining": {"every_labels": 3},
    }
    for name, section in sections.items():
        raw[name] = {**raw.get(name, {}), **section}
    return parse_campaign(raw)


def snapshot(**fields: Any) -> Snapshot:
    """A running campaign's snapshot."""
    return Snapshot(**{"state": CampaignState.RUNNING, "elapsed_s": 1.0, "workers": WORKERS, **fields})


@pytest.mark.parametrize(("data", "trainings", "train"), [((), 0, False), (("ours",), 0, True), (("ours",), 1, False)])
def test_imported_data_is_learned_once_before_there_are_labels(
    data: tuple[str, ...], trainings: int, train: bool
) -> None:
    config = campaign().model_copy(update={"data": data})
    assert decide(config, snapshot(trainings=trainings)).train is train


def test_a_new_campaign_asks_for_molecules_and_nothing_else() -> None:
    decisions = decide(campaign(), snapshot())
    assert decisions.generate
    assert not any(decisions.generate)  # nothing to regrow yet
    assert decisions == Decisions(generate=decisions.generate)


def test_dft_waits_for_the_pool_and_then_keeps_the_queue_one_ahead_of_the_workers() -> None:
    config = campaign()
    assert decide(config, snapshot(waiting=9)).dispatch == 0
    assert decide(config, snapshot(waiting=10)).dispatch == WORKERS + QUEUE_AHEAD
    assert decide(config, snapshot(waiting=7, open_triage=2, used_jobs=4)).dispatch == 1
    assert decide(config, snapshot(waiting=7, open_triage=3, used_jobs=4)).dispatch == 0


@pytest.mark.parametrize(
    "late",
    [{"elapsed_s": FIRST_WAIT_S}, {"requests": Requests(made=BARREN_REQUESTS, barren=BARREN_REQUESTS)}],
    ids=["time", "nothing more comes"],
)
def test_dft_starts_with_what_there_is_when_the_pool_does_not_fill(late: dict[str, Any]) -> None:
    assert decide(campaign(), snapshot(waiting=2, **late)).dispatch == 2


def test_a_short_campaign_waits_for_a_share_of_its_time_only() -> None:
    config = campaign(budget={"wall_time": "100s"})
    assert decide(config, snapshot(waiting=2, elapsed_s=14.0)).dispatch == 0
    assert decide(config, snapshot(waiting=2, elapsed_s=15.0)).dispatch == 2


def test_generation_stops_when_enough_is_on_its_way_and_when_the_budget_is_spent() -> None:
    config = campaign(acquisition={"pool": 100}, budget={"dft_jobs": 6})
    assert len(decide(config, snapshot()).generate) == MOST_OPEN_REQUESTS
    assert decide(config, snapshot(requests=Requests(made=3, open=3))).generate == ()
    assert decide(config, snapshot(proposals=Proposals(unjudged=160))).generate == ()  # 70 % of them are expected
    assert decide(config, snapshot(used_jobs=6, open_triage=1)).generate == ()


def test_the_share_of_usable_molecules_is_learnt() -> None:
    config = campaign()
    asked = Requests(made=6, open=1)
    rich = snapshot(requests=asked, proposals=Proposals(sampled=10_000, judged=9_000, usable=9_000))
    poor = snapshot(requests=asked, proposals=Proposals(sampled=10_000, judged=9_000, usable=10))
    assert expected(config, rich) == pytest.approx(0.9 * config.exploration.batch, rel=0.01)
    assert expected(config, poor) < 0.1


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_share_of_regrowing_requests_is_kept(share: float) -> None:
    config = campaign(exploration={"regrown_share": share})
    requests = Requests()
    for _ in range(40):
        regrow = decide(config, snapshot(parents=5, requests=requests)).generate[0]
        requests = replace(requests, made=requests.made + 1, regrown=requests.regrown + regrow)
    assert requests.regrown == pytest.approx(40 * share, abs=1)


def test_certificates_are_asked_for_hits_only_where_wanted() -> None:
    hit = snapshot(labels=1, hits=1, used_jobs=1, uncertified_hits=1)
    assert decide(campaign(), hit).certify
    assert not decide(campaign(dft={"certify": False}), hit).certify
    assert not decide(campaign(), replace(hit, uncertified_hits=0)).certify


@pytest.mark.parametrize(
    ("fields", "trains"),
    [
        ({"labels": 2}, False),
        ({"labels": 3}, True),
        ({"labels": 3, "open_trainings": 1}, False),
        ({"labels": 5, "trained_labels": 3}, False),
        ({"labels": 5, "trained_labels": 2}, True),
        ({"labels": 6, "used_jobs": 6, "open_triage": 1}, False),  # nothing is left to choose
    ],
)
def test_training_follows_new_labels(fields: dict[str, int], trains: bool) -> None:
    assert decide(campaign(), snapshot(**fields)).train is trains
    assert not decide(campaign(retraining={"enabled": False}), snapshot(**fields)).train


@pytest.mark.parametrize(
    ("fields", "trains"),
    [
        ({"labels": 9, "trained_labels": 5, "drift": 2.1}, True),
        ({"labels": 9, "trained_labels": 5, "drift": 1.9}, False),
        ({"labels": 8, "trained_labels": 5, "drift": 9.0}, False),  # three errors say little
        ({"labels": 9, "trained_labels": 5, "drift": 9.0, "open_trainings": 1}, False),
        ({"labels": 6, "trained_labels": 5, "since_training_s": 601.0}, True),
        ({"labels": 6, "trained_labels": 5, "since_training_s": 599.0}, False),
        ({"labels": 5, "trained_labels": 5, "since_training_s": 601.0}, False),  # nothing new to learn
    ],
)
def test_training_follows_drift_and_time(fields: dict[str, Any], trains: bool) -> None:
    policy = {"every_labels": 100, "drift": 2.0, "every": "10m"}
    assert decide(campaign(budget={"dft_jobs": 100}, retraining=policy), snapshot(**fields)).train is trains
    without = {"every_labels": 100}
    assert not decide(campaign(budget={"dft_jobs": 100}, retraining=without), snapshot(**fields)).train


@pytest.mark.parametrize(
    ("sections", "fields", "reason"),
    [
        ({}, {"used_jobs": 6, "labels": 6}, Reason(ReasonCode.DFT_BUDGET, "the budget of 6 DFT jobs is spent")),
        ({}, {"elapsed_s": 3600.0, "open_triage": 2}, Reason(ReasonCode.WALL_TIME, "the wall time of 60 min is over")),
        (
            {"budget": {"wanted_hits": 2}},
            {"certified_hits": 2, "hits": 3, "open_triage": 2},
            Reason(ReasonCode.HITS_FOUND, "2 of 2 wanted certified hits were found"),
        ),
        (
            {"budget": {"wanted_hits": 2}, "dft": {"certify": False}},
            {"hits": 2},
            Reason(ReasonCode.HITS_FOUND, "2 of 2 wanted hits were found"),
        ),
        (
            {},
            {"requests": Requests(made=12, barren=10)},
            Reason(ReasonCode.NOTHING_MORE_FOUND, "nothing more was found: 10 requests in a row"),
        ),
    ],
    ids=["budget", "time", "certified hits", "hits", "exhausted"],
)
def test_stop_rules(sections: dict[str, Any], fields: dict[str, Any], reason: Reason) -> None:
    stop = decide(campaign(**sections), snapshot(**fields)).stop
    assert stop is not None
    assert stop.code is reason.code
    assert stop.text.startswith(reason.text)


@pytest.mark.parametrize(
    ("sections", "fields"),
    [
        ({}, {"used_jobs": 6, "open_triage": 1}),
        ({}, {"used_jobs": 6, "open_certificates": 1}),
        ({}, {"used_jobs": 6, "uncertified_hits": 1}),
        ({"budget": {"wanted_hits": 2}}, {"hits": 2, "labels": 2, "used_jobs": 2}),  # not certified yet
        ({}, {"requests": Requests(made=12, open=1, barren=10)}),
        ({}, {"requests": Requests(made=12, barren=10), "proposals": Proposals(unjudged=3)}),
        ({}, {"requests": Requests(made=12, barren=10), "waiting": 1}),
    ],
)
def test_a_campaign_goes_on_while_something_is_open(sections: dict[str, Any], fields: dict[str, Any]) -> None:
    assert decide(campaign(**sections), snapshot(**fields)).stop is None


@pytest.mark.parametrize("state", [state for state in CampaignState if state is not CampaignState.RUNNING])
def test_nothing_is_decided_unless_the_campaign_runs(state: CampaignState) -> None:
    busy = snapshot(state=state, waiting=50, labels=9, used_jobs=5, uncertified_hits=2, elapsed_s=1e9)
    assert decide(campaign(), busy) == Decisions()


class World:
    """A campaign in which anything may happen next: the decisions are carried out on counters."""

    def __init__(self, config: CampaignConfig) -> None:
        self.config = config
        self.now = snapshot()
        self.stopped: str | None = None

    def steer(self) -> None:
        """Decide, and carry it out."""
        decisions = decide(self.config, self.now)
        if decisions.stop:
            self.stopped = decisions.stop.text
            self.now = replace(self.now, state=CampaignState.FINISHED)
        now, asked = self.now, self.now.requests
        count = len(decisions.generate)
        self.now = replace(
            now,
            waiting=now.waiting - decisions.dispatch,
            open_triage=now.open_triage + decisions.dispatch,
            used_jobs=now.used_jobs + decisions.dispatch,
            open_certificates=now.open_certificates + (now.uncertified_hits if decisions.certify else 0),
            uncertified_hits=0 if decisions.certify else now.uncertified_hits,
            trained_labels=now.labels if decisions.train else now.trained_labels,
            open_trainings=now.open_trainings + decisions.train,
            requests=replace(asked, made=asked.made + count, open=asked.open + count),
        )

    def happen(self, event: str, amount: int) -> None:
        """One thing happens, if it can."""
        now = self.now
        if event == "scored" and now.requests.open:
            asked = replace(now.requests, open=now.requests.open - 1, barren=0 if amount else now.requests.barren + 1)
            self.now = replace(now, waiting=now.waiting + amount, requests=asked, parents=now.parents + amount)
        elif event in ("labelled", "hit", "failed") and now.open_triage:
            hit, labelled = event == "hit", event != "failed"
            self.now = replace(
                now,
                open_triage=now.open_triage - 1,
                labels=now.labels + labelled,
                hits=now.hits + hit,
                uncertified_hits=now.uncertified_hits + hit,
            )
        elif event == "withdrawn" and now.open_triage:
            self.now = replace(
                now, open_triage=now.open_triage - 1, used_jobs=now.used_jobs - 1, waiting=now.waiting + 1
            )
        elif event == "certified" and now.open_certificates:
            self.now = replace(
                now, open_certificates=now.open_certificates - 1, certified_hits=now.certified_hits + amount % 2
            )
        elif event == "trained" and now.open_trainings:
            self.now = replace(now, open_trainings=0)
        elif event == "time":
            self.now = replace(now, elapsed_s=now.elapsed_s + 60.0 * amount)


events = st.tuples(
    st.sampled_from(["scored", "labelled", "hit", "failed", "withdrawn", "certified", "trained", "time"]),
    st.integers(0, 12),
)


@given(history=st.lists(events, max_size=120), jobs=st.integers(1, 12), wanted=st.none() | st.integers(1, 4))
def test_no_history_exceeds_the_budget_or_floods_the_queue(
    history: list[tuple[str, int]], jobs: int, wanted: int | None
) -> None:
    world = World(campaign(budget={"dft_jobs": jobs, "wanted_hits": wanted}))
    world.steer()
    for event, amount in history:
        world.happen(event, amount)
        world.steer()
        assert world.now.used_jobs <= jobs
        assert world.now.open_triage <= WORKERS + QUEUE_AHEAD
        assert world.now.waiting >= 0
        assert world.now.requests.open <= MOST_OPEN_REQUESTS
        assert world.now.open_trainings <= 1
        if world.stopped:
            frozen = world.now
            world.steer()
            assert world.now == frozen  # nothing new after the end
            return


@given(
    amounts=st.lists(st.integers(0, 12), min_size=60, max_size=60),
    kinds=st.lists(st.booleans(), min_size=60, max_size=60),
)
def test_every_campaign_whose_work_gets_done_ends_by_itself(amounts: list[int], kinds: list[bool]) -> None:
    world = World(campaign())
    world.steer()
    for amount, hit in zip(amounts, kinds, strict=True):
        for event in ("scored", "scored", "scored", "hit" if hit else "failed", "certified", "trained", "time"):
            world.happen(event, amount)
            world.steer()
    assert world.stopped is not None

"""States and their transitions, and what a hit is."""

from enum import StrEnum

import pytest

from gapsmith.core.lifecycle import TRANSITIONS, CandidateState, Outcome


@pytest.mark.parametrize(
    ("by_label", "by_certificate", "outcome"),
    [
        (True, None, Outcome.HIT_BY_LABEL),
        (False, None, None),
        (True, True, Outcome.HIT_BY_CERTIFICATE),
        (False, True, Outcome.HIT_BY_CERTIFICATE),
        (True, False, Outcome.MISSED),
        (False, False, None),
    ],
)
def test_the_certificate_counts_if_there_is_one_else_the_label(
    by_label: bool, by_certificate: bool | None, outcome: Outcome | None
) -> None:
    assert Outcome.of(by_label, by_certificate) == outcome


def test_what_is_missed_is_not_a_hit() -> None:
    assert [one for one in Outcome if one.hit] == [Outcome.HIT_BY_LABEL, Outcome.HIT_BY_CERTIFICATE]


def test_every_candidate_that_is_proposed_can_reach_every_other_state() -> None:
    reached: set[StrEnum] = set()
    new: set[StrEnum] = {CandidateState.PROPOSED}
    while new:
        reached |= new
        new = {after for state in new for after in TRANSITIONS["candidates"].get(state, ())} - reached
    assert reached == set(CandidateState)


def test_a_calculation_that_is_done_stays_so() -> None:
    for table in ("calculations", "tasks"):
        assert "done" not in TRANSITIONS[table]

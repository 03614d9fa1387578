"""States and their transitions, windows as written, and what a hit is."""

from decimal import Decimal
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapsmith.core.domain import Window
from gapsmith.core.lifecycle import TRANSITIONS, CandidateState, Outcome


@pytest.mark.parametrize(
    ("value", "tolerance", "low", "high"),
    [
        (4.1, 0.1, 4.0, 4.2),
        (0.3, 0.2, 0.1, 0.5),
        (7.2, 0.15, 7.05, 7.35),
        (4, 0.1, 3.9, 4.1),
        (5.0, 1e-5, 4.99999, 5.00001),
    ],
)
def test_a_window_ends_where_its_decimal_numbers_say(value: float, tolerance: float, low: float, high: float) -> None:
    window = Window(value, tolerance)
    assert (window.low, window.high) == (low, high)
    assert window.holds(low)
    assert window.holds(high)


places = st.integers(1, 30_000_000).map(lambda n: Decimal(n) / 10**6)


@given(places, places, places)
def test_a_gap_of_six_decimal_places_is_inside_as_the_decimal_numbers_are(
    value: Decimal, tolerance: Decimal, gap: Decimal
) -> None:
    window = Window(float(value), float(tolerance))
    assert window.holds(float(gap)) == (value - tolerance <= gap <= value + tolerance)
    assert window.holds(float(value + tolerance))


@pytest.mark.parametrize(
    ("label", "certificate", "outcome"),
    [
        (4.0, None, Outcome.HIT_BY_LABEL),
        (4.2, None, Outcome.HIT_BY_LABEL),
        (4.21, None, None),
        (None, None, None),
        (4.1, 4.2, Outcome.HIT_BY_CERTIFICATE),
        (4.5, 4.0, Outcome.HIT_BY_CERTIFICATE),
        (4.1, 3.99, Outcome.MISSED),
        (4.5, 4.6, None),
    ],
)
def test_the_certificate_counts_if_there_is_one_else_the_label(
    label: float | None, certificate: float | None, outcome: Outcome | None
) -> None:
    assert Outcome.of(Window(4.1, 0.1), label, certificate) == outcome


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

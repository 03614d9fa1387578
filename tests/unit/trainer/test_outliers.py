"""Which labels are set aside: nonsense, never the merely surprising."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapsmith.trainer.outliers import LEAST, outliers

usual = st.lists(st.floats(0, 0.6), min_size=5, max_size=40)


@given(errors=usual, nonsense=st.floats(10, 1e6), place=st.integers(0, 4))
def test_nonsense_is_found_wherever_it_stands(errors: list[float], nonsense: float, place: int) -> None:
    assert outliers([*errors[:place], nonsense, *errors[place:]]) == [place]


@given(errors=st.lists(st.floats(0, LEAST), min_size=1, max_size=40))
def test_errors_that_a_model_may_make_are_kept(errors: list[float]) -> None:
    assert outliers(errors) == []


@given(errors=st.lists(st.floats(0, 1e3), min_size=2, max_size=40))
def test_most_labels_are_kept_whatever_they_are(errors: list[float]) -> None:
    assert len(outliers(errors)) <= len(errors) // 2


def test_a_model_that_knows_nothing_does_not_throw_its_teachers_out() -> None:
    spread = np.random.default_rng(0).normal(3.0, 1.5, 30)
    assert outliers(np.abs(spread).tolist()) == []


@pytest.mark.parametrize("error", [float("nan"), float("inf")])
def test_errors_that_are_no_numbers(error: float) -> None:
    assert outliers([0.1, error, 0.2]) == [1]
    assert outliers([error]) == [0]
    assert outliers([]) == []

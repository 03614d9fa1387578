"""The query model and its SQL, without a server."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gapsmith.core.domain import CandidateState
from gapsmith.core.errors import InputError
from gapsmith.store.query import CandidateQuery, Range, compose

numbers = st.floats(-100, 100)


@settings(deadline=None)
@given(numbers, numbers)
def test_ranges_are_read_as_they_are_written(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert Range.parse(f"{low}:{high}", "gap") == Range(low=low, high=high)
    assert Range.parse(f" {low} : ", "gap") == Range(low=low)
    assert Range.parse(f":{high}", "gap") == Range(high=high)


@pytest.mark.parametrize("text", ["", ":", "4", "4.1:3.9", "a:b", "3:4:5", "nan:4", ":inf", "3,9:4,1", "3-4"])
def test_what_is_no_range_is_refused_with_field_and_value(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Range.parse(text, "--gap")
    assert str(caught.value).startswith(f"--gap: {text!r} is no range")
    assert "3.9:4.1" in str(caught.value)


def test_values_never_become_part_of_the_statement() -> None:
    hostile = "x'; DROP TABLE candidates; --"
    statement, parameters = compose(
        CandidateQuery(campaign=hostile, gap_ev=Range(low=3.9, high=4.1), states=(CandidateState.FAILED,), limit=5)
    )
    text = statement.as_string(None)
    assert hostile not in text
    assert "3.9" not in text
    assert parameters == {"campaign": hostile, "gap_ev_low": 3.9, "gap_ev_high": 4.1, "states": ["failed"], "limit": 5}
    assert all(f"%({name})s" in text for name in parameters)


def test_the_limit_comes_after_the_substructure() -> None:
    _, parameters = compose(CandidateQuery(smarts="C=O", limit=5))
    assert "limit" not in parameters


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"sort": "colour"}, {"states": ["happy"]}, {"colour": "red"}])
def test_a_wrong_query_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CandidateQuery.model_validate(wrong)


def test_asking_the_database_needs_no_heavy_library() -> None:
    heavy = "{'torch', 'rdkit', 'numpy', 'pyarrow'}"
    check = f"import sys, gapsmith.store.query, gapsmith.cli.query; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"

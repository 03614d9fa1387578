"""The query model and its SQL, without a server."""

import base64
import contextlib
import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gapsmith.core.errors import InputError
from gapsmith.core.lifecycle import CandidateState
from gapsmith.store.query import CandidateQuery, Range, parse_sort, parse_states
from gapsmith.store.query_cursor import Position
from gapsmith.store.query_search import conditions

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
    query = CandidateQuery(
        campaign=hostile, ranges={"gap_ev": Range(low=3.9, high=4.1)}, states=(CandidateState.FAILED,)
    )
    parts, values = conditions(query)
    text = " AND ".join(parts)
    assert hostile not in text
    assert "3.9" not in text
    assert values == {"gap_ev_low": 3.9, "gap_ev_high": 4.1}  # campaign and states are looked up
    assert all(f"%({name})s" in text for name in (*values, "campaign_id"))


@pytest.mark.parametrize(
    ("low", "high", "kept"), [(2.5, 4.5, (3, 4)), (3, 4, (3, 4)), (-1e300, 1e300, (-1_000_000, 1_000_000))]
)
def test_ends_of_whole_numbers_are_whole(low: float, high: float, kept: tuple[int, int]) -> None:
    _, values = conditions(CandidateQuery(ranges={"heavy_atoms": Range(low=low, high=high)}))
    assert (values["heavy_atoms_low"], values["heavy_atoms_high"]) == kept
    assert all(isinstance(value, int) for value in values.values())


@pytest.mark.parametrize(
    ("text", "states", "hits"),
    [
        (None, set(CandidateState) - {CandidateState.REJECTED}, False),
        ("all", set(), False),
        ("hit", {CandidateState.LABELLED, CandidateState.CERTIFIED}, True),
        ("Failed, scored", {CandidateState.FAILED, CandidateState.SCORED}, False),
        ("labelled", {CandidateState.LABELLED, CandidateState.CERTIFIED}, False),
    ],
)
def test_states_are_read(text: str | None, states: set[CandidateState], hits: bool) -> None:
    found, only_hits = parse_states(text, "state")
    assert (set(found), only_hits) == (states, hits)


def test_the_order_is_by_similarity_where_one_is_asked_for() -> None:
    assert CandidateQuery().order == ("created", False)
    assert CandidateQuery(similar_to="CC").order == ("similarity", True)
    assert CandidateQuery(similar_to="CC", sort="gap").order == ("gap", False)
    assert "similarity" in CandidateQuery(similar_to="CC").columns
    assert "similarity" not in CandidateQuery().columns


positions = st.one_of(
    st.builds(Position, st.sampled_from([0, 1])),
    st.builds(Position, st.just(0), st.floats(-1e9, 1e9), st.uuids()),
    st.builds(Position, st.just(1), st.datetimes(timezones=st.just(UTC)), st.uuids()),
)


@given(positions)
def test_a_cursor_is_read_as_it_was_written(position: Position) -> None:
    assert Position.parse(position.text("abc"), "abc", dated=(False, True)) == position
    with pytest.raises(InputError, match="cursor"):
        Position.parse(position.text("abc"), "abd", dated=(False, True))


@given(st.text())
def test_any_other_text_is_no_cursor(text: str) -> None:
    with pytest.raises(InputError, match="cursor"):
        Position.parse(text, "abc", dated=(False, True))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_nor_is_any_other_content(content: object) -> None:
    for values in (content, ["abc", 0, content, "0" * 32], ["abc", 1, content, "0" * 32], ["abc", 0, 1.0, content]):
        text = base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")
        with contextlib.suppress(InputError):
            found = Position.parse(text, "abc", dated=(False, True))
            assert isinstance(found.key, (float, int, datetime) if found.id else type(None))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fields": ("smile",)}, "fields: 'smile' is not a column; did you mean 'smiles'?"),
        ({"fields": ("smiles", "smiles")}, "fields: a column is named twice"),
        ({"fields": ("similarity",)}, "similarity needs similar_to"),
        ({"sort": "similarity"}, "similarity needs similar_to"),
        ({"sort": "gab"}, "sort: candidates cannot be sorted by 'gab'; did you mean 'gap'?"),
        ({"ranges": {"gap": Range(low=1)}}, "ranges: 'gap' is not a column with a range; did you mean 'gap_ev'?"),
        ({"smarts": "[" * 31}, "more than 30 brackets"),
        ({"similar_to": "C" * 401}, "similar_to: String should have at most 400"),
        ({"min_similarity": 1.5}, "min_similarity: "),
        ({"campaign": "a\0b"}, "campaign: "),
    ],
)
def test_what_cannot_be_asked_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        CandidateQuery.ask(**values)
    assert message in str(caught.value)


def test_sort_is_read_with_its_direction() -> None:
    assert parse_sort("-gap") == ("gap", True)
    assert parse_sort("created") == ("created", False)


def test_a_range_between_ends_names_its_field() -> None:
    assert Range.between(None, None, "gap_ev") is None
    assert Range.between(1.0, None, "gap_ev") == Range(low=1.0)
    with pytest.raises(InputError, match=r"gap_ev: 4\.1:3\.9 runs backwards; the least comes first"):
        Range.between(4.1, 3.9, "gap_ev")


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"sort": "colour"}, {"states": ["happy"]}, {"colour": "red"}])
def test_a_wrong_query_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CandidateQuery.model_validate(wrong)


def test_asking_the_database_needs_no_heavy_library() -> None:
    heavy = "{'torch', 'rdkit', 'numpy', 'pyarrow'}"
    check = f"import sys, gapsmith.store.query, gapsmith.cli.query; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"

"""The one table of columns."""

from pathlib import Path

import pytest

from gapsmith.core import columns

API = Path(__file__).parents[3] / "docs" / "api.md"


def test_the_documentation_says_how_columns_are_listed_and_the_list_has_all() -> None:
    assert "python -m gapsmith.core.columns" in API.read_text()
    listed = columns.markdown().splitlines()[2:]
    assert [line.split("`")[1] for line in listed] == [one.name for one in columns.ALL]


def test_names_and_keys_are_unique_and_carry_the_unit() -> None:
    assert len(columns.BY_NAME) == len(columns.ALL)
    assert len({one.key for one in columns.ALL}) == len(columns.ALL)
    assert all(one.name.endswith(f"_{one.unit.lower()}") for one in columns.ALL if one.unit)
    assert all(one.deviation in columns.BY_NAME for one in columns.ALL if one.deviation)


@pytest.mark.parametrize(
    ("row", "name", "text"),
    [
        ({"predicted_gap_ev": 4.123, "predicted_gap_std_ev": 0.056}, "predicted_gap_ev", "4.12 ± 0.06"),
        ({"gap_ev": 4.1}, "gap_ev", "4.100"),
        ({"gap_ev": None}, "gap_ev", ""),
        ({"in_qm9": False}, "in_qm9", "no"),
        ({"heavy_atoms": 9}, "heavy_atoms", "9"),
    ],
)
def test_values_are_written_for_people(row: dict[str, object], name: str, text: str) -> None:
    assert columns.text(row, columns.BY_NAME[name]) == text

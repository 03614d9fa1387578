"""Windows as written, lists of targets with their units, what a hit is, and targets as text."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapsmith.core.campaign import parse_campaign
from gapsmith.core.errors import InputError
from gapsmith.core.target import Target
from gapsmith.core.wanted import Window, read_text

LIST = [
    {"property": "gap", "between": [2.3, 2.7]},
    {"property": "homo", "below": -5.5},
    {"property": "dipole", "minimise": True, "weight": 0.2},
]


def target(wanted: Any) -> Target:
    return parse_campaign({"name": "a", "target": wanted}).target


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
    window = Window.around(value, tolerance)
    assert (window.low, window.high) == (low, high)
    assert window.holds(low)
    assert window.holds(high)


places = st.integers(1, 30_000_000).map(lambda n: Decimal(n) / 10**6)


@given(places, places, places)
def test_a_gap_of_six_decimal_places_is_inside_as_the_decimal_numbers_are(
    value: Decimal, tolerance: Decimal, gap: Decimal
) -> None:
    window = Window.around(float(value), float(tolerance))
    assert window.holds(float(gap)) == (value - tolerance <= gap <= value + tolerance)
    assert window.holds(float(value + tolerance))


def test_the_short_form_is_a_list_of_one() -> None:
    short = {"property": "homo", "value": -6.1, "tolerance": 0.2}
    assert target(short) == target([short])
    assert target(short).window == Window.around(-6.1, 0.2)


@pytest.mark.parametrize(
    ("values", "hit"),
    [
        ({"gap": 2.5, "homo": -6.0, "dipole": 9.0}, True),
        ({"gap": 2.3, "homo": -5.5}, True),  # ends are included; what ranks hits does not decide
        ({"gap": 2.7, "homo": -5.499}, False),
        ({"gap": 2.29, "homo": -6.0}, False),
        ({"gap": 2.5}, False),  # a value that is not known holds nothing
    ],
)
def test_a_hit_holds_all_windows(values: dict[str, float], hit: bool) -> None:
    assert target(LIST).hit(values) is hit


@given(st.floats(0, 10), st.floats(-12, 0))
def test_the_violation_is_of_the_worst_window_and_its_sign_says_what_a_hit_is(gap: float, homo: float) -> None:
    both, values = target(LIST), {"gap": gap, "homo": homo}
    violation = both.violation(values)
    assert violation == max(both.windows[name].violation(values[name]) for name in values)
    assert (violation <= 0) == (2.3 <= gap <= 2.7 and homo <= -5.5) == both.hit(values)


def test_the_violation_grows_with_the_distance_in_half_widths() -> None:
    window = Window.around(4.0, 0.2)
    assert [round(window.violation(value), 9) for value in (4.0, 3.8, 4.2, 4.4, 3.0)] == [-1, 0, 0, 1, 4]


@pytest.mark.parametrize(
    ("wanted", "low", "high"),
    [
        ({"property": "gap", "value": 500, "tolerance": 20, "unit": "nm"}, 1239.842 / 520, 1239.842 / 480),
        ({"property": "gap", "between": [450, 500], "unit": "nm"}, 1239.842 / 500, 1239.842 / 450),
        ({"property": "gap", "below": 500, "unit": "nm"}, 1239.842 / 500, float("inf")),
        ({"property": "homo", "below": -0.2, "unit": "hartree"}, float("-inf"), -5.442277),
        ({"property": "lumo", "above": 23.0605, "unit": "kcal/mol"}, 1.0, float("inf")),
        ({"property": "dipole", "value": 3000, "tolerance": 100, "unit": "mD"}, 2.9, 3.1),
    ],
)
def test_units_are_converted_to_the_propertys_own(wanted: dict[str, Any], low: float, high: float) -> None:
    window = target(wanted).window
    assert window.low == pytest.approx(low, rel=1e-5)
    assert window.high == pytest.approx(high, rel=1e-5)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({}, ["exactly one of value, between", "nothing is"]),
        ({"value": 4, "below": 5}, ["value and below are given"]),
        ({"below": 5, "tolerance": 0.1}, ["tolerance goes with value"]),
        ({"below": 5, "weight": 2}, ["weight goes with minimise or maximise"]),
        ([], ["at least one window"]),
        ([{"property": "dipole", "minimise": True}], ["at least one window"]),
        ("gap", ["or a list of such"]),
        ({"value": 4, "unit": "debye"}, ["target.unit", "gap is measured in eV or meV", "nm, not in debye"]),
        ({"property": "homo", "below": 500, "unit": "nm"}, ["target.unit", "homo is measured in eV"]),
        ({"value": 0, "tolerance": 1, "unit": "nm"}, ["target.value", "0 nm is not a wavelength"]),
        ({"value": 500, "unit": "nm"}, ["target.tolerance", "missing", "in nm"]),
        ({"value": 4, "unit": "hartree"}, ["target.value", "4 hartree, 108.846 eV, is not a possible gap"]),
        ({"between": [3, 2]}, ["target.between", "[3.0, 2.0] is not a range"]),
        ([{"below": 3}, {"above": 4}], ["gap below 3 eV and gap above 4 eV exclude each other"]),
        (
            [{"between": [2.3, 2.7]}, {"property": "homo", "below": -8}, {"property": "lumo", "above": 1}],
            ["HOMO below -8 eV and LUMO above 1 eV exclude gap between 2.3 and 2.7 eV", "within 9 and"],
        ),
        ([{"value": 4}, {"property": "dipol", "below": 3}], ["target.1.property", "did you mean 'dipole'"]),
        ([{"value": 4}, {"property": "dipole", "blow": 3}], ["target.1.blow", "did you mean 'below'"]),
        ([{"value": 4}] * 13, ["13 things are wanted; at most 12"]),
    ],
)
def test_what_cannot_be_wanted_is_explained_in_one_line(wanted: Any, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        target(wanted)
    assert len(str(caught.value).splitlines()) == 1
    for word in words:
        assert word in str(caught.value)


def test_what_is_said_twice_of_a_property_must_hold_twice() -> None:
    both = target([{"above": 2}, {"below": 3}])
    assert both.windows == {"gap": Window(2.0, 3.0, 0.5)}
    assert both.aims == {"gap_ev": 2.5}


def test_the_aim_is_the_middle_or_a_step_inside_of_a_limit() -> None:
    aims = target(LIST).aims
    assert aims["gap_ev"] == 2.5
    assert -6.5 < aims["homo_ev"] < -5.5
    assert target({"value": 4.1}).aims == {"gap_ev": 4.1}


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("gap 4 ± 0.1 eV", {"property": "gap", "value": 4.0, "tolerance": 0.1, "unit": "eV"}),
        ("gap 4 +- .1", {"property": "gap", "value": 4.0, "tolerance": 0.1}),
        ("HOMO -6.1+/-0.2 eV", {"property": "homo", "value": -6.1, "tolerance": 0.2, "unit": "eV"}),
        ("s1 between 450 and 500 nm", {"property": "s1", "between": [450.0, 500.0], "unit": "nm"}),
        ("gap 2.3 to 2.7", {"property": "gap", "between": [2.3, 2.7]}),
        ("homo<-5.5", {"property": "homo", "below": -5.5}),
        ("lumo above 1e0 eV", {"property": "lumo", "above": 1.0, "unit": "eV"}),
        ("minimize  dipole", {"property": "dipole", "minimise": True}),
        ("maximise gap weight 0.5", {"property": "gap", "maximise": True, "weight": 0.5}),
    ],
)
def test_text_says_the_same_as_a_campaign_file(text: str, raw: dict[str, Any]) -> None:
    assert read_text(text) == raw


@pytest.mark.parametrize("text", ["", "gap", "gap 4", "gap about 4 eV", "below 3", "gap 4 ± 0.1 eV extra"])
def test_other_text_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InputError, match=r"write for example 'gap 4 ± 0\.1 eV'"):
        read_text(text)


def test_every_target_can_be_written_as_text() -> None:
    for wanted in ({"value": 4.0}, {"between": [450, 500], "unit": "nm"}, LIST):
        said = target(wanted)
        assert target([read_text(one.text) for one in said.root]) == said


def test_targets_for_people() -> None:
    assert str(target({"value": 4.0})) == "gap 4 ± 0.1 eV"
    assert str(target(LIST)) == "gap between 2.3 and 2.7 eV, HOMO below -5.5 eV, minimise dipole weight 0.2"
    assert str(target({"below": 500, "unit": "nm"})) == "gap below 500 nm (2.48 eV)"
    assert target({"value": 4.0}).shown({"gap": 4.02, "homo": -6.0}) == "4.02 eV"
    assert (
        target(LIST).shown({"gap": 2.5, "homo": -6.0, "dipole": 1.0}) == "gap 2.50 eV, HOMO -6.00 eV, dipole 1.00 debye"
    )


TWO = [{"value": 4.0}, {"property": "dipole", "minimise": True, "weight": 2}, {"property": "lumo", "maximise": True}]


def test_hits_are_ranked_by_the_weighted_sum_of_the_objectives() -> None:
    ranked = target(TWO)
    little, much = {"gap": 4.0, "dipole": 1.0, "lumo": -1.0}, {"gap": 4.0, "dipole": 4.0, "lumo": -1.0}
    assert ranked.merit(little) - ranked.merit(much) == pytest.approx(2 * 3 / 17.7)
    assert ranked.merit(little | {"lumo": -0.5}) > ranked.merit(little)
    assert ranked.merit({"gap": 4.0}) == float("-inf")
    assert target({"value": 4.0}).merit(little) == 0


def test_the_front_has_what_no_other_hit_dominates() -> None:
    values = [(1.0, -1.0), (2.0, 0.0), (2.0, -1.0), (0.5, -2.0), (1.0, -1.0), (3.0, 0.0)]
    hits = [{"dipole": dipole, "lumo": lumo} for dipole, lumo in values]
    assert target(TWO).front([*hits, {"dipole": 0.0}]) == [0, 1, 3, 4]


def test_two_objectives_at_most() -> None:
    with pytest.raises(InputError, match="2 different properties at most"):
        target([*TWO, {"property": "homo", "minimise": True}])
    with pytest.raises(InputError, match="2 different properties at most"):
        target([*TWO[:2], {"property": "dipole", "maximise": True}])

"""What a model knows, and what is refused because it does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_cards import DOMAIN

from gapsmith.core.campaign import parse_campaign
from gapsmith.core.chemistry.elements import SYMBOLS, number_of
from gapsmith.core.errors import InputError
from gapsmith.core.model_domain import ModelDomain, check_campaign, warnings
from gapsmith.training.shipped import roles, shipped_domains

WIDE = ModelDomain((*DOMAIN.elements, "Si", "S"), (1, 20), DOMAIN.properties)
LIVE = {"generator:0": DOMAIN, "surrogate:3": WIDE}


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ([6, 1, 1, 1, 1], None),
        ([6] * 9, None),
        ([16, 15, 15, 6, 1], "it has P, S; the model knows H, C, N, O, F"),
        ([6] * 10 + [1] * 22, "it has 10 atoms other than hydrogen; the model knows molecules of 1 to 9"),
        ([1, 1], "it has 0 atoms other than hydrogen"),
        ([6, 0], "it has atomic number 0"),
        ([6, 300], "it has atomic number 300"),
    ],
)
def test_what_lies_outside_is_named(numbers: list[int], reason: str | None) -> None:
    found = DOMAIN.refusal(numbers)
    assert found == reason or (reason is not None and found is not None and found.startswith(reason))


@given(st.lists(st.lists(st.integers(1, 118), min_size=1, max_size=30), max_size=5))
def test_a_domain_holds_what_it_was_widened_by(molecules: list[list[int]]) -> None:
    wider = DOMAIN.including(molecules)
    assert wider.refusal([6] * 9) is None
    for numbers in molecules:
        if set(numbers) != {1}:
            assert wider.refusal(numbers) is None
    assert ModelDomain.of(wider.as_dict()) == wider
    assert [number_of(symbol) for symbol in wider.elements] == sorted(number_of(symbol) for symbol in wider.elements)


@pytest.mark.parametrize(
    "wrong",
    [{}, [], {"elements": ["C"]}, {**DOMAIN.as_dict(), "elements": []}, {**DOMAIN.as_dict(), "heavy_atoms": [9, 1]},
     {**DOMAIN.as_dict(), "elements": ["Q"]}, {**DOMAIN.as_dict(), "properties": {"gap": {"colour": "blue"}}}],
)  # fmt: skip
def test_anything_else_is_not_a_domain(wrong: object) -> None:
    with pytest.raises(InputError):
        ModelDomain.of(wrong)


@pytest.mark.parametrize(
    ("constraints", "problems"),
    [
        ({}, []),
        ({"elements": ["C", "O"], "heavy_atoms": [2, 9]}, []),
        ({"elements": ["C", "S"]}, ["constraints.elements: generator:0 does not know S; it knows H, C, N, O, F"]),
        (
            {"elements": ["P"], "heavy_atoms": [3, 12]},
            [
                "constraints.elements: generator:0 does not know P",
                "constraints.heavy_atoms: [3, 12] goes beyond what generator:0 knows, 1 to 9 atoms",
                "constraints.elements: surrogate:3 does not know P",
            ],
        ),
    ],
)
def test_a_campaign_stays_within_what_the_live_models_know(constraints: object, problems: list[str]) -> None:
    config = parse_campaign({"name": "a", "target": {"value": 5.0}, "constraints": constraints})
    if not problems:
        check_campaign(config, LIVE)
        return
    with pytest.raises(InputError) as caught:
        check_campaign(config, LIVE)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(problems)
    for line, problem in zip(lines, problems, strict=True):
        assert line.startswith(problem)


def test_a_target_outside_the_training_data_is_a_warning() -> None:
    far, near = ({"name": "a", "target": {"value": value}} for value in (1.0, 10.2))
    (warning,) = warnings(parse_campaign(far), {"surrogate:3": DOMAIN})
    assert "lies outside 3.3 to 10.2 eV, the values that surrogate:3 was trained on" in warning
    assert warnings(parse_campaign(near), {"surrogate:3": DOMAIN}) == []


def test_the_shipped_models_know_qm9() -> None:
    domains = shipped_domains()
    assert tuple(domains) == roles() == ("generator", "surrogate")
    for domain in domains.values():
        assert (domain.elements, domain.heavy_atoms) == (("H", "C", "N", "O", "F"), (1, 9))
        gap = domain.properties["gap"]
        assert (gap.level, gap.unit) == ("B3LYP/6-31G(2df,p)", "eV")
        assert gap.low is not None
        assert gap.high is not None
        assert 2.5 < gap.low < 4.0 < 10.0 < gap.high < 11.5


def test_symbols_and_numbers_are_each_others_inverse() -> None:
    assert [number_of(symbol) for symbol in SYMBOLS[1:]] == list(range(1, 119))
    with pytest.raises(InputError, match="'CL' is not the symbol of an element; did you mean 'Cl'"):
        number_of("CL")

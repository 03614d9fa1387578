"""Patterns that would take for ever or fill the memory: refused by their size, or ended when their time is over."""

import resource
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rdkit import Chem
from sampled import examples

from gapsmith.core.campaign import Constraints
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.chemistry.screening import check_constraints, check_pattern, matching_atoms, screen
from gapsmith.core.chemistry.substructure import Substructure
from gapsmith.core.errors import InputError
from gapsmith.core.patterns import DEEPEST, MOST_ATOMS, MOST_CHARACTERS, MOST_COMPONENTS, fault, smarts_fault
from gapsmith.store.query_model import CandidateQuery

WILDCARDS = ".".join("*" * 14)  # 27 characters, which were compared for 400 s with one molecule
CAGE = (  # C60
    "c12c3c4c5c1c1c6c7c2c2c8c3c3c9c4c4c%10c5c5c1c1c6c6c%11c7c2c2c7c8c3c3c8c9c4c4c9c%10c5c5c1c1c6c6c%11c2c2c7c3c3c8c4c4c9c5c1"
    "c1c6c2c3c41"
)
SLOW = f"{'~'.join('*' * 40)}~[N]"  # within all limits: paths through all of a cage that end at what is not there


@pytest.mark.parametrize(
    "smarts",
    [
        WILDCARDS,
        "C" * (MOST_CHARACTERS + 1),
        "C" * (MOST_ATOMS + 1),
        f"{'C(' * (DEEPEST + 1)}C{')' * (DEEPEST + 1)}",
        f"{'[$(' * 16}C{')]' * 16}",
        "C" * 200_000,  # which cost 170 MB for good
        "C\0C",
        "C\ud800",
    ],
)
def test_a_pattern_that_is_too_large_is_refused_wherever_it_is_written(smarts: str) -> None:
    for refused in (
        lambda: CandidateQuery.ask(smarts=smarts) and Substructure(smarts),
        lambda: check_constraints(Constraints.model_validate({"forbidden_smarts": [smarts]})),
        lambda: check_constraints(Constraints.model_validate({"required_smarts": [smarts]})),
        lambda: check_pattern(smarts, "--keep"),
        lambda: matching_atoms(Chem.MolFromSmiles("CCO"), smarts, "--mask"),
    ):
        started = time.monotonic()
        with pytest.raises((InputError, ValidationError)) as caught:
            refused()
        assert len(str(caught.value)) < 1500
        assert time.monotonic() - started < 30


@pytest.mark.slow
def test_a_comparison_ends_when_its_time_is_over() -> None:
    wanted = Substructure(SLOW)
    started = time.monotonic()
    with pytest.raises(InputError, match=r"smarts: comparing '\*.* takes too long"):
        wanted.matches([CAGE], most=1, least=1, seconds=0.1)
    assert time.monotonic() - started < 60


@pytest.mark.slow
def test_a_campaign_with_a_slow_pattern_refuses_molecules_instead_of_holding_up_the_generator() -> None:
    constraints = Constraints(forbidden_smarts=(SLOW,))
    mol = Chem.MolFromSmiles(CAGE)
    reasons, started = [], time.monotonic()
    for _ in range(20):
        refused = screen(mol, identify(Chem.MolFromSmiles("CCO")), constraints)
        reasons.append(None if refused is None else refused.code)
    assert reasons == ["forbidden_smarts"] * 20
    assert time.monotonic() - started < 120


PIECES = ["*", "C", "[#6]", "a", "~", ".", "(", ")", "1", "2", "[$(", ")]", "[!C", "]", "=", ",", ";", "[H]"]


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_any_pattern_is_answered_or_refused_in_time(smarts: str) -> None:
    started = time.monotonic()
    with suppress(InputError):
        Substructure(smarts).matches([CAGE, "CCO", "c1ccccc1"], most=3, least=3, seconds=0.5)
    assert time.monotonic() - started < 60


@given(st.text(max_size=500))
def test_limits_of_the_text_hold(text: str) -> None:
    if fault(text) is None:
        assert len(text) <= MOST_CHARACTERS
        assert text.isascii()
    if smarts_fault(text) is None:
        assert text.count(".") < MOST_COMPONENTS


def test_patterns_do_not_fill_the_memory() -> None:
    def largest_kb() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = largest_kb()
    for number in range(300):
        with pytest.raises(InputError):
            Substructure("C" * 200_000 + "N" * number)
        Substructure(f"{'C' * 40}[{number}C]")
    assert largest_kb() - before < 30_000

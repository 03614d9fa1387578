"""Recipes as data: what follows from energies, which charge and spin, and what is refused with its place."""

from pathlib import Path

import pytest

from gapsmith.core import recipes
from gapsmith.core.errors import InputError
from gapsmith.core.recipes import Step
from gapsmith.core.units import HARTREE_TO_EV


def test_values_of_the_shipped_ones() -> None:
    ev = 1 / HARTREE_TO_EV
    energies = {
        "neutral": -100 * ev,
        "cation": -91.5 * ev,
        "anion": -99.6 * ev,
        "ground": -100 * ev,
        "triplet": -97 * ev,
    }
    expected = {
        "ip": 8.5,
        "ea": -0.4,
        "ip-adiabatic": 8.5,
        "ea-adiabatic": -0.4,
        "t1-adiabatic": 3.0,
        "oxidation": 8.5 - 4.988,
        "reduction": -0.4 - 4.988,
    }
    found = recipes.load()
    assert {name: one.evaluate(energies) for name, one in found.items()} == pytest.approx(expected)
    assert found["ip-adiabatic"].column == "ip_adiabatic_ev"
    assert found["oxidation"].column == "oxidation_v"


def test_vertical_is_at_and_adiabatic_after_the_molecules_own_geometry() -> None:
    vertical, adiabatic = (recipes.find(name).calculations["cation"] for name in ("ip", "ip-adiabatic"))
    assert (vertical.charge, vertical.at, vertical.start) == (1, "neutral", None)
    assert (adiabatic.charge, adiabatic.at, adiabatic.start) == (1, None, "neutral")
    assert recipes.find("ip").waves == [["neutral"], ["cation"]]


@pytest.mark.parametrize(
    ("charge", "unpaired", "expected"), [(1, 0, 1), (-1, 0, 1), (1, 1, 0), (1, 2, 1), (2, 0, 0), (0, 2, 2), (-3, 1, 0)]
)
def test_as_few_electrons_are_unpaired_as_can_be(charge: int, unpaired: int, expected: int) -> None:
    assert Step(charge=charge).spin(unpaired) == expected
    assert Step(charge=charge, multiplicity=4).spin(unpaired) == 3


def test_a_persons_recipe_and_electrode(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        """recipes:
  hardness: {unit: eV, calculations: {m: {}, p: {charge: 1, at: m}, n: {charge: -1, at: m}}, value: (p + n - 2*m) / 2}
  oxidation:
    unit: V
    electrode: mine
    calculations: {m: {}, free: {}, p: {charge: 1, start: free, level: wide}}
    value: p - m - electrode
electrodes: {mine: {potential_v: 4.5, source: a notebook}}
"""
    )
    mine = recipes.find("hardness", path)
    assert mine.evaluate({"m": 0.0, "p": 0.4, "n": 0.1}) == pytest.approx(0.25 * HARTREE_TO_EV)
    redefined = recipes.find("oxidation", path)
    assert redefined.waves == [["m", "free"], ["p"]]
    assert redefined.evaluate({"m": 0.0, "free": 1.0, "p": 0.0}) == -4.5
    assert "ip" in recipes.load(path)


ONE = "recipes: {a: {unit: eV, calculations: {m: {}, p: %s}, value: %s}}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ONE % ("{charge: 1, at: n}", "p - m"), "calculations: .*p: 'n' does not stand before it"),
        (ONE % ("{charge: 1, at: m, start: m}", "p - m"), "calculations.p: .*at or start, not both"),
        (ONE % ("{chrage: 1}", "p - m"), "calculations.p.chrage: Extra inputs"),
        (ONE % ("{charge: 1}", "p - mm"), "value: 'mm' is not the name of a calculation; did you mean 'm'"),
        (ONE % ("{charge: 1}", "p - electrode"), "'electrode' is not the name of a calculation"),
        (ONE % ("{charge: 1}", "'p - '"), "not an expression of"),
        (ONE % ("{charge: 1}", "p ** m"), "not a sum, a product or a name"),
        (ONE % ("{charge: 1}", "abs(p)"), "not a sum, a product or a name"),
        (
            "recipes: {a: {unit: eV, calculations: {m: {charge: 1}}, value: m}}",
            "the first one is the molecule as it was",
        ),
        ("recipes: {a: {unit: cm, calculations: {m: {}}, value: m}}", "'a': unit: "),
        ("recipes: {a: {unit: V, electrode: shee, calculations: {m: {}}, value: m}}", "'shee'; did you mean 'she'"),
        ("recipes: {a: 3}", "'recipes' must be a mapping"),
        ("recipe: {}", "unknown key 'recipe'"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        recipes.load(path)
    assert str(path) in str(caught.value)


def test_an_unknown_recipe_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="no recipe is called 'oxydation'; did you mean 'oxidation'"):
        recipes.find("oxydation")

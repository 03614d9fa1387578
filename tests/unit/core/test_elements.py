import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from gapsmith.core.chemistry.elements import SYMBOLS, formula


def test_symbols_are_those_of_the_periodic_table() -> None:
    table = Chem.GetPeriodicTable()
    assert [table.GetElementSymbol(number) for number in range(1, 119)] == list(SYMBOLS[1:])


@given(st.lists(st.sampled_from([1, 5, 6, 7, 8, 9, 14, 16, 17, 35, 53]), min_size=1, max_size=40), st.integers(-3, 3))
def test_formulae_are_rdkits(numbers: list[int], charge: int) -> None:
    mol = Chem.RWMol()
    for number in numbers:
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        mol.AddAtom(atom)
    mol.GetAtomWithIdx(0).SetFormalCharge(charge)
    mol.UpdatePropertyCache(strict=False)
    assert formula(numbers, charge) == CalcMolFormula(mol)


@pytest.mark.parametrize(
    ("numbers", "charge", "expected"), [([8, 1, 1], 0, "H2O"), ([26], 2, "Fe+2"), ([6, 8], -1, "CO-")]
)
def test_formulae(numbers: list[int], charge: int, expected: str) -> None:
    assert formula(numbers, charge) == expected

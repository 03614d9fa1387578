"""Matches of required patterns, and which of their atoms may take another substituent."""

import pytest
from rdkit import Chem

from gapsmith.core.campaign import Constraints
from gapsmith.core.chemistry.parts import Part, parts
from gapsmith.core.chemistry.screening import placeable


def found(smiles: str, *patterns: str) -> list[list[Part]]:
    return parts(Chem.AddHs(Chem.MolFromSmiles(smiles)), patterns)


@pytest.mark.parametrize(
    ("smiles", "pattern", "atoms", "closed"),
    [
        ("Cc1ccoc1", "c1ccoc1", (1, 2, 3, 4, 5), ()),
        ("CCN", "[NX3;H2]", (2,), (2,)),
        ("CCN", "[NX3]", (2,), ()),
        ("CCO", "[OX2][H]", (2,), (2,)),
        ("CCO", "[CH3]C", (0, 1), (0,)),
        ("c1cc[nH]c1", "c1cc[nH]c1", (0, 1, 2, 3, 4), (3,)),
        ("c1cc[nH]c1", "[#6]1[#6][#6][#7][#6]1", (0, 1, 2, 3, 4), ()),
    ],
)
def test_atoms_whose_hydrogens_a_pattern_needs_are_closed(
    smiles: str, pattern: str, atoms: tuple[int, ...], closed: tuple[int, ...]
) -> None:
    ((part,),) = found(smiles, pattern)
    assert (part.atoms, part.closed) == (atoms, closed)


def test_each_pattern_has_its_own_matches() -> None:
    alcohol, nitrile = found("OCCC#N", "[OX2H]", "C#N")
    assert [one.atoms for one in alcohol] == [(0,)]
    assert [one.atoms for one in nitrile] == [(3, 4)]
    assert found("CCC", "O") == [[]]


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("[#7]", ("C", "O", "F")),
        ("[N,n]", ("C", "O", "F")),
        ("[O,o,F]", ("C", "N")),
        ("F", ("C", "N", "O")),  # never aromatic
        ("N", ("C", "N", "O", "F")),  # aromatic nitrogen is allowed
        ("[#7;R]", ("C", "N", "O", "F")),
        ("[#7]~[#7]", ("C", "N", "O", "F")),
        ("*", ("C", "N", "O", "F")),  # nothing would be left: every molecule is refused then
    ],
)
def test_elements_that_are_refused_wherever_they_stand_are_not_placed(pattern: str, left: tuple[str, ...]) -> None:
    assert placeable(Constraints(forbidden_smarts=(pattern,)), ("C", "N", "O", "F")) == left

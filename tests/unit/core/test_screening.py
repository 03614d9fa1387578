"""Constraints: which molecules they refuse, and which of them are refused themselves."""

from typing import Any

import pytest
from rdkit import Chem

from gapsmith.core.campaign import Constraints
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.chemistry.screening import check_constraints, matches, matching_atoms, screen
from gapsmith.core.errors import InputError
from gapsmith.core.model_domain import ModelDomain, within


def refusal(smiles: str, *, in_qm9: bool = False, **constraints: object) -> str | None:
    """What the screen says of a molecule."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    refused = screen(mol, identify(mol), Constraints.model_validate(constraints), in_qm9=in_qm9)
    return None if refused is None else refused.code


@pytest.mark.parametrize(
    ("smiles", "constraints", "reason"),
    [
        ("CCO", {}, None),
        ("CCO", {"elements": ["C"]}, "elements"),
        ("CCS", {"elements": ["C", "N", "O", "F"]}, "elements"),
        ("CCS", {}, None),  # what the models know is asked of them
        ("CO", {"heavy_atoms": [3, 9]}, "heavy_atoms"),
        ("CCCCO", {"heavy_atoms": [1, 4]}, "heavy_atoms"),
        ("C1OC2C3NC24CNC134", {"sa_score": 6.0}, "sa_score"),
        ("C1OC2C3NC24CNC134", {"sa_score": 9.0}, None),
        ("CC(=O)OC", {"forbidden_smarts": ["C#N", "C(=O)O"]}, "forbidden_smarts"),
        ("CCC#N", {"required_smarts": ["C#N", "[OX2H]"]}, "required_smarts"),
        ("OCCC#N", {"required_smarts": ["C#N", "[OX2H]"]}, None),
        ("CCN", {"forbidden_smarts": ["[NX3;H2]"]}, "forbidden_smarts"),
        ("CCO", {"required_smarts": ["[OX2][H]"]}, None),  # the pattern's own hydrogen
        ("COC", {"required_smarts": ["[OX2][H]"]}, "required_smarts"),
    ],
)
def test_screen(smiles: str, constraints: dict[str, Any], reason: str | None) -> None:
    assert refusal(smiles, **constraints) == reason


def test_novel_refuses_what_is_known() -> None:
    assert refusal("CCO", in_qm9=True, novel=True) == "known"
    assert refusal("CCO", in_qm9=False, novel=True) is None
    assert refusal("CCO", in_qm9=True, novel=False) is None


def test_degree_in_a_pattern_counts_heavy_neighbours() -> None:
    assert matches(Chem.AddHs(Chem.MolFromSmiles("CCO")), "[OD1]")


@pytest.mark.parametrize("smarts", ["C(", "[Qq]", "", "C1CC"])
@pytest.mark.parametrize("field", ["forbidden_smarts", "required_smarts"])
def test_invalid_smarts_name_field_and_pattern(field: str, smarts: str) -> None:
    with pytest.raises(InputError) as caught:
        check_constraints(Constraints.model_validate({field: [smarts]}))
    assert f"constraints.{field}" in str(caught.value)
    assert repr(smarts) in str(caught.value)


@pytest.mark.parametrize(
    "smarts", ["S", "[#16]", "s1cccc1", "[S,Cl]", "[Br;X1]", "[!#1;!#6;!#7;!#8;!#9]", "[C&O]", "[O,N;S]"]
)
def test_required_pattern_of_a_refused_element_is_contradictory(smarts: str) -> None:
    with pytest.raises(InputError, match="elements"):
        check_constraints(Constraints(required_smarts=(smarts,), elements=("C", "N", "O", "F")))


def test_required_pattern_beyond_what_the_models_know_is_contradictory() -> None:
    known = [ModelDomain(("H", "C", "N", "O"), (1, 9), {}), ModelDomain(("H", "C", "O", "F"), (3, 12), {})]
    allowed = within(Constraints(required_smarts=("C=O",)), known)
    assert (allowed.elements, allowed.heavy_atoms) == (("C", "O"), (3, 9))
    check_constraints(allowed)
    with pytest.raises(InputError, match="elements"):
        check_constraints(within(Constraints(required_smarts=("C#N",)), known))


def test_required_pattern_against_fewer_elements() -> None:
    wanted = {"required_smarts": ["C=O"], "elements": ["C", "N"]}
    with pytest.raises(InputError, match=r"'C=O' needs O, but constraints.elements allows only C, N"):
        check_constraints(Constraints.model_validate(wanted))


def test_required_pattern_larger_than_a_molecule_is_contradictory() -> None:
    with pytest.raises(InputError, match=r"6 atoms other than hydrogen.*at most 5"):
        check_constraints(Constraints.model_validate({"required_smarts": ["c1ccccc1"], "heavy_atoms": [3, 5]}))


@pytest.mark.parametrize(
    "smarts", ["[N,O]", "[!#6]", "[R]", "*", "[$([NX3])]", "a", "[#1]O", "[S,N]", "*~*~*~*~*~*~*~*~*~*~*"]
)
def test_possible_patterns_are_allowed(smarts: str) -> None:
    check_constraints(Constraints.model_validate({"required_smarts": [smarts]}))


@pytest.mark.parametrize(
    ("smarts", "atoms"),
    [
        ("C", [1, 2]),
        ("[CH3]", [2]),
        ("[#6;D1]", [2]),
        ("[H]O", [0]),
        ("O[H]", [0]),
        ("CC", [1, 2]),
        ("N", []),
        ("[H]", []),
    ],
)
def test_matching_atoms_are_heavy_ones_by_their_place_among_hydrogens(smarts: str, atoms: list[int]) -> None:
    ethanol = Chem.AddHs(Chem.MolFromSmiles("OCC"))
    assert matching_atoms(ethanol, smarts) == atoms
    shuffled = Chem.RenumberAtoms(ethanol, [*range(3, 9), 0, 1, 2])  # hydrogens first
    assert matching_atoms(shuffled, smarts) == [atom + 6 for atom in atoms]

"""Distances between sets of molecules, with answers that can be worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import AllChem

from gapsmith.generator.evaluation.distributions import Distributions, total_variation


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=1) == 0
    return mol


def water(length: float, angle: float) -> Chem.Mol:
    mol = embedded("O")
    turn = np.radians(angle)
    for atom, place in enumerate([(0, 0, 0), (length, 0, 0), (length * np.cos(turn), length * np.sin(turn), 0)]):
        mol.GetConformer().SetAtomPosition(atom, [float(x) for x in place])
    return mol


def test_the_same_set_is_at_no_distance() -> None:
    mols = [embedded(smiles) for smiles in ("CCO", "c1ccccc1", "C1CC1")]
    distances = Distributions.of(mols).distances(Distributions.of(mols))
    assert set(vars(distances).values()) == {0.0}


def test_stretching_and_bending_water() -> None:
    reference = Distributions.of([water(0.96, 104.5)])
    stretched = Distributions.of([water(1.01, 104.5)]).distances(reference)
    assert stretched.bond_length_angstrom == pytest.approx(0.05, abs=1e-4)
    assert stretched.bond_angle_degree == pytest.approx(0.0, abs=1e-3)
    bent = Distributions.of([water(0.96, 110.5)]).distances(reference)
    assert bent.bond_length_angstrom == pytest.approx(0.0, abs=1e-5)
    assert bent.bond_angle_degree == pytest.approx(6.0, abs=1e-2)
    assert (bent.element, bent.size, bent.bond_kind) == (0, 0, 0)


def test_kinds_of_bonds_and_rings() -> None:
    found = Distributions.of([embedded(smiles) for smiles in ("c1ccccc1", "C1CC1", "C=C", "C#N")])
    assert {kind: len(values) for kind, values in found.lengths_angstrom.items()} == {
        "C:C": 6, "C-C": 3, "C=C": 1, "C#N": 1, "C-H": 17,
    }  # fmt: skip
    assert found.rings == {6: 1, 3: 1}
    assert found.elements == {6: 12, 1: 17, 7: 1}
    assert found.sizes == {12: 1, 9: 1, 6: 1, 3: 1}
    assert sorted(found.angles_degree) == ["C2", "C3", "C4"]


def test_nothing_in_common() -> None:
    methane, water_ = Distributions.of([embedded("C")]), Distributions.of([embedded("O")])
    distances = methane.distances(water_)
    assert distances.bond_length_angstrom is None
    assert distances.bond_angle_degree is None
    assert distances.bond_kind == 1.0
    assert distances.size == 1.0
    assert distances.element == pytest.approx(0.5 * (abs(4 / 5 - 2 / 3) + 1 / 5 + 1 / 3), abs=1e-4)


def test_known_total_variations() -> None:
    assert total_variation({3: 1, 5: 1}, {3: 2, 5: 2}) == 0.0
    assert total_variation({3: 1}, {5: 1}) == 1.0
    assert total_variation({3: 3, 5: 1}, {3: 1, 5: 3}) == 0.5
    assert total_variation({}, {}) == 0.0
    assert total_variation({}, {3: 1}) == 1.0


@given(*[st.dictionaries(st.integers(3, 9), st.integers(1, 50), min_size=1)] * 3)
def test_total_variation_is_a_distance(a: dict[int, int], b: dict[int, int], c: dict[int, int]) -> None:
    assert total_variation(a, b) == total_variation(b, a)
    assert 0 <= total_variation(a, b) <= 1
    assert total_variation(a, c) <= total_variation(a, b) + total_variation(b, c) + 2e-4  # rounded


def test_a_file_of_them_says_the_same() -> None:
    found = Distributions.of([embedded(smiles) for smiles in ("c1ccccc1", "C1CC1")])
    again = Distributions.from_tensors(found.tensors())
    assert set(vars(again.distances(found)).values()) == {0.0}
    assert again.rings == found.rings

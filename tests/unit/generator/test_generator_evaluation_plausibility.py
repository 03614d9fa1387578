"""PoseBusters on molecules that it must refuse, and the same verdicts as its own."""

from collections.abc import Callable

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from gapsmith.core.chemistry.conversion import from_rdkit, to_rdkit
from gapsmith.core.domain import Molecule
from gapsmith.generator.evaluation.plausibility import ENERGY, bust, internal_energy, verdicts


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=2) == 0
    AllChem.MMFFOptimizeMolecule(mol)
    return mol


def molecule(smiles: str) -> Molecule:
    return from_rdkit(embedded(smiles))


def stretched() -> Molecule:
    """Propanol whose oxygen, with its hydrogen, is 0.8 angstrom too far."""
    one = molecule("CCCO")
    moved = one.coordinates.copy()
    hydrogen = next(a + b - 3 for a, b, _ in one.bonds.tolist() if 3 in (a, b) and 2 not in (a, b))
    direction = moved[3] - moved[2]
    moved[[3, hydrogen]] += 0.8 * direction / np.linalg.norm(direction)
    return Molecule(one.numbers, moved, one.charges, one.bonds)


def bent_ring() -> Molecule:
    """Benzene with one carbon and its hydrogen far out of the plane."""
    mol = embedded("c1ccccc1")
    one = from_rdkit(mol)
    normal = np.linalg.svd(one.coordinates - one.coordinates.mean(0))[2][2]
    moved = one.coordinates.copy()
    moved[[0, 6]] += 0.9 * normal
    return Molecule(one.numbers, moved, one.charges, one.bonds)


def unbonded() -> Molecule:
    one = molecule("CO")
    return Molecule(one.numbers, one.coordinates, one.charges, np.zeros((0, 3), np.int16))


def test_what_is_wrong_is_named_and_counted_over_all_attempts() -> None:
    found = bust([molecule("CCO"), stretched(), bent_ring(), unbonded(), molecule("c1ccncc1")], 10)
    assert found.checked == 5
    assert found.passed == 0.2
    assert found.tests["bond_lengths"] < 1
    assert found.tests["aromatic_ring_flatness"] < 1
    assert found.tests["all_atoms_connected"] == 0.8
    assert found.tests["mol_pred_loaded"] == 1.0


@pytest.mark.parametrize(
    ("make", "failing"), [(stretched, "bond_lengths"), (bent_ring, "aromatic_ring_flatness"), (unbonded, "no_radicals")]
)
def test_the_test_that_fails(make: Callable[[], Molecule], failing: str) -> None:
    (verdict,) = verdicts([make()])
    assert verdict[failing] is False
    assert verdict[ENERGY] is None  # not asked any more


@pytest.mark.slow
def test_a_sample_stands_for_all() -> None:
    molecules = [molecule("CCO")] * 6
    found = bust(molecules, 12, most=2, processes=2)
    assert (found.checked, found.passed) == (2, 0.5)


def test_nothing_passes_nothing() -> None:
    assert bust([], 4).passed == 0.0


@pytest.mark.parametrize("smiles", ["CCO", "c1ccccc1", "CC(=O)N", "C1CC1"])
def test_energy_says_what_the_package_says(smiles: str) -> None:
    from posebusters import check_energy_ratio

    mol = embedded(smiles)
    theirs = check_energy_ratio(mol, 100.0, 50)["results"]
    assert internal_energy(embedded(smiles)) == theirs["energy_ratio_passes"]


def test_an_absurd_energy_fails_here_and_there() -> None:
    from posebusters import check_energy_ratio

    one = molecule("CCCC")
    squeezed = Molecule(one.numbers, one.coordinates * 0.55, one.charges, one.bonds)
    mol = to_rdkit(squeezed)
    theirs = check_energy_ratio(Chem.Mol(mol), 100.0, 50)["results"]["energy_ratio_passes"]
    assert theirs == False  # noqa: E712  a numpy bool
    assert internal_energy(mol) is False

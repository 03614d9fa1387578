"""Skeletons become whole molecules, or are refused for the right reason."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from gapsmith.core.chemistry.conversion import from_rdkit, to_rdkit
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InputError, InvalidMolecule
from gapsmith.generator.molecule import Skeleton, complete, order_matrix


def molecule(smiles: str) -> Molecule:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=7)
    AllChem.MMFFOptimizeMolecule(mol)
    return from_rdkit(mol)


def skeleton(smiles: str) -> Skeleton:
    whole = molecule(smiles)
    return Skeleton.of(whole, np.flatnonzero(whole.numbers != 1), 0)


@pytest.mark.parametrize(
    "smiles", ["C", "O", "C=C", "C#N", "O=C=O", "c1ccccc1", "NC=O", "C[NH2+]CC(=O)[O-]", "FC1CC1O"]
)
def test_hydrogens_come_back_where_valences_want_them(smiles: str) -> None:
    bare = skeleton(smiles)
    bare.parent_atoms[:] = -1
    whole = complete(bare)
    assert identify(to_rdkit(whole)).inchikey == identify(to_rdkit(molecule(smiles))).inchikey
    distance = np.linalg.norm(whole.coordinates[:, None] - whole.coordinates[None], axis=-1)
    bonded = order_matrix(whole) > 0
    hydrogens = whole.numbers == 1
    assert (whole.parent_atoms == -1).all()
    lengths = distance[hydrogens[:, None] & bonded]
    assert ((lengths > 0.85) & (lengths < 1.2)).all()


def test_unchanged_skeleton_keeps_its_hydrogens_to_the_bit() -> None:
    parent = molecule("CC(=O)OC1CC1")
    whole = complete(skeleton("CC(=O)OC1CC1"), parent)
    assert sorted(whole.parent_atoms) == list(range(len(parent)))
    assert (whole.coordinates == parent.coordinates[whole.parent_atoms]).all()
    assert (whole.numbers == parent.numbers[whole.parent_atoms]).all()


def test_hydrogens_are_renewed_where_a_kept_atom_gets_another_bond() -> None:
    parent = molecule("CC")
    grown = Skeleton.of(parent, np.array([0, 1]), 1)
    hydrogen = int(np.flatnonzero(order_matrix(parent)[1][2:])[0]) + 2
    grown.numbers[2] = 8
    grown.coordinates[2] = parent.coordinates[1] + 1.3 * (parent.coordinates[hydrogen] - parent.coordinates[1])
    grown.orders[1, 2] = grown.orders[2, 1] = 1
    whole = complete(grown, parent)
    assert identify(to_rdkit(whole)).smiles == "CCO"
    carrier = order_matrix(whole)[0] > 0
    assert (whole.parent_atoms[np.flatnonzero(carrier & (whole.numbers == 1))] >= 0).all()  # of the far carbon: kept
    renewed = np.flatnonzero((order_matrix(whole)[1] > 0) & (whole.numbers == 1))
    assert len(renewed) == 2
    assert (whole.parent_atoms[renewed] == -1).all()


def change(smiles: str, **changes: tuple[Any, Any]) -> Skeleton:
    base = skeleton(smiles)
    for name, (place, value) in changes.items():
        getattr(base, name)[place] = value
    return base


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda: change("CO", orders=(slice(None), np.array([[0, 3], [3, 0]]))), "valence"),
        (lambda: change("CCO", orders=(slice(None), 0)), "fragments"),
        (lambda: change("CN", charges=(1, 1)), "charge"),
        (lambda: change("CC", coordinates=(slice(None), np.array([[0.0, 0, 0], [0.4, 0, 0]]))), "geometry"),
        (lambda: change("CC", coordinates=(slice(None), np.array([[0.0, 0, 0], [3.4, 0, 0]]))), "geometry"),
        (lambda: change("CC", coordinates=((0, 0), np.nan)), "geometry"),
    ],
)
def test_what_is_no_molecule_is_refused(broken: Callable[[], Skeleton], reason: str) -> None:
    with pytest.raises(InvalidMolecule) as refusal:
        complete(broken())
    assert refusal.value.reason == reason


def test_parent_without_bonds_is_refused() -> None:
    bare = Molecule(
        np.array([6, 8], dtype=np.uint8), np.zeros((2, 3)), np.zeros(2, np.int8), np.zeros((0, 3), np.int16)
    )
    with pytest.raises(InputError, match="perceive"):
        order_matrix(bare)

"""Bonds out of geometries."""

import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import AllChem

from gapsmith.core.chemistry.conversion import from_rdkit, to_rdkit
from gapsmith.core.chemistry.geometry import bond_graph, same_connectivity
from gapsmith.core.chemistry.identity import identify
from gapsmith.core.chemistry.perception import perceive_bonds
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InvalidMolecule

SMILES = [
    "C",
    "N#N",
    "CC#N",
    "c1ccncc1",
    "C1CC1",
    "O=C=O",
    "CN(C)C=O",
    "C[N+](=O)[O-]",
    "[C-]#[O+]",
    "C1=COC=C1",
    "FC1(F)CO1",
]


def molecule(smiles: str) -> Molecule:
    """A molecule with a force-field geometry."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=11) == 0
    AllChem.UFFOptimizeMolecule(mol)
    return from_rdkit(mol)


def rotation(seed: int) -> np.ndarray:
    """A random orthogonal matrix, (3, 3)."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]


@pytest.mark.parametrize("smiles", SMILES)
def test_finds_the_molecule_of_a_geometry(smiles: str) -> None:
    original = molecule(smiles)
    found = perceive_bonds(original.numbers, original.coordinates)
    assert identify(to_rdkit(found)).inchikey == identify(to_rdkit(original)).inchikey
    assert same_connectivity(original, found.coordinates)


def test_perceives_an_ion_of_the_given_charge() -> None:
    ammonium = Chem.AddHs(Chem.MolFromSmiles("[NH4+]"))
    AllChem.EmbedMolecule(ammonium, randomSeed=1)
    found = perceive_bonds(np.array([7, 1, 1, 1, 1]), ammonium.GetConformer().GetPositions(), charge=1)
    assert found.charges.tolist() == [1, 0, 0, 0, 0]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(SMILES), st.integers(0, 1000))
def test_bond_graph_ignores_pose_and_follows_the_order_of_atoms(smiles: str, seed: int) -> None:
    original = molecule(smiles)
    moved = original.coordinates @ rotation(seed) + seed
    order = np.random.default_rng(seed).permutation(len(original))
    graph = bond_graph(original.numbers, original.coordinates)
    assert np.array_equal(bond_graph(original.numbers[order], moved[order]), graph[np.ix_(order, order)])
    assert graph.sum() == 2 * len(original.bonds)


def test_a_crowded_cage_does_not_get_bonds_across() -> None:
    cage = molecule("C1C2CC1C2")  # bicyclo[1.1.1]pentane: the bridgeheads are 1.9 angstrom apart
    bridge = cage.coordinates[cage.numbers == 6]
    shortest = np.sort(np.linalg.norm(bridge[:, None] - bridge[None], axis=-1)[np.triu_indices(5, 1)])
    assert shortest[6] < 2.1
    assert bond_graph(cage.numbers, cage.coordinates).sum() == 2 * len(cage.bonds)


def test_a_broken_bond_and_a_formed_bond_are_noticed() -> None:
    ethane, propane = molecule("CC"), molecule("CCC")
    methyl = [0, *np.flatnonzero(bond_graph(ethane.numbers, ethane.coordinates)[0] & (ethane.numbers == 1))]
    stretch = np.zeros_like(ethane.coordinates)
    stretch[methyl] = ethane.coordinates[0] - ethane.coordinates[1]
    assert same_connectivity(ethane, ethane.coordinates + 0.2 * stretch)  # 1.85 angstrom: long, not broken
    assert not same_connectivity(ethane, ethane.coordinates + 0.4 * stretch)
    closed = propane.coordinates.copy()
    closed[2] = closed[0] + (closed[2] - closed[0]) * 0.6
    assert not same_connectivity(propane, closed)


def test_a_moved_hydrogen_is_another_molecule() -> None:
    methanol = molecule("CO")
    transferred = methanol.coordinates.copy()
    hydrogen = int(np.argmax(bond_graph(methanol.numbers, methanol.coordinates)[1] & (methanol.numbers == 1)))
    transferred[hydrogen] = 2 * methanol.coordinates[0] - methanol.coordinates[1]
    assert not same_connectivity(methanol, transferred)


def test_unusable_geometries_after_relaxation_are_not_the_molecule() -> None:
    water = molecule("O")
    assert not same_connectivity(water, water.coordinates[:2])
    assert not same_connectivity(water, np.full((3, 3), np.nan))


@pytest.mark.parametrize(
    ("numbers", "coordinates", "reason"),
    [
        ([], np.zeros((0, 3)), "empty"),
        ([1, 1], [[0, 0, 0], [0, 0, 5.0]], "fragments"),
        ([6] * 40, np.random.default_rng(0).normal(size=(40, 3)), "valence"),
        ([1, 1, 1], [[0, 0, 0.0], [0, 0, 0.7], [0, 0, 1.4]], "fragments"),
        ([6, 1, 1, 1], [[0, 0, 0], [1.08, 0, 0], [-0.54, 0.935, 0], [-0.54, -0.935, 0]], "bonds"),  # methyl radical
        ([6, 6], [[0, 0, 0], [0, 0, np.nan]], "geometry"),
        ([6] * 300, np.zeros((300, 3)), "bonds"),
    ],
)
def test_nonsense_is_refused_with_its_reason(numbers: list[int], coordinates: object, reason: str) -> None:
    with pytest.raises(InvalidMolecule) as caught:
        perceive_bonds(np.array(numbers), np.array(coordinates, dtype=np.float64))
    assert caught.value.reason == reason


def test_random_blobs_take_no_time() -> None:
    random = np.random.default_rng(3)
    started = time.process_time()
    for _ in range(60):
        numbers = random.choice([1, 6, 7, 8, 9], size=20, p=[0.3, 0.4, 0.15, 0.1, 0.05])
        positions = np.cumsum(random.normal(scale=0.85, size=(20, 3)), axis=0)  # a chain: connected, with odd valences
        try:
            found = perceive_bonds(numbers, positions)
        except InvalidMolecule:
            continue
        assert found.charges.sum() == 0
    assert time.process_time() - started < 10

"""Bonds out of geometries: a cheap bond graph, bond orders by a bounded search, whether a relaxation kept the bonds."""

from typing import Final

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds
from rdkit.rdBase import BlockLogs

from gapsmith.core.codec import check_arrays
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InvalidMolecule

_TABLE = Chem.GetPeriodicTable()
# Covalent radii of Cordero et al., Dalton Trans. 2832 (2008), as RDKit has them; angstrom
RADII_ANGSTROM: Final = np.array([0.0] + [_TABLE.GetRcovalent(z) for z in range(1, 119)])
BONDED: Final = 1.2  # of the sum of radii: nearer is bonded; the cage of bicyclo[1.1.1]pentane has a pair at 1.23
BROKEN: Final = 1.3  # a bond that was there is gone when longer than this
FORMED: Final = 1.1  # a bond that was not there has formed when shorter than this
MOST_NEIGHBOURS: Final = {1: 1, 6: 4, 7: 4, 8: 3, 9: 1}
MOST_ATOMS: Final = 200
MOST_ITERATIONS: Final = 20_000  # of RDKit's search for bond orders, which is exponential; QM9 needs a few hundred


def _ratios(numbers: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Distance over the sum of covalent radii, (atoms, atoms); infinite on the diagonal."""
    positions = np.asarray(coordinates, dtype=np.float64)
    distance = np.linalg.norm(positions[:, None] - positions[None, :], axis=-1)
    radii = RADII_ANGSTROM[np.asarray(numbers, dtype=np.int64)]
    ratios = distance / (radii[:, None] + radii[None, :])
    np.fill_diagonal(ratios, np.inf)
    return np.asarray(ratios)


def bond_graph(numbers: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Which atoms are bonded, by distance; an atom with more neighbours than its element can have loses the farthest.

    Args:
        numbers: (atoms,) atomic numbers.
        coordinates: (atoms, 3), angstrom.

    Returns:
        (atoms, atoms) bool, symmetric.
    """
    ratios = _ratios(numbers, coordinates)
    adjacency = ratios < BONDED
    most = np.array([MOST_NEIGHBOURS.get(int(number), 8) for number in numbers])
    for atom in np.flatnonzero(adjacency.sum(axis=1) > most):
        spare = adjacency[atom] & (ratios[atom] > FORMED)
        farthest = sorted(np.flatnonzero(spare), key=lambda other: -ratios[atom, other])
        surplus = max(0, int(adjacency[atom].sum()) - int(most[atom]))
        for other in farthest[:surplus]:
            adjacency[atom, other] = adjacency[other, atom] = False
    return np.asarray(adjacency)


def connected(adjacency: np.ndarray) -> bool:
    """Whether a bond graph is one piece."""
    reached = np.zeros(len(adjacency), dtype=bool)
    reached[0] = True
    edge = reached
    while edge.any():
        edge = adjacency[edge].any(axis=0) & ~reached
        reached = reached | edge
    return bool(reached.all())


def same_connectivity(molecule: Molecule, coordinates_after: np.ndarray) -> bool:
    """Whether a relaxed geometry still has a molecule's bonds: none broken, none formed.

    A strained bond and a close contact overlap in length, so a pair's limit depends on whether it was bonded.

    Args:
        molecule: with explicit bonds.
        coordinates_after: (atoms, 3), angstrom, same order of atoms.
    """
    if np.shape(coordinates_after) != (len(molecule), 3) or not np.isfinite(coordinates_after).all():
        return False
    bonded = np.zeros((len(molecule), len(molecule)), dtype=bool)
    first, second = np.reshape(molecule.bonds, (-1, 3))[:, :2].T
    bonded[first, second] = bonded[second, first] = True
    ratios = _ratios(molecule.numbers, coordinates_after)
    return bool((ratios[bonded] < BROKEN).all() and (ratios[~bonded] > FORMED).all())


def perceive_bonds(numbers: np.ndarray, coordinates: np.ndarray, charge: int = 0) -> Molecule:
    """Bond orders and formal charges out of a geometry with explicit hydrogens.

    Connectivity by covalent radii; orders by RDKit's xyz2mol (Kim & Kim, Bull. Korean Chem. Soc. 36, 1769 (2015)), but
    only for graphs that can be a molecule, and with a bounded search.

    Args:
        numbers: (atoms,) atomic numbers.
        coordinates: (atoms, 3), angstrom.
        charge: total charge.

    Raises:
        InvalidMolecule: no molecule fits the geometry.
    """
    atoms = len(numbers)
    nothing = np.zeros((0, 3), dtype=np.int16)
    bare = Molecule(
        np.asarray(numbers, dtype=np.uint8),
        np.asarray(coordinates, dtype=np.float64),
        np.zeros(atoms, np.int8),
        nothing,
    )
    check_arrays(bare)
    if atoms > MOST_ATOMS:
        raise InvalidMolecule("bonds", f"{atoms} atoms are more than the {MOST_ATOMS} that bonds are perceived for")
    adjacency = bond_graph(bare.numbers, bare.coordinates)
    if not connected(adjacency):
        raise InvalidMolecule("fragments", "the atoms are in more than one piece")
    for number, neighbours in zip(bare.numbers.tolist(), adjacency.sum(axis=1).tolist(), strict=True):
        if neighbours > MOST_NEIGHBOURS.get(number, 8):
            raise InvalidMolecule("valence", f"an atom {_TABLE.GetElementSymbol(number)} has {neighbours} neighbours")
    mol = _skeleton(bare, adjacency)
    try:
        with BlockLogs():
            rdDetermineBonds.DetermineBondOrders(
                mol, charge=charge, allowChargedFragments=True, embedChiral=False, maxIterations=MOST_ITERATIONS
            )
            Chem.SanitizeMol(mol)
            Chem.Kekulize(mol, clearAromaticFlags=True)
    except (ValueError, RuntimeError) as error:  # RDKit's own exceptions are ValueErrors; its invariants RuntimeErrors
        raise InvalidMolecule("bonds", f"no bond orders fit the geometry: {str(error).splitlines()[0]}") from error
    charges = np.array([atom.GetFormalCharge() for atom in mol.GetAtoms()], dtype=np.int8)
    if int(charges.sum()) != charge:
        raise InvalidMolecule("charge", f"the bonds found have charge {int(charges.sum())}, not {charge}")
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), int(bond.GetBondTypeAsDouble())) for bond in mol.GetBonds()]
    return Molecule(bare.numbers, bare.coordinates, charges, np.array(bonds, dtype=np.int16).reshape(-1, 3))


def _skeleton(molecule: Molecule, adjacency: np.ndarray) -> Chem.Mol:
    """An RDKit molecule of single bonds with its conformer."""
    editable = Chem.RWMol()
    conformer = Chem.Conformer(len(molecule))
    for index, (number, position) in enumerate(
        zip(molecule.numbers.tolist(), molecule.coordinates.tolist(), strict=True)
    ):
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        editable.AddAtom(atom)
        conformer.SetAtomPosition(index, position)
    for first, second in np.argwhere(np.triu(adjacency)).tolist():
        editable.AddBond(first, second, Chem.BondType.SINGLE)
    mol = editable.GetMol()
    mol.AddConformer(conformer, assignId=True)
    return mol

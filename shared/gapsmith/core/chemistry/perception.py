"""Bond orders and formal charges out of geometries, by a bounded search."""

from typing import Final

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds
from rdkit.rdBase import BlockLogs

from gapsmith.core.chemistry.conversion import assemble
from gapsmith.core.chemistry.elements import MOST_NEIGHBOURS, MOST_NEIGHBOURS_OF_OTHERS, SYMBOLS
from gapsmith.core.chemistry.geometry import bond_graph, pieces
from gapsmith.core.codec import check_arrays
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InvalidMolecule

MOST_ATOMS: Final = 200
MOST_ITERATIONS: Final = 20_000  # of RDKit's search for bond orders, which is exponential; QM9 needs a few hundred


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
    if pieces(adjacency)[0] > 1:
        raise InvalidMolecule("fragments", "the atoms are in more than one piece")
    for number, neighbours in zip(bare.numbers.tolist(), adjacency.sum(axis=1).tolist(), strict=True):
        if neighbours > MOST_NEIGHBOURS.get(number, MOST_NEIGHBOURS_OF_OTHERS):
            raise InvalidMolecule("valence", f"an atom {SYMBOLS[number]} has {neighbours} neighbours")
    pairs = np.argwhere(np.triu(adjacency))
    single = np.column_stack([pairs, np.ones(len(pairs), dtype=np.int64)]).astype(np.int16)
    mol = assemble(Molecule(bare.numbers, bare.coordinates, bare.charges, single))
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

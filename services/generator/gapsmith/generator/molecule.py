"""From heavy-atom skeletons to whole molecules: hydrogens where valences and bond angles put them."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from gapsmith.core.chemistry.conversion import assemble
from gapsmith.core.codec import check_arrays
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InputError, InvalidMolecule

NEAREST_ANGSTROM: Final = 0.9  # no two heavy atoms of QM9 are nearer than 1.1
FARTHEST_ANGSTROM: Final = 2.4  # of bonded heavy atoms: what lies farther apart no relaxation pulls together

CROWDED_ANGSTROM: Final = 1.7  # a hydrogen is 2.1 from the neighbours of its carrier


@dataclass(frozen=True)
class Skeleton:
    """Heavy atoms, some of which are still to be filled in or revised."""

    unknown: np.ndarray  # (atoms,) bool: what the other fields say of these is no more than a draft
    numbers: np.ndarray  # (atoms,) uint8, atomic numbers, 0 if nothing is known
    coordinates: np.ndarray  # (atoms, 3) float64, angstrom
    charges: np.ndarray  # (atoms,) int8, formal charges
    orders: np.ndarray  # (atoms, atoms) uint8, Kekule bond orders 0..3
    parent_atoms: np.ndarray  # (atoms,) int64: which atom of the parent each is, -1 if new
    closed: np.ndarray  # (atoms,) bool: known atoms that take no bond to an unknown one
    shrinks: bool = False  # whether unknown atoms may turn out not to be there

    @classmethod
    def blank(cls, atoms: int) -> "Skeleton":
        """Nothing is known but the number of atoms."""
        return cls(
            np.ones(atoms, dtype=bool),
            np.zeros(atoms, dtype=np.uint8),
            np.zeros((atoms, 3)),
            np.zeros(atoms, dtype=np.int8),
            np.zeros((atoms, atoms), dtype=np.uint8),
            np.full(atoms, -1, dtype=np.int64),
            np.zeros(atoms, dtype=bool),
        )

    @classmethod
    def of(cls, parent: Molecule, kept: np.ndarray, new: int, closed: np.ndarray | None = None) -> "Skeleton":
        """The kept atoms (indices of heavy ones) of a parent, then ``new`` unknown ones, fewer if that fits better.

        Those of the kept atoms that are ``closed`` take no bond to a new one, (kept,) bool.
        """
        skeleton = cls.draft(parent, kept, np.zeros(len(kept), dtype=bool))
        blank = cls.blank(new)
        orders = np.zeros((len(kept) + new, len(kept) + new), dtype=np.uint8)
        orders[: len(kept), : len(kept)] = skeleton.orders
        return cls(
            np.concatenate([skeleton.unknown, blank.unknown]),
            np.concatenate([skeleton.numbers, blank.numbers]),
            np.concatenate([skeleton.coordinates, blank.coordinates]),
            np.concatenate([skeleton.charges, blank.charges]),
            orders,
            np.concatenate([skeleton.parent_atoms, blank.parent_atoms]),
            np.concatenate([skeleton.closed if closed is None else closed, blank.closed]),
            shrinks=new > 1,
        )

    @classmethod
    def draft(cls, parent: Molecule, atoms: np.ndarray, unknown: np.ndarray) -> "Skeleton":
        """Some heavy atoms (indices) of a parent, of which those marked ``unknown`` are to be revised."""
        return cls(
            unknown.copy(),
            parent.numbers[atoms].astype(np.uint8),
            parent.coordinates[atoms].astype(np.float64),
            parent.charges[atoms].astype(np.int8),
            order_matrix(parent)[np.ix_(atoms, atoms)],
            np.where(unknown, -1, atoms),
            np.zeros(len(atoms), dtype=bool),
        )

    def without(self, absent: np.ndarray) -> "Skeleton":
        """Only the atoms that are not ``absent``, (atoms,) bool."""
        stay = np.flatnonzero(~absent)
        return Skeleton(
            self.unknown[stay],
            self.numbers[stay],
            self.coordinates[stay],
            self.charges[stay],
            self.orders[np.ix_(stay, stay)],
            self.parent_atoms[stay],
            self.closed[stay],
            self.shrinks,
        )


@dataclass(frozen=True)
class GeneratedMolecule(Molecule):
    """A molecule with hydrogens, and what of it is its parent's, bit for bit."""

    parent_atoms: np.ndarray  # (atoms,) int64: the parent's atom with the same element and position, -1 if new


def order_matrix(molecule: Molecule) -> np.ndarray:
    """Bond orders as a symmetric matrix, (atoms, atoms) uint8; raises InputError if the bonds are unknown."""
    atoms = len(molecule)
    if len(molecule.bonds) == 0 and atoms > 1:
        raise InputError(f"the bonds of a molecule of {atoms} atoms are unknown; perceive them from its geometry first")
    orders = np.zeros((atoms, atoms), dtype=np.uint8)
    first, second, order = np.reshape(molecule.bonds, (-1, 3)).T
    orders[first, second] = orders[second, first] = order
    return orders


def complete(skeleton: Skeleton, parent: Molecule | None = None) -> GeneratedMolecule:
    """Add the hydrogens that a filled skeleton implies.

    A kept atom that carries as many hydrogens as in the parent keeps the parent's, bit for bit, unless a new atom took
    their place.

    Raises:
        InvalidMolecule: the skeleton is no closed-shell neutral molecule in one piece, or its geometry is absurd.
    """
    first, second = np.nonzero(np.triu(skeleton.orders))
    listed = np.stack([first, second, skeleton.orders[first, second]], axis=1).astype(np.int16)
    heavy = Molecule(skeleton.numbers, skeleton.coordinates, skeleton.charges, listed)
    check_arrays(heavy)
    _check_distances(skeleton)
    full = _with_hydrogens(heavy)
    count, total = len(heavy), full.GetNumAtoms()
    coordinates = np.array(full.GetConformer().GetPositions(), dtype=np.float64)
    coordinates[:count] = skeleton.coordinates
    if not np.isfinite(coordinates).all():
        raise InvalidMolecule("geometry", "a hydrogen found no place")
    carriers = np.array(
        [full.GetAtomWithIdx(i).GetNeighbors()[0].GetIdx() for i in range(count, total)], dtype=np.int64
    )
    parent_atoms = np.concatenate([skeleton.parent_atoms, np.full(total - count, -1, dtype=np.int64)])
    if parent is not None:
        bonded = order_matrix(parent) > 0
        new_atoms = skeleton.coordinates[skeleton.parent_atoms < 0]
        for atom in np.flatnonzero(skeleton.parent_atoms >= 0):
            own = count + np.flatnonzero(carriers == atom)
            theirs = np.flatnonzero(bonded[skeleton.parent_atoms[atom]] & (parent.numbers == 1))
            near = np.linalg.norm(parent.coordinates[theirs][:, None] - new_atoms, axis=-1).min(initial=np.inf)
            if len(own) == len(theirs) and near > CROWDED_ANGSTROM:
                coordinates[own], parent_atoms[own] = parent.coordinates[theirs], theirs
    hydrogen_bonds = np.stack([carriers, np.arange(count, total), np.ones(total - count, dtype=np.int64)], axis=1)
    return GeneratedMolecule(
        np.concatenate([skeleton.numbers, np.ones(total - count, dtype=np.uint8)]),
        coordinates,
        np.concatenate([skeleton.charges, np.zeros(total - count, dtype=np.int8)]),
        np.concatenate([listed, hydrogen_bonds.astype(np.int16)]),
        parent_atoms,
    )


def _with_hydrogens(heavy: Molecule) -> Chem.Mol:
    mol = assemble(heavy)
    if len(Chem.GetMolFrags(mol)) > 1:
        raise InvalidMolecule("fragments", "the atoms are in more than one piece")
    if int(heavy.charges.sum()) != 0:
        raise InvalidMolecule("charge", f"formal charges add up to {int(heavy.charges.sum()):+d}")
    for atom in mol.GetAtoms():
        atom.SetNoImplicit(False)  # an open valence stands for a hydrogen here
    try:
        with BlockLogs():
            Chem.SanitizeMol(mol)
            return Chem.AddHs(mol, addCoords=True)
    except (ValueError, RuntimeError) as error:  # RDKit's own exceptions are ValueErrors; its invariants RuntimeErrors
        raise InvalidMolecule("valence", str(error).splitlines()[0]) from error


def _check_distances(skeleton: Skeleton) -> None:
    distance = np.linalg.norm(skeleton.coordinates[:, None] - skeleton.coordinates[None], axis=-1)
    apart = distance[np.triu_indices(len(distance), 1)]
    if apart.size and apart.min() < NEAREST_ANGSTROM:
        raise InvalidMolecule("geometry", f"two heavy atoms are {apart.min():.2f} angstrom apart")
    bonded = distance[skeleton.orders > 0]
    if bonded.size and bonded.max() > FARTHEST_ANGSTROM:
        raise InvalidMolecule("geometry", f"a bond is {bonded.max():.2f} angstrom long")

"""Molecules as the bytes of the ``conformers`` table: little-endian arrays without headers. Needs numpy only."""

from typing import NamedTuple

import numpy as np

from gapsmith.core.domain import Molecule
from gapsmith.core.errors import DataError, InvalidMolecule


class EncodedMolecule(NamedTuple):
    """The four columns, in their order."""

    numbers: bytes  # (atoms,) uint8
    coordinates_angstrom: bytes  # (atoms, 3) float64
    bonds: bytes  # (bonds, 3) int16: first atom, second atom, order
    charges: bytes  # (atoms,) int8


def check_arrays(molecule: Molecule) -> None:
    """Raise InvalidMolecule unless shapes and values describe atoms and bonds at all."""
    atoms = len(molecule.numbers)
    if atoms == 0:
        raise InvalidMolecule("empty", "it has no atoms")
    numbers = np.asarray(molecule.numbers)
    if numbers.ndim != 1 or numbers.min() < 1 or numbers.max() > 118:
        raise InvalidMolecule("element", "atomic numbers must be a row of integers within 1 to 118")
    if np.shape(molecule.coordinates) != (atoms, 3):
        raise InvalidMolecule("geometry", f"{atoms} atoms but coordinates of shape {np.shape(molecule.coordinates)}")
    if not np.isfinite(molecule.coordinates).all():
        raise InvalidMolecule("geometry", "a coordinate is not a finite number")
    if np.shape(molecule.charges) != (atoms,):
        raise InvalidMolecule("charge", f"{atoms} atoms but charges of shape {np.shape(molecule.charges)}")
    if np.abs(np.asarray(molecule.charges, dtype=np.int64)).max() > 8:
        raise InvalidMolecule("charge", "a formal charge is beyond ±8")
    if len(molecule.bonds):
        _check_bonds(np.asarray(molecule.bonds, dtype=np.int64), atoms)


def _check_bonds(bonds: np.ndarray, atoms: int) -> None:
    if bonds.ndim != 2 or bonds.shape[1] != 3:
        raise InvalidMolecule("bonds", f"bonds must have the shape (bonds, 3), not {bonds.shape}")
    first, second, order = bonds.T
    if min(first.min(), second.min()) < 0 or max(first.max(), second.max()) >= atoms:
        raise InvalidMolecule("bonds", f"a bond names an atom beyond the {atoms} there are")
    if (first == second).any():
        raise InvalidMolecule("bonds", "an atom is bonded to itself")
    if len(np.unique(np.minimum(first, second) * atoms + np.maximum(first, second))) < len(bonds):
        raise InvalidMolecule("bonds", "a pair of atoms is bonded twice")
    if order.min() < 1 or order.max() > 3:
        raise InvalidMolecule("bonds", "bond orders must be 1, 2 or 3 (kekulised)")


def encode(molecule: Molecule) -> EncodedMolecule:
    """Bytes of a molecule's arrays; raises InvalidMolecule if they do not fit together."""
    check_arrays(molecule)
    return EncodedMolecule(
        np.ascontiguousarray(molecule.numbers, dtype="u1").tobytes(),
        np.ascontiguousarray(molecule.coordinates, dtype="<f8").tobytes(),
        np.ascontiguousarray(np.reshape(molecule.bonds, (-1, 3)), dtype="<i2").tobytes(),
        np.ascontiguousarray(molecule.charges, dtype="i1").tobytes(),
    )


def decode(numbers: bytes, coordinates_angstrom: bytes, bonds: bytes, charges: bytes) -> Molecule:
    """The molecule of a row of ``conformers``; raises DataError if the bytes do not fit together."""
    try:
        molecule = Molecule(
            np.frombuffer(numbers, dtype="u1").copy(),
            np.frombuffer(coordinates_angstrom, dtype="<f8").reshape(-1, 3).astype(np.float64),
            np.frombuffer(charges, dtype="i1").copy(),
            np.frombuffer(bonds, dtype="<i2").reshape(-1, 3).astype(np.int16),
        )
        check_arrays(molecule)
    except (ValueError, InvalidMolecule) as error:
        raise DataError(f"a stored geometry is damaged: {error}") from error
    return molecule

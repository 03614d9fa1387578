"""Molecules of any generator, out of SDF or XYZ files with many records."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from gapsmith.core.chemistry.perception import perceive_bonds
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InputError, InvalidMolecule
from gapsmith.generator.evaluation.judging import check

NO_BONDS: Final = np.zeros((0, 3), dtype=np.int16)
_TABLE = Chem.GetPeriodicTable()


@dataclass(frozen=True)
class Drawn:
    """The records of a file."""

    molecules: list[Molecule]  # without bonds where there are none that make sense
    attempts: int  # records
    refused: Counter[str] = field(default_factory=Counter)  # records that cannot be judged, by reason
    notes: list[str] = field(default_factory=list)  # one line for each of those, which says where it is


def read(path: Path) -> Drawn:
    """The molecules of an SDF, MOL or XYZ file.

    Bonds of an SDF are its own, kekulised; those of an XYZ file are perceived from the distances. Single bad records
    are counted in ``refused``.

    Raises:
        InputError: the file is missing, empty, of another kind, or has no record that can be judged.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"file: {path} does not end in {', '.join(READERS)}; give the molecules in one of these formats"
        )
    try:
        text = path.read_bytes().decode("utf-8", errors="replace").replace("\r\n", "\n")
    except OSError as error:
        raise InputError(f"file: {path} cannot be read: {error.strerror}") from error
    if not text.strip():
        raise InputError(f"file: {path} is empty; it should hold at least one molecule")
    drawn = Drawn([], 0)
    count = 0
    for count, molecule in enumerate(reader(path, text), 1):
        try:
            made = molecule()
            check(made)
            drawn.molecules.append(made)
        except InvalidMolecule as error:
            drawn.refused[error.reason] += 1
            drawn.notes.append(f"record {count} of {path}: {error.detail}")
    if not drawn.molecules:
        raise InputError(f"file: none of the {count} records can be judged; {drawn.notes[0]}")
    if (drawn.molecules[0].numbers != 1).all() and not any((one.numbers == 1).any() for one in drawn.molecules):
        _check_hydrogens(path, drawn)
    return Drawn(drawn.molecules, count, drawn.refused, drawn.notes)


def _check_hydrogens(path: Path, drawn: Drawn) -> None:
    """Whether a file without any hydrogen has molecules that need none."""
    for number, molecule in enumerate(drawn.molecules, 1):
        bonds = np.bincount(molecule.bonds[:, :2].ravel(), molecule.bonds[:, 2].repeat(2), len(molecule))
        if ((molecule.numbers == 6) & (bonds < 4)).any():
            raise InputError(
                f"file: {path} has no hydrogens at all, though molecule {number} needs some; write them with positions"
            )


def _of_sdf(path: Path, text: str) -> Iterator[Callable[[], Molecule]]:
    blocks = re.split(r"^\$\$\$\$.*\n?", text, flags=re.MULTILINE)
    if not blocks[-1].strip():
        blocks.pop()
    for block in blocks:
        yield partial(_of_block, block)


def _of_block(block: str) -> Molecule:
    """A molecule with its own bonds, kekulised; without any where that cannot be done."""
    with BlockLogs():
        mol = Chem.MolFromMolBlock(block, sanitize=False, removeHs=False)
        if mol is None:
            raise InvalidMolecule("broken", "it is no MDL mol block (V2000 or V3000)")
        if mol.GetNumAtoms() == 0:
            raise InvalidMolecule("empty", "it has no atoms")
        numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.uint8)
        charges = np.array([atom.GetFormalCharge() for atom in mol.GetAtoms()], dtype=np.int8)
        coordinates = np.array(mol.GetConformer().GetPositions(), dtype=np.float64)
        if any(atom.GetDegree() == 4 for atom in mol.GetAtoms()) and not coordinates[:, 2].any():
            raise InvalidMolecule("drawing", "all its atoms lie in the plane of a drawing; give it in 3D")
        try:
            mol.UpdatePropertyCache(strict=False)
            Chem.FastFindRings(mol)
            Chem.Kekulize(mol, clearAromaticFlags=True)
        except (ValueError, RuntimeError):  # RDKit's own exceptions are ValueErrors; its invariants RuntimeErrors
            return Molecule(numbers, coordinates, charges, NO_BONDS)
    rows = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), bond.GetBondTypeAsDouble()) for bond in mol.GetBonds()]
    if not all(order in (1.0, 2.0, 3.0) for _, _, order in rows):
        return Molecule(numbers, coordinates, charges, NO_BONDS)
    return Molecule(numbers, coordinates, charges, np.array(rows, dtype=np.int16).reshape(-1, 3))


def _of_xyz(path: Path, text: str) -> Iterator[Callable[[], Molecule]]:
    lines = text.rstrip().split("\n")
    start = number = 0
    while start < len(lines):
        number += 1
        count = lines[start].strip()
        if not count.isdecimal():
            if not count:  # between frames
                start, number = start + 1, number - 1
                continue
            raise InputError(
                f"file: {path}, record {number}: line {start + 1} should be a number of atoms, not {count!r}; what follows "
                "cannot be told apart"
            )
        rows = lines[start + 2 : start + 2 + int(count)]
        yield partial(_of_rows, rows, int(count))
        start += 2 + int(count)


def _of_rows(rows: list[str], count: int) -> Molecule:
    """A molecule with perceived bonds; without any where none fit."""
    if len(rows) < count:
        raise InvalidMolecule("broken", f"the file ends after {len(rows)} of its {count} atoms")
    if count == 0:
        raise InvalidMolecule("empty", "it has no atoms")
    numbers, coordinates = [], []
    for row in rows:
        words = row.split()
        try:
            numbers.append(int(words[0]) if words[0].isdecimal() else _TABLE.GetAtomicNumber(words[0].capitalize()))
            coordinates.append([float(word) for word in words[1:4]])
            if len(coordinates[-1]) < 3 or not 0 <= numbers[-1] <= 118:
                raise ValueError
        except (IndexError, ValueError, RuntimeError) as error:  # RDKit's unknown symbol is a RuntimeError
            raise InvalidMolecule("broken", f"{row.strip()!r} should be an element and x y z") from error
    bare = Molecule(np.array(numbers, dtype=np.uint8), np.array(coordinates), np.zeros(count, dtype=np.int8), NO_BONDS)
    check(bare)
    try:
        return perceive_bonds(bare.numbers, bare.coordinates)
    except InvalidMolecule:
        return bare


READERS: Final[dict[str, Callable[[Path, str], Iterator[Callable[[], Molecule]]]]] = {
    ".sdf": _of_sdf,
    ".sd": _of_sdf,
    ".mol": _of_sdf,
    ".xyz": _of_xyz,
}

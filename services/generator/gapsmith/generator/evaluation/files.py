"""Molecules of any generator, out of SDF or XYZ files with many records."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from gapsmith.core.chemistry.gate import Hydrogens, Requirements, admit
from gapsmith.core.chemistry.perception import perceive_bonds
from gapsmith.core.chemistry.reader import read_molecules
from gapsmith.core.chemistry.records import Record
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InputError, InvalidMolecule
from gapsmith.generator.evaluation.judging import check

# Whatever can be judged is judged: ions, radicals, pieces and missing hydrogens are what is counted.
NEEDED: Final = Requirements(
    most_atoms=1000, fragments=True, drawings=False, embedding=False, hydrogens=Hydrogens.JUDGED
)


@dataclass(frozen=True)
class Drawn:
    """The records of a file."""

    molecules: list[Molecule]  # without bonds where there are none that make sense
    attempts: int  # records
    refused: Counter[str] = field(default_factory=Counter)  # records that cannot be judged, by reason
    notes: list[str] = field(default_factory=list)  # one line for each of those, which says where it is


def read(path: Path) -> Drawn:
    """The molecules of a file in any format of ``read_molecules``, hydrogens and positions included.

    Bonds are the file's own, kekulised, or perceived from the distances where the format has none. Single bad records are
    counted in ``refused``.

    Raises:
        InputError: the file cannot be read, or has no record that can be judged.
    """
    drawn = Drawn([], 0)
    for record in read_molecules(path):
        try:
            drawn.molecules.append(_molecule(record))
        except InvalidMolecule as error:
            drawn.refused[error.reason] += 1
            drawn.notes.append(f"{record.where}: {error.detail}")
    count = len(drawn.notes) + len(drawn.molecules)
    if not drawn.molecules:
        raise InputError(f"file: none of the {count} records can be judged; {drawn.notes[0]}")
    if (drawn.molecules[0].numbers != 1).all() and not any((one.numbers == 1).any() for one in drawn.molecules):
        _check_hydrogens(path, drawn)
    return Drawn(drawn.molecules, count, drawn.refused, drawn.notes)


def _molecule(record: Record) -> Molecule:
    molecule = admit(record, NEEDED).molecule
    check(molecule)
    if record.mol is not None:
        return molecule
    try:
        return perceive_bonds(molecule.numbers, molecule.coordinates)
    except InvalidMolecule:
        return molecule


def _check_hydrogens(path: Path, drawn: Drawn) -> None:
    """Whether a file without any hydrogen has molecules that need none."""
    for number, molecule in enumerate(drawn.molecules, 1):
        bonds = np.bincount(molecule.bonds[:, :2].ravel(), molecule.bonds[:, 2].repeat(2), len(molecule))
        if ((molecule.numbers == 6) & (bonds < 4)).any():
            raise InputError(
                f"file: {path} has no hydrogens at all, though molecule {number} needs some; write them with positions"
            )

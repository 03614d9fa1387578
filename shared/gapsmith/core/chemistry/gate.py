"""The one gate: what a molecule of a person's file must be before something is computed for it.

``Requirements`` say what a purpose needs; ``admit`` gives the molecule or the reason why not. Size and elements are looked at
before anything is embedded or allocated.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

import numpy as np
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from gapsmith.core.chemistry.conversion import NO_BONDS, arrays, bonds_of
from gapsmith.core.chemistry.elements import OPEN_SHELL_METALS, symbols
from gapsmith.core.chemistry.embedding import embed
from gapsmith.core.chemistry.geometry import (
    MOST_ATOMS,
    UNBONDED,
    bonded_pairs,
    crushed,
    drawn,
    electron_fault,
    fault,
    lacks_hydrogens,
    pieces,
    ratios,
    unit_instead,
)
from gapsmith.core.chemistry.records import Record
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InvalidMolecule
from gapsmith.core.model_domain import ModelDomain

SAY_SPIN: Final = "say how many are unpaired with --spin, or in a column, tag or comment 'multiplicity' (unpaired + 1)"


class Hydrogens(Enum):
    """What happens to a 3D structure whose bonds ask for more hydrogens than it has."""

    REQUIRED = "required"  # it is refused
    ADDED = "added"  # RDKit adds them
    JUDGED = "judged"  # it stays as it is: the command is about such faults


@dataclass(frozen=True)
class Requirements:
    """What a molecule must be for a purpose."""

    most_atoms: int = MOST_ATOMS
    domain: ModelDomain | None = None  # elements and sizes of the model that is to answer; None: any
    charged: bool = True  # whether ions are let through
    open_shell: bool = True  # whether unpaired electrons are
    fragments: bool = False  # whether several pieces are
    drawings: bool = True  # whether a flat geometry of atoms that are not flat is, because it will be relaxed
    embedding: bool = True  # whether what has no geometry gets one
    keep_order: bool = False  # whether embedded atoms keep the numbers that they have in the file
    hydrogens: Hydrogens = Hydrogens.REQUIRED
    unsuited: Callable[[np.ndarray], str | None] | None = None  # why atoms (atoms,) do not suit, asked before embedding


@dataclass(frozen=True)
class Admitted:
    """A molecule that passed."""

    molecule: Molecule  # hydrogens included; without bonds where they are not known
    charge: int
    spin: int  # unpaired electrons
    undecided: bool  # whether a triplet is as possible by its bonds as the singlet
    rough: bool  # the geometry is RDKit's guess, to be relaxed
    mol: Chem.Mol | None  # its bonds and atoms in the same order, where the file says them; sanitised
    notes: tuple[str, ...]  # what a person should know of how it was read or changed


def admit(record: Record, needed: Requirements, *, charge: int | None = None, spin: int | None = None) -> Admitted:
    """Let a record through, with a geometry.

    Args:
        record: of ``reader.read_molecules``.
        needed: for the purpose.
        charge: instead of the record's; None: the record's, and 0 if it has none.
        spin: unpaired electrons, likewise; who gives them means a molecule with so few bonds, such as a carbene.

    Raises:
        InvalidMolecule: why not, with a reason to count by.
    """
    if record.error is not None:
        raise InvalidMolecule("unreadable", record.error)
    _check_atoms(record.numbers, needed)
    charge = charge if charge is not None else record.charge or 0
    certain = spin is not None or record.spin is not None
    spin, undecided = _unpaired(record, spin if spin is not None else record.spin)
    if charge and not needed.charged:
        raise InvalidMolecule("charge", f"its charge is {charge:+d}; only neutral molecules are handled here")
    if record.geometry is None:
        return replace(_embedded(record, needed, charge, spin), undecided=undecided)
    return replace(_as_it_is(record, needed, charge, spin, certain=certain), undecided=undecided)


def _unpaired(record: Record, stated: int | None) -> tuple[int, bool]:
    """Unpaired electrons, and whether singlet and triplet are to be compared; refuses what the bonds do not tell."""
    if stated is not None:
        return stated, False
    if metals := sorted({int(number) for number in record.numbers} & OPEN_SHELL_METALS):
        raise InvalidMolecule("spin", f"its bonds do not tell the unpaired electrons of {symbols(metals)}; {SAY_SPIN}")
    if record.radicals > 2:
        reason = f"its bonds leave {record.radicals} electrons unpaired, which may couple in several ways; {SAY_SPIN}"
        raise InvalidMolecule("spin", reason)
    return record.radicals, record.radicals == 2


def _check_atoms(numbers: np.ndarray, needed: Requirements) -> None:
    if not 1 <= len(numbers) <= needed.most_atoms:
        raise InvalidMolecule("size", f"{len(numbers)} atoms; between 1 and {needed.most_atoms} are allowed")
    if placeholders := int((numbers < 1).sum()):
        raise InvalidMolecule(
            "element", f"{placeholders} of its atoms are placeholders (R, X or *); put real atoms in their place"
        )
    if needed.domain is not None and (reason := needed.domain.refusal(numbers)):
        raise InvalidMolecule("domain", reason)


def _check_pieces(count: int, needed: Requirements) -> None:
    if count > 1 and not needed.fragments:
        raise InvalidMolecule(
            "fragments",
            f"it is in {count} pieces that no bond holds together, such as a salt or a complex",
        )


def _check_electrons(numbers: np.ndarray, charge: int, spin: int, needed: Requirements) -> None:
    if reason := electron_fault(int(numbers.sum()), charge, spin):
        raise InvalidMolecule("spin", reason)
    if spin and not needed.open_shell:
        raise InvalidMolecule(
            "radical", f"it has {spin} unpaired electron{'s' * (spin > 1)}; only closed shells are handled here"
        )


def _embedded(record: Record, needed: Requirements, charge: int, spin: int) -> Admitted:
    if record.mol is None or not needed.embedding:
        raise InvalidMolecule("geometry", "it has no 3D coordinates; give it in 3D")
    _check_electrons(record.numbers, charge, spin, needed)
    _check_pieces(len(Chem.GetMolFrags(record.mol)), needed)
    if needed.unsuited is not None and (reason := needed.unsuited(record.numbers)):
        raise InvalidMolecule("level", reason)
    mol = embed(record.mol, keep_order=needed.keep_order)
    return Admitted(arrays(mol), charge, spin, False, True, mol, record.notes)


def _as_it_is(record: Record, needed: Requirements, charge: int, spin: int, *, certain: bool) -> Admitted:
    assert record.geometry is not None  # ``admit`` looked
    numbers, coordinates = record.geometry
    bonds = None if record.mol is None else bonds_of(record.mol)
    if bonds is not None:  # first, for programs that do not embed pieces apart let them overlap
        _check_pieces(pieces(bonded_pairs(len(numbers), bonds))[0], needed)
    _check_positions(record, needed)
    if record.missing_hydrogens and needed.hydrogens is Hydrogens.ADDED:
        return _with_hydrogens(record, needed, charge, spin)
    if needed.hydrogens is not Hydrogens.JUDGED:
        if not spin:
            _check_hydrogens(record, certain=certain or bonds is not None)
        _check_electrons(numbers, charge, spin, needed)
    if bonds is None:
        _check_pieces(pieces(ratios(numbers, coordinates) < UNBONDED)[0], needed)
    charges = np.zeros(len(numbers), dtype=np.int8)
    if bonds is not None and record.mol is not None:
        charges = np.array([atom.GetFormalCharge() for atom in record.mol.GetAtoms()], dtype=np.int8)
    molecule = Molecule(numbers.astype(np.uint8), coordinates, charges, NO_BONDS if bonds is None else bonds)
    return Admitted(molecule, charge, spin, False, False, record.mol if record.fault is None else None, record.notes)


def _check_positions(record: Record, needed: Requirements) -> None:
    assert record.geometry is not None  # ``admit`` looked
    numbers, coordinates = record.geometry
    judged = needed.hydrogens is Hydrogens.JUDGED
    finite = bool(np.isfinite(coordinates).all())
    close = crushed(numbers, coordinates) if finite else None
    if finite and (other := unit_instead(numbers, coordinates, record.unit)):
        seen = f"{close}: is it in {other}?" if close else f"its distances look like {other};"
        expected = "QCSchema uses bohr" if record.unit == "bohr" else f"{record.unit} is expected"
        raise InvalidMolecule("geometry", f"{seen} {expected}; convert the coordinates")
    if (reason := fault(numbers, coordinates)) and not (judged and finite):
        raise InvalidMolecule("geometry", reason)
    if close and not judged:
        raise InvalidMolecule("geometry", close)
    if not needed.drawings and drawn(numbers, coordinates):
        raise InvalidMolecule("drawing", "all its atoms lie in the plane of a drawing; give it in 3D, or as SMILES")


def _check_hydrogens(record: Record, *, certain: bool) -> None:
    assert record.geometry is not None  # ``admit`` looked
    if record.missing_hydrogens:
        reason = f"{record.missing_hydrogens} of its hydrogens have no position"
    elif not certain and lacks_hydrogens(*record.geometry):
        reason = "its hydrogens are missing (most of its atoms lack bonds)"
    else:
        return
    raise InvalidMolecule("hydrogens", f"{reason}; write the file with explicit hydrogens")


def _with_hydrogens(record: Record, needed: Requirements, charge: int, spin: int) -> Admitted:
    with BlockLogs():
        mol = Chem.AddHs(record.mol, addCoords=True)
    molecule = arrays(mol)
    _check_atoms(molecule.numbers, needed)
    _check_electrons(molecule.numbers.astype(np.int64), charge, spin, needed)
    _check_pieces(len(Chem.GetMolFrags(mol)), needed)
    note = f"{record.missing_hydrogens} hydrogens were missing and were added by RDKit"
    return Admitted(molecule, charge, spin, False, False, mol, (*record.notes, note))

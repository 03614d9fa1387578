"""Molecules of a person's files, each with what to compute or with the reason why it is refused."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gapsmith.core.calculation import content_hash
from gapsmith.core.chemistry.conversion import to_rdkit
from gapsmith.core.chemistry.elements import formula
from gapsmith.core.chemistry.gate import Requirements, admit
from gapsmith.core.chemistry.identity import Identity, identify
from gapsmith.core.chemistry.perception import perceive_bonds
from gapsmith.core.chemistry.reader import ReadOptions, read_molecules
from gapsmith.core.chemistry.records import Record
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import CalculationError, InvalidMolecule
from gapsmith.core.levels import GENERATED, LevelOfTheory
from gapsmith.core.multiplicity import lower_of_singlet_and_triplet
from gapsmith.dft_queue.engines import find
from gapsmith.dft_queue.jobs import CalculationInput


@dataclass(frozen=True)
class Wish:
    """What a person wants of every molecule."""

    level: LevelOfTheory
    geometry_method: str = GENERATED
    charge: int | None = None  # instead of the file's
    spin: int | None = None
    allow_fragments: bool = False


@dataclass
class Entry:
    """A record of the input."""

    name: str
    smiles: str | None = None
    formula: str | None = None
    molecule: Molecule | None = None
    identity: Identity | None = None
    charge: int = 0
    spin: int = 0
    method: str = GENERATED
    level: LevelOfTheory | None = None  # none: refused before that mattered
    content_hash: str = ""
    refusal: str | None = None
    where: str = ""  # in its file
    notes: tuple[str, ...] = ()  # how it was read or changed
    findings: tuple[str, ...] = ()  # what was found out about it before it is computed


def entries(path: Path, wish: Wish, options: ReadOptions | None = None) -> Iterator[Entry]:
    """Every record of a file, in order; raises InputError if the file cannot be read at all."""
    for record in read_molecules(path, options):
        yield entry(record, wish)


def entry(record: Record, wish: Wish) -> Entry:
    """What to compute for a record, or why not."""
    level = wish.level
    charge = next(value for value in (wish.charge, record.charge, level.charge) if value is not None)
    given = wish.spin if wish.spin is not None or record.spin is not None else level.spin or None
    needed = Requirements(fragments=wish.allow_fragments, unsuited=lambda numbers: _unsuited(numbers, level))
    try:
        admitted = admit(record, needed, charge=charge, spin=given)
    except InvalidMolecule as error:
        hint = "; --allow-fragments computes such" if error.reason == "fragments" else ""
        return Entry(record.name, record.smiles, where=record.where, refusal=f"{error.detail}{hint}")
    molecule, spin = admitted.molecule, admitted.spin
    findings: tuple[str, ...] = ()
    if admitted.undecided:
        try:
            spin, found = lower_of_singlet_and_triplet(molecule.numbers, molecule.coordinates, charge)
        except CalculationError as failure:
            reason = f"GFN2-xTB cannot tell whether it is a singlet or a triplet ({failure.reason}); say it with --spin"
            return Entry(record.name, record.smiles, where=record.where, refusal=reason)
        findings = (found,)
    method = GENERATED if admitted.rough else wish.geometry_method
    out = Entry(
        name=record.name,
        smiles=record.smiles,
        where=record.where,
        level=level,
        molecule=molecule,
        charge=charge,
        spin=spin,
        method=method,
        notes=admitted.notes,
        findings=findings,
    )
    return checked(out)


def checked(out: Entry) -> Entry:
    """A record whose molecule, level, charge and spin are known, with its identity or with why it is refused."""
    assert out.molecule is not None  # and this is why it is called
    assert out.level is not None
    numbers, positions = out.molecule.numbers, out.molecule.coordinates
    job = CalculationInput.of(numbers, positions, out.level, out.charge, out.spin, out.method)
    engine = find(out.level.engine)
    out.formula = formula(numbers.tolist(), out.charge)
    out.refusal = job.refusal() or engine.fault(out.level) or engine.refusal(job)
    if out.refusal is None:
        _recognise(out, perceive=len(out.molecule.bonds) == 0)
        out.content_hash = content_hash(numbers, positions, out.charge, out.spin, out.level, out.method)
    return out


def _unsuited(numbers: np.ndarray, level: LevelOfTheory) -> str | None:
    """Why a level does not suit a molecule without a geometry, as far as its atoms tell."""
    if not level.relaxation:
        return (
            f"it has no geometry, and level {level.name!r} does not relax RDKit's guess; give it in 3D or choose a level "
            "with a relaxation, such as triage"
        )
    apart = np.outer(np.arange(len(numbers)), [3.0, 0.0, 0.0])
    return find(level.engine).refusal(CalculationInput.of(numbers, apart, level))


def _recognise(out: Entry, *, perceive: bool) -> None:
    """Find the bonds, if they are not known, and which molecule it is, if it is neutral and closed-shell."""
    assert out.molecule is not None  # nothing without a geometry comes here
    try:
        if perceive:
            out.molecule = perceive_bonds(out.molecule.numbers, out.molecule.coordinates, out.charge)
        if not out.spin:
            out.identity = identify(to_rdkit(out.molecule))
    except InvalidMolecule:
        return
    out.smiles = out.smiles or (out.identity.smiles if out.identity else None)

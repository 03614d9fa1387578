"""Leads: molecules in files that people bring, to be grown again in part."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rdkit import Chem

from gapsmith.core.chemistry.conversion import to_rdkit
from gapsmith.core.chemistry.gate import Hydrogens, Requirements, admit
from gapsmith.core.chemistry.identity import Identity, identify
from gapsmith.core.chemistry.perception import perceive_bonds
from gapsmith.core.chemistry.reader import ReadOptions, read_molecules
from gapsmith.core.chemistry.records import Record
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InputError, InvalidMolecule
from gapsmith.core.model_domain import ModelDomain

HINTS: Final = {"charge": "; give its neutral form", "fragments": "; give one molecule a record"}


@dataclass(frozen=True)
class Lead:
    """A molecule that the generator can grow from."""

    where: str  # for messages: record and file
    name: str  # in its file, or its number there
    molecule: Molecule  # hydrogens included; its first atoms are those of the file, in their order
    mol: Chem.Mol  # the same, sanitised
    identity: Identity
    changes: str | None  # what had to be done to it, for a person

    @property
    def heavy(self) -> np.ndarray:
        """Indices of the heavy atoms, (heavy atoms,)."""
        return np.flatnonzero(self.molecule.numbers != 1)


def read_leads(path: Path, domain: ModelDomain, options: ReadOptions | None = None) -> list[Lead]:
    """Leads of a file in any format of ``read_molecules``, within what the generator knows.

    Atoms without 3D coordinates get some from RDKit, and so do missing hydrogens; ``Lead.changes`` says so.

    Raises:
        InputError: the file cannot be read, or the generator cannot grow from one of its molecules.
    """
    needed = requirements(domain)
    return [_lead(record, needed) for record in read_molecules(path, options)]


def requirements(domain: ModelDomain) -> Requirements:
    """What a lead must be: a neutral closed shell within what the generator knows."""
    return Requirements(domain=domain, charged=False, open_shell=False, keep_order=True, hydrogens=Hydrogens.ADDED)


def _lead(record: Record, needed: Requirements) -> Lead:
    try:
        admitted = admit(record, needed)
        molecule = admitted.molecule
        if admitted.mol is None:
            molecule = perceive_bonds(molecule.numbers, molecule.coordinates)
        sane = to_rdkit(molecule)
        identity = identify(sane)
    except InvalidMolecule as error:
        hint = HINTS.get(error.reason, "")
        raise InputError(f"lead: {record.where} is of no use ({error.reason}): {error.detail}{hint}") from error
    notes = list(admitted.notes)
    if admitted.rough:
        notes.append("it has no 3D coordinates, so RDKit made some (ETKDG, MMFF94), hydrogens included")
    changes = f"{record.where}: {'; '.join(notes)}" if notes else None
    return Lead(record.where, record.name, molecule, sane, identity, changes)

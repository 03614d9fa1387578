"""Leads: molecules in files that people bring, to be grown again in part."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
from rdkit.rdBase import BlockLogs

from gapsmith.core.chemistry.conversion import from_rdkit, to_rdkit
from gapsmith.core.chemistry.identity import Identity, identify
from gapsmith.core.chemistry.perception import perceive_bonds
from gapsmith.core.domain import Molecule
from gapsmith.core.errors import InputError, InvalidMolecule
from gapsmith.generator.vocabulary import CHARGES, ELEMENTS, MAX_ATOMS

ENDINGS: Final = (".sdf", ".sd", ".mol", ".xyz")
EMBEDDING_SEED: Final = 7
_TABLE = Chem.GetPeriodicTable()


@dataclass(frozen=True)
class Lead:
    """A molecule that the generator can grow from."""

    where: str  # for messages: record and file
    name: str  # in its file, may be empty
    molecule: Molecule  # hydrogens included; its first atoms are those of the file, in their order
    mol: Chem.Mol  # the same, sanitised
    identity: Identity
    changes: str | None  # what had to be done to it, for a person

    @property
    def heavy(self) -> np.ndarray:
        """Indices of the heavy atoms, (heavy atoms,)."""
        return np.flatnonzero(self.molecule.numbers != 1)


def read_leads(path: Path) -> list[Lead]:
    """Leads of an SDF, MOL or XYZ file.

    Atoms without 3D coordinates get some from RDKit, and so do missing hydrogens; ``Lead.changes`` says so.

    Raises:
        InputError: the file is missing, empty or broken, or one of its molecules is none that the generator can grow from.
    """
    if path.suffix.lower() not in ENDINGS:
        raise InputError(
            f"lead: {path} does not end in {', '.join(ENDINGS)}; give the molecule in one of these formats"
        )
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"lead: {path} cannot be read: {error.strerror}") from error
    if not text.strip():
        raise InputError(f"lead: {path} is empty; it should hold at least one molecule")
    if path.suffix.lower() == ".xyz":
        return [_lead(where, name, mol, None) for where, name, mol in _of_xyz(path, text)]
    return [_from_record(where, block) for where, block in _records(path, text)]


def _records(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """Where each record is, and its text."""
    blocks = re.split(r"^\$\$\$\$.*\n?", text.replace("\r\n", "\n"), flags=re.MULTILINE)
    blocks = [block for block in blocks if block.strip()]
    for number, block in enumerate(blocks, 1):
        yield (f"{path}" if len(blocks) == 1 else f"record {number} of {path}"), block


def _from_record(where: str, block: str) -> Lead:
    """A lead of one record in one of MDL's formats."""
    with BlockLogs():
        mol = Chem.MolFromMolBlock(block, sanitize=True, removeHs=False)
        if mol is None:
            raise InputError(f"lead: {where} {_complaint(block)}")
    name = block.partition("\n")[0].strip()
    mol, changes = _with_geometry(where, mol)
    return _lead(where, name, mol, changes)


def _complaint(block: str) -> str:
    """Why RDKit does not take a record."""
    mol = Chem.MolFromMolBlock(block, sanitize=False, removeHs=False)
    if mol is None:
        return "is broken: it is no MDL mol block (V2000 or V3000); write it again with the program it came from"
    try:
        Chem.SanitizeMol(mol)
    except ValueError as error:
        return f"is no molecule: {str(error).splitlines()[0]}"
    return "cannot be read by RDKit; write it again with the program it came from"


def _with_geometry(where: str, mol: Chem.Mol) -> tuple[Chem.Mol, str | None]:
    """With explicit hydrogens in 3D, and what was done to get there."""
    if mol.GetNumAtoms() == 0:
        raise InputError(f"lead: {where} has no atoms")
    _check_elements(where, mol)
    missing = sum(atom.GetTotalNumHs() for atom in mol.GetAtoms())
    with BlockLogs():
        if mol.GetConformer().Is3D():
            if not missing:
                return mol, None
            added = Chem.AddHs(mol, addCoords=True)
            return added, f"{where}: {missing} hydrogens were missing and were added by RDKit"
        flat = Chem.AddHs(mol)
        flat.RemoveAllConformers()
        parameters: Any = rdDistGeom.ETKDGv3()
        parameters.randomSeed = EMBEDDING_SEED
        if rdDistGeom.EmbedMolecule(flat, parameters) < 0:
            raise InputError(f"lead: {where} has no 3D coordinates, and RDKit finds none for it; give it in 3D")
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(flat):
            rdForceFieldHelpers.MMFFOptimizeMolecule(flat, maxIters=2000)
    return flat, f"{where}: it has no 3D coordinates, so RDKit made some (ETKDG, MMFF94), hydrogens included"


def _of_xyz(path: Path, text: str) -> Iterator[tuple[str, str, Chem.Mol]]:
    """Where each frame of an XYZ file is, its comment, and its molecule with bonds out of the distances."""
    lines = text.splitlines()
    start = 0
    while start < len(lines):
        if not lines[start].strip():
            start += 1
            continue
        where = f"the molecule at line {start + 1} of {path}"
        if not lines[start].strip().isdecimal() or int(lines[start]) == 0:
            raise InputError(f"lead: {path} line {start + 1} should be a number of atoms, not {lines[start].strip()!r}")
        end = start + 2 + int(lines[start])
        if end > len(lines):
            raise InputError(f"lead: {where} ends early: {int(lines[start])} atoms need lines up to {end}")
        rows = [_xyz_row(path, number, lines[number]) for number in range(start + 2, end)]
        try:
            molecule = perceive_bonds(np.array([row[0] for row in rows]), np.array([row[1:] for row in rows]))
            mol = to_rdkit(molecule)
        except InvalidMolecule as error:
            raise InputError(
                f"lead: {where}: no bonds fit its geometry ({error.detail}); an SDF file says which bonds there are"
            ) from error
        yield where, lines[start + 1].strip(), mol
        start = end


def _xyz_row(path: Path, number: int, line: str) -> tuple[int, float, float, float]:
    """Atomic number and position of one line."""
    words = line.split()
    try:
        x, y, z = (float(word) for word in words[1:4])
        element = int(words[0]) if words[0].isdecimal() else _TABLE.GetAtomicNumber(words[0].capitalize())
    except (IndexError, ValueError, RuntimeError) as error:  # RDKit's unknown symbol is a RuntimeError
        raise InputError(
            f"lead: {path} line {number + 1} should be an element and x y z, not {line.strip()!r}"
        ) from error
    return element, x, y, z


def _lead(where: str, name: str, mol: Chem.Mol, changes: str | None) -> Lead:
    _check_elements(where, mol)
    try:
        molecule = from_rdkit(mol)
        sane = to_rdkit(molecule)
        identity = identify(sane)
    except InvalidMolecule as error:
        hint = "; give its neutral form" if error.reason == "charge" else ""
        hint = "; give one molecule a record" if error.reason == "fragments" else hint
        raise InputError(f"lead: {where} is of no use ({error.reason}): {error.detail}{hint}") from error
    heavy = int((molecule.numbers != 1).sum())
    if not 1 <= heavy <= MAX_ATOMS:
        raise InputError(
            f"lead: {where} has {heavy} atoms other than hydrogen; the generator takes leads of 1 to {MAX_ATOMS}"
        )
    if not set(molecule.charges.tolist()) <= set(CHARGES):
        raise InputError(
            f"lead: {where} has an atom with a formal charge beyond ±{max(CHARGES)}, which was not learned"
        )
    return Lead(where, name, molecule, sane, identity, changes)


def _check_elements(where: str, mol: Chem.Mol) -> None:
    strange = {atom.GetSymbol() for atom in mol.GetAtoms() if atom.GetAtomicNum() not in ELEMENTS}
    if strange:
        known = ", ".join(_TABLE.GetElementSymbol(number) for number in ELEMENTS)
        raise InputError(
            f"lead: {where} has {', '.join(sorted(strange))}; the generator knows {known} and nothing else yet"
        )

"""Molecules of a file, one at a time: what cannot be read is an item with its reason, and the rest goes on."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
from rdkit.rdBase import BlockLogs

from gapsmith.core.errors import InputError

FORMATS: Final = (".sdf", ".smi", ".xyz", ".csv")
SMILES_COLUMNS: Final = ("smiles", "canonical_smiles")
EMBEDDING_SEED = 7


@dataclass(frozen=True)
class Item:
    """One molecule of a file."""

    name: str
    smiles: str | None
    geometry: tuple[np.ndarray, np.ndarray] | None  # (atoms,) and (atoms, 3) angstrom
    rough: bool = False  # the geometry is RDKit's guess, to be relaxed
    error: str | None = None
    charge: int | None = None  # total, where the file says
    spin: int | None = None  # unpaired electrons, where the file says
    graph: tuple[np.ndarray, np.ndarray] | None = None  # (bonds, 3) kekulised, and formal charges (atoms,), likewise
    missing_hydrogens: int = 0  # that its bonds ask for and that have no position


def read(path: Path, *, most_atoms: int | None = None) -> Iterator[Item]:
    """All molecules.

    Args:
        path: ends in .sdf, .smi, .xyz or .csv.
        most_atoms: larger ones without a geometry are not embedded, which would take long, but have an error.

    Raises:
        InputError: the file cannot be opened, or its ending says no known format.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: the ending {path.suffix!r} is not known; known: {', '.join(FORMATS)}")
    if not path.is_file():
        raise InputError(f"{path} does not exist or is no file")
    readers = {".sdf": _sdf, ".smi": _smi, ".xyz": _xyz, ".csv": _csv}
    try:
        yield from readers[path.suffix.lower()](path, most_atoms)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text file: {error}") from error


def from_smiles(smiles: str, name: str, most_atoms: int | None = None) -> Item:
    """A geometry by distance geometry and MMFF."""
    with BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            return Item(name, smiles, None, error=f"{smiles!r} is no valid SMILES")
        return _embedded(mol, smiles, name, most_atoms)


def _embedded(mol: Chem.Mol, smiles: str | None, name: str, most_atoms: int | None) -> Item:
    mol = Chem.AddHs(mol)
    if mol.GetNumAtoms() == 0:
        return Item(name, smiles, None, error="it has no atoms")
    if most_atoms is not None and mol.GetNumAtoms() > most_atoms:
        return Item(name, smiles, None, error=f"{mol.GetNumAtoms()} atoms; at most {most_atoms} are allowed")
    if rdDistGeom.EmbedMolecule(mol, randomSeed=EMBEDDING_SEED) != 0:
        return Item(name, smiles, None, error="no geometry could be embedded")
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        rdForceFieldHelpers.MMFFOptimizeMolecule(mol, maxIters=500)
    return _item(mol, smiles, name, rough=True)


def _item(mol: Chem.Mol, smiles: str | None, name: str, *, rough: bool = False, sane: bool = True) -> Item:
    atoms = list(mol.GetAtoms())
    numbers = np.array([atom.GetAtomicNum() for atom in atoms], dtype=np.int64)
    geometry = numbers, np.array(mol.GetConformer().GetPositions(), dtype=np.float64).reshape(-1, 3)
    charge = sum(atom.GetFormalCharge() for atom in atoms)
    if not sane:  # the geometry is all that is needed
        return Item(name, smiles, geometry, charge=charge)
    radicals = sum(atom.GetNumRadicalElectrons() for atom in atoms)
    missing = sum(atom.GetTotalNumHs() for atom in atoms)
    graph = None if missing else _graph(mol)
    return Item(name, smiles, geometry, rough, None, charge, radicals or None, graph, missing)


def _graph(mol: Chem.Mol) -> tuple[np.ndarray, np.ndarray] | None:
    kekulised = Chem.Mol(mol)
    Chem.Kekulize(kekulised, clearAromaticFlags=True)
    bonds = [
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), bond.GetBondTypeAsDouble()) for bond in kekulised.GetBonds()
    ]
    if any(order not in (1.0, 2.0, 3.0) for _, _, order in bonds):  # of metals, mostly
        return None
    charges = np.array([atom.GetFormalCharge() for atom in kekulised.GetAtoms()], dtype=np.int8)
    return np.array(bonds, dtype=np.int16).reshape(-1, 3), charges


def _sdf(path: Path, most_atoms: int | None) -> Iterator[Item]:
    with BlockLogs():
        for index, mol in enumerate(Chem.SDMolSupplier(str(path), sanitize=False, removeHs=False)):
            name = f"{index + 1}"
            if mol is None:
                yield Item(name, None, None, error=f"record {index + 1} cannot be read")
                continue
            name = _title(mol) or name
            try:
                Chem.SanitizeMol(mol)
                smiles = Chem.MolToSmiles(Chem.RemoveHs(mol))
            except ValueError:
                smiles = None
            if mol.GetNumConformers() and mol.GetConformer().Is3D():
                yield _item(mol, smiles, name, sane=smiles is not None)
            elif smiles is None:
                yield Item(name, None, None, error="it has neither a geometry nor a valid structure")
            else:
                yield _embedded(mol, smiles, name, most_atoms)


def _title(mol: Chem.Mol) -> str:
    try:
        return str(mol.GetProp("_Name")).strip() if mol.HasProp("_Name") else ""
    except UnicodeDecodeError:
        return ""


def _smi(path: Path, most_atoms: int | None) -> Iterator[Item]:
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if words := line.split(maxsplit=1):
            yield from_smiles(words[0], words[1].strip() if len(words) > 1 else f"{number}", most_atoms)


def _csv(path: Path, most_atoms: int | None) -> Iterator[Item]:
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        columns = {name.strip().lower(): name for name in rows.fieldnames or []}
        column = next((columns[name] for name in SMILES_COLUMNS if name in columns), None)
        if column is None:
            raise InputError(f"{path} has no column smiles; its columns: {', '.join(rows.fieldnames or []) or 'none'}")
        names = columns.get("name") or columns.get("id")
        for number, row in enumerate(rows, start=1):
            name = (row[names] if names else None) or f"{number}"
            yield from_smiles((row[column] or "").strip(), name, most_atoms)


def _xyz(path: Path, _: int | None) -> Iterator[Item]:
    lines = path.read_text().splitlines()
    place, number = 0, 0
    while place < len(lines):
        if not lines[place].strip():
            place += 1
            continue
        number += 1
        try:
            atoms = int(lines[place].split()[0])
        except ValueError as error:
            reason = f"line {place + 1}: expected a number of atoms, got {lines[place]!r}"
            if number == 1:
                raise InputError(f"{path}, {reason}") from error
            yield Item(f"{number}", None, None, error=f"{reason}; the rest of the file cannot be read")
            return
        block = lines[place + 2 : place + 2 + atoms]
        name = (lines[place + 1].strip() if place + 1 < len(lines) else "") or f"{number}"
        place += 2 + max(atoms, 0)
        try:
            yield Item(name, None, _atoms(block, atoms))
        except ValueError as error:
            yield Item(name, None, None, error=f"frame {number} cannot be read: {str(error).splitlines()[0]}")


def _atoms(block: list[str], atoms: int) -> tuple[np.ndarray, np.ndarray]:
    if len(block) < atoms:
        raise ValueError(f"it ends after {len(block)} of {atoms} atoms")
    table = Chem.GetPeriodicTable()
    words = [line.split() for line in block]
    if short := next((line for line, w in zip(block, words, strict=True) if len(w) < 4), None):
        raise ValueError(f"{short!r} is no element with three coordinates")
    numbers = [_number(w[0], table) for w in words]
    return np.array(numbers, dtype=np.int64), np.array([[float(x) for x in w[1:4]] for w in words]).reshape(-1, 3)


def _number(word: str, table: Chem.PeriodicTable) -> int:
    try:
        with BlockLogs():
            number = int(word) if word.isdigit() else table.GetAtomicNumber(word.capitalize())
    except RuntimeError:
        number = 0
    if number < 1:
        raise ValueError(f"{word!r} is no element")
    return number

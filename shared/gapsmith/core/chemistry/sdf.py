"""Records of MDL's formats: .sdf, .sd and .mol, V2000 and V3000."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from gapsmith.core.chemistry.records import (
    Geometry,
    Record,
    first_line,
    forget_labels,
    rdkit_words,
    reason,
    with_bonds,
    with_stated,
)
from gapsmith.core.chemistry.text import Lines

SEPARATOR: Final = "$$$$"
HEADER: Final = 3  # lines before the counts of atoms and bonds
_COUNTS: Final = re.compile(r"[ \d]{6}.*V[23]000\s*$")
_TAG: Final = re.compile(r">[^<]*<(.*?)>")


def read_sdf(lines: Lines, name: str, name_tag: str | None = None) -> Iterator[Record]:
    """Records between separators; one that is broken does not take the next one with it."""
    count = 0
    while True:
        start, closed = lines.number + 1, False
        block: list[str] = []
        counted = False
        for line in lines:
            if closed := line.startswith(SEPARATOR):
                break
            if _COUNTS.match(line):
                if counted:  # of a second molecule, which no separator announced
                    lines.put_back(*block[-HEADER:], line)
                    closed, block = True, block[:-HEADER]
                    break
                counted = True
            block.append(line)
        blank = not any(line.strip() for line in block)
        if blank and not closed:
            return
        count += 1
        record = Record(f"{count}", f"{name} record {count} (line {start})")
        yield replace(record, error="the record is empty") if blank else with_stated(_read(record, block, name_tag))


def _read(record: Record, block: list[str], name_tag: str | None) -> Record:
    end = next((index for index, line in enumerate(block) if line.startswith((">", "M  END"))), len(block))
    if end < len(block) and block[end].startswith("M  END"):
        end += 1
    tags = _tags(block[end:])
    molblock = _repaired(block[:end])
    title = tags.pop(name_tag, "") if name_tag else ""
    title = (title or molblock[0]).strip() or record.name
    record = replace(record, name=title, fields=tags)
    text = "\n".join(molblock) + "\n"
    try:
        with BlockLogs():
            mol = Chem.MolFromMolBlock(text, sanitize=False, removeHs=False)
    except RuntimeError as error:  # RDKit's invariants
        return replace(record, error=f"it is not a mol block: {first_line(error)}")
    if mol is None:
        with rdkit_words() as words:
            Chem.MolFromMolBlock(text, sanitize=False, removeHs=False)
        ends = "" if any(line.startswith("M  END") for line in molblock) else "it ends without a line 'M  END'; "
        return replace(record, error=f"it is not a mol block (V2000 or V3000): {ends}{reason(words)}")
    if mol.GetNumAtoms() == 0:
        return replace(record, error="it has no atoms")
    return _with_molecule(record, mol, _stated_spin(molblock))


def _stated_spin(molblock: list[str]) -> int | None:
    """Unpaired electrons of the one atom that ``M  RAD`` states a multiplicity of; two such atoms may couple either way."""
    values = [value for line in molblock if line.startswith("M  RAD") for value in line.split()[4::2]]
    return int(values[0]) - 1 if len(values) == 1 and values[0] in ("1", "2", "3") else None


def _with_molecule(record: Record, mol: Chem.Mol, spin: int | None) -> Record:
    geometry = None
    if mol.GetNumConformers() and mol.GetConformer().Is3D():
        numbers = np.array([_number(atom) for atom in mol.GetAtoms()], dtype=np.int64)
        geometry = Geometry(numbers, np.array(mol.GetConformer().GetPositions(), dtype=np.float64).reshape(-1, 3))
    record = replace(record, geometry=geometry, notes=forget_labels(mol))
    raw = Chem.Mol(mol)
    try:
        with BlockLogs():
            Chem.SanitizeMol(mol)
            if geometry is None:
                Chem.AssignChiralTypesFromBondDirs(mol)  # wedges of the drawing
                Chem.DetectBondStereochemistry(mol)
                Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
            else:
                Chem.AssignStereochemistryFrom3D(mol)
            record = replace(record, smiles=Chem.MolToSmiles(Chem.RemoveHs(mol)))
    except (ValueError, RuntimeError) as error:  # RDKit's own exceptions are ValueErrors; its invariants RuntimeErrors
        fault = first_line(error)
        if geometry is None:
            return replace(record, error=f"it is not a valid molecule: {fault}")
        charge = sum(atom.GetFormalCharge() for atom in raw.GetAtoms())
        notes = (*record.notes, f"its bonds are not a valid molecule's, so only its geometry is used: {fault}")
        return replace(record, mol=raw, fault=fault, charge=charge, notes=notes)
    return replace(with_bonds(record, mol), spin=spin)


def _number(atom: Chem.Atom) -> int:
    """Atomic number; 0 for what stands for several elements or none."""
    return 0 if atom.HasQuery() else int(atom.GetAtomicNum())


def _repaired(block: list[str]) -> list[str]:
    """A mol block with three lines before its counts and no blank lines after them, which some programs write."""
    at = next((index for index, line in enumerate(block) if _COUNTS.match(line)), None)
    if at is None:
        return block
    title = next((line for line in block[: max(0, at - 2)] if line.strip()), "")
    header = block[:3] if at == 3 else [title, *(["", "", *block[:at]][-2:])]
    return [*header, *(line for line in block[at:] if line.strip())]


def _tags(lines: list[str]) -> dict[str, str]:
    """Data items: a line with the tag in angle brackets, then its value up to a blank line."""
    tags: dict[str, str] = {}
    tag: str | None = None
    for line in lines:
        if match := _TAG.match(line):
            tag = match[1]
            tags[tag] = ""
        elif not line.strip():
            tag = None
        elif tag is not None:
            tags[tag] = f"{tags[tag]}\n{line}" if tags[tag] else line
    return tags

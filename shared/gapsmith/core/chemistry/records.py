"""One molecule of a file, and how RDKit's words are got at when it refuses one."""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final, NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.rdBase import BlockLogs, LogToCppStreams, LogToPythonLogger

MOST_CHARACTERS: Final = 5_000  # of a SMILES; RDKit would take minutes over what no level computes
MOST_NAME: Final = 200  # characters
_LOCK = Lock()


class Geometry(NamedTuple):
    """Atoms in space."""

    numbers: np.ndarray  # (atoms,) int64, atomic numbers, 0 for a placeholder
    coordinates: np.ndarray  # (atoms, 3) float64, angstrom


@dataclass(frozen=True)
class Record:
    """One molecule of a file as it stands there, or the reason why it cannot be read; ``gate`` judges it."""

    name: str
    where: str  # file and line, for messages
    smiles: str | None = None  # the file's
    mol: Chem.Mol | None = None  # atoms and bonds where the file has them, without isotopes
    geometry: Geometry | None = None  # the file's; None: there is none, or it is a drawing
    unit: str = "angstrom"  # of the file's coordinates
    charge: int | None = None  # total, where the file says
    spin: int | None = None  # unpaired electrons, where the file says
    fields: Mapping[str, str] = field(default_factory=dict)  # other columns or tags, as text
    notes: tuple[str, ...] = ()  # what a person should know of how it was read
    error: str | None = None  # why it cannot be read
    fault: str | None = None  # why RDKit does not take its bonds for a molecule's; its geometry may still do

    def __post_init__(self) -> None:
        """Clean the name: printable characters in one line."""
        object.__setattr__(self, "name", cleaned(self.name))

    @property
    def numbers(self) -> np.ndarray:
        """Atomic numbers of all atoms, hydrogens included, in no particular order; 0 for a placeholder."""
        if self.geometry is not None:
            return self.geometry.numbers
        if self.mol is None:
            return np.zeros(0, dtype=np.int64)
        heavy = [atom.GetAtomicNum() for atom in self.mol.GetAtoms()]
        return np.array(heavy + [1] * self.missing_hydrogens, dtype=np.int64)

    @property
    def missing_hydrogens(self) -> int:
        """How many hydrogens its bonds ask for that are not atoms of the file."""
        if self.mol is None or self.fault is not None:
            return 0
        return sum(atom.GetTotalNumHs() for atom in self.mol.GetAtoms())


def cleaned(name: str) -> str:
    """A name of a file as messages, tables and other files can hold it."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in name).split())[:MOST_NAME]


@contextmanager
def rdkit_words() -> Iterator[list[str]]:
    """Collect what RDKit logs, which is the only place where it says why it refuses a molecule."""
    words: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            words.append(record.getMessage().partition("] ")[2].strip())  # after the time of day

    logger = logging.getLogger("rdkit")
    with _LOCK:
        before, logger.handlers, propagate = logger.handlers, [Collector()], logger.propagate
        logger.propagate = False
        LogToPythonLogger()
        try:
            yield words
        finally:
            LogToCppStreams()
            logger.handlers, logger.propagate = before, propagate


def reason(words: list[str]) -> str:
    """What RDKit gives as its reason: its first words, without the frames that it draws around some."""
    return next(
        (word for word in words if re.search("[a-z]", word) and not word.endswith("Violation")), "RDKit refuses it"
    )


def first_line(error: object) -> str:
    """The first line of an exception's text, or the name of its class."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def from_smiles(smiles: str, name: str, where: str = "SMILES") -> Record:
    """A record of a SMILES, which may have a CXSMILES extension."""
    record = Record(name, where, smiles=smiles)
    if len(smiles) > MOST_CHARACTERS:
        return replace(record, error=f"a SMILES of {len(smiles)} characters; at most {MOST_CHARACTERS} are read")
    with BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        with rdkit_words() as words:
            Chem.MolFromSmiles(smiles)
        return replace(record, error=f"{smiles!r} is not a valid SMILES: {reason(words)}")
    if mol.GetNumAtoms() == 0:
        return replace(record, error="the SMILES is empty")
    notes = forget_labels(mol)
    with BlockLogs():
        mol = Chem.RemoveHs(mol)
    return with_bonds(replace(record, notes=notes), mol)


def with_bonds(record: Record, mol: Chem.Mol) -> Record:
    """The record with a sanitised molecule, its total charge and its unpaired electrons."""
    charge = sum(atom.GetFormalCharge() for atom in mol.GetAtoms())
    radicals = sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
    return replace(record, mol=mol, charge=charge, spin=radicals or None)


def forget_labels(mol: Chem.Mol) -> tuple[str, ...]:
    """Take isotopes and atom maps off a molecule, in place, and say which isotopes: nothing computed here depends on mass."""
    heavier = [atom for atom in mol.GetAtoms() if atom.GetIsotope() and atom.GetAtomicNum()]
    found = sorted({f"{atom.GetIsotope()}{atom.GetSymbol()}" for atom in heavier})
    for atom in heavier:
        atom.SetIsotope(0)
    for atom in mol.GetAtoms():
        atom.SetAtomMapNum(0)
    return (f"isotopes are not told apart: {', '.join(found)}",) if found else ()

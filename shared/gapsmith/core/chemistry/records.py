"""One molecule of a file, and how RDKit's words are got at when it refuses one."""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final, NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.rdBase import BlockLogs, LogToCppStreams, LogToPythonLogger

MOST_CHARACTERS: Final = 5_000  # of a SMILES; RDKit would take minutes over what no level computes
MOST_NAME: Final = 200  # characters
CHARGE_KEYS: Final = ("charge", "total_charge", "molecular_charge")  # of columns, tags and extended XYZ
MULTIPLICITY_KEYS: Final = ("multiplicity", "mult", "molecular_multiplicity", "spin_multiplicity")
UNPAIRED_KEYS: Final = ("uhf", "unpaired", "unpaired_electrons")
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
    radicals: int = 0  # unpaired electrons that its bonds leave, by RDKit's count
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
            with suppress(SystemError):  # RDKit may log half a character, which Python's logging cannot take
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
    """The record with a sanitised molecule, its total charge and its radicals."""
    charge = sum(atom.GetFormalCharge() for atom in mol.GetAtoms())
    radicals = sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
    return replace(record, mol=mol, charge=charge, radicals=radicals)


def with_stated(record: Record) -> Record:
    """The record with the charge and the unpaired electrons that its columns or tags state.

    A charge that contradicts the bonds is an error of the record.
    """
    if record.error is not None:
        return record
    there = {re.sub(r"[^a-z]+", "_", key.lower()).strip("_"): (key, text) for key, text in record.fields.items()}
    found: dict[str, int] = {}
    for meaning, keys in (
        ("charge", CHARGE_KEYS),
        ("multiplicity", MULTIPLICITY_KEYS),
        ("number of electrons", UNPAIRED_KEYS),
    ):
        key, text = next((there[key] for key in keys if key in there and there[key][1].strip()), ("", ""))
        if not key:
            continue
        value = whole(text)
        if (
            value is None
            or (meaning == "multiplicity" and value < 1)
            or (meaning == "number of electrons" and value < 0)
        ):
            return replace(record, error=f"its {key!r} is {text.strip()!r}, which is not a possible {meaning}")
        found[meaning] = value
    charge = found.get("charge", record.charge)
    if record.mol is not None and record.fault is None and charge != record.charge:
        stated = f"its charge is stated as {found['charge']:+d}, but its atoms and bonds have {record.charge or 0:+d}"
        return replace(record, error=stated)
    spin = found.get("number of electrons", found["multiplicity"] - 1 if "multiplicity" in found else record.spin)
    return replace(record, charge=charge, spin=spin)


def whole(text: str) -> int | None:
    """A whole number of at most two digits, such as 1, -2 or 1.0; None if it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value.is_integer() and abs(value) < 100 else None


def forget_labels(mol: Chem.Mol) -> tuple[str, ...]:
    """Take isotopes and atom maps off a molecule, in place, and say which isotopes: nothing computed here depends on mass."""
    heavier = [atom for atom in mol.GetAtoms() if atom.GetIsotope() and atom.GetAtomicNum()]
    found = sorted({f"{atom.GetIsotope()}{atom.GetSymbol()}" for atom in heavier})
    for atom in heavier:
        atom.SetIsotope(0)
    for atom in mol.GetAtoms():
        atom.SetAtomMapNum(0)
    return (f"isotopes are not told apart: {', '.join(found)}",) if found else ()

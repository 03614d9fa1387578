"""Pools of known molecules: QM9 at its own geometries, MOSES, and any table with a column of SMILES."""

import csv
import gzip
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import file_digest
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Final

import numpy as np
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from gapsmith.core.chemistry.perception import perceive_bonds
from gapsmith.core.chemistry.tables import SMILES_NAMES
from gapsmith.core.errors import DataError, InputError, InvalidMolecule
from gapsmith.data import qm9
from gapsmith.factory.pools import Draft, drafts

CHUNK: Final = 32  # molecules
HEAVY_ATOMS: Final = (5, 24)
ELEMENTS: Final = frozenset(("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br"))
MOSES: Final = "moses/dataset/data/train.csv.gz"


class Qm9Pool:
    """QM9's molecules at QM9's geometries, in random order."""

    novel = False

    @cached_property
    def _data(self) -> qm9.QM9:
        return qm9.load()

    def chunk(self, number: int, seed: int) -> Iterable[Draft] | None:
        """Molecules whose bonds can be told from the geometry."""
        rows = _rows(len(self._data), number, seed)
        return None if len(rows) == 0 else self._drafts(rows)

    def _drafts(self, rows: np.ndarray) -> Iterator[Draft]:
        for row in rows:
            atoms = self._data.atoms(int(row))
            try:
                yield Draft(perceive_bonds(self._data.numbers[atoms], self._data.coordinates[atoms]))
            except InvalidMolecule:
                continue

    def provenance(self) -> Mapping[str, str]:
        """Version of the package."""
        return {name: version(name) for name in ("gapsmith", "qm9pack", "rdkit")}


class TablePool:
    """A CSV file with a column of SMILES, compressed by gzip or not, in random order.

    Args:
        path: of the file; it is not copied, and only its name and hash go into the manifest.

    Raises:
        InputError: the file cannot be read or has no such column.
    """

    novel = True

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        if not path or not self.path.is_file():
            raise InputError(f"pool table: {path!r} is not a file; name one as table:FILE.csv or table:FILE.csv.gz")

    @cached_property
    def _smiles(self) -> Sequence[str]:
        content = self.path.read_bytes()
        text = (gzip.decompress(content) if self.path.suffix == ".gz" else content).decode()
        rows = csv.DictReader(text.splitlines())
        columns = rows.fieldnames or []
        column = next((name for name in columns if name.strip().lower().replace("_", "") in SMILES_NAMES), None)
        if column is None:
            raise InputError(f"{self.path} has no column of SMILES; its columns: {', '.join(columns) or 'none'}")
        return [row[column] for row in rows]

    def chunk(self, number: int, seed: int) -> Iterable[Draft] | None:
        """Molecules inside the wide domain: 5 to 24 heavy atoms of H B C N O F Si P S Cl Br, neutral, in one piece."""
        rows = _rows(len(self._smiles), number, seed)
        return None if len(rows) == 0 else self._drafts(rows)

    def _drafts(self, rows: np.ndarray) -> Iterator[Draft]:
        return drafts(self._molecule(int(row)) for row in rows)

    def _molecule(self, row: int) -> Chem.Mol | None:
        with BlockLogs():
            mol = Chem.MolFromSmiles(self._smiles[row] or "")
        return mol if mol is not None and inside_wide_domain(mol) else None

    def provenance(self) -> Mapping[str, str]:
        """Name and hash of the file."""
        with self.path.open("rb") as file:
            return {
                "file": self.path.name,
                "sha256": file_digest(file, "sha256").hexdigest(),
                "rdkit": version("rdkit"),
            }


class MosesPool(TablePool):
    """The training set of MOSES (Polykovskiy et al., Front. Pharmacol. 11, 565644 (2020); MIT), as its package has it."""

    def __init__(self) -> None:
        try:
            super().__init__(str(distribution("molsets").locate_file(MOSES)))
        except (PackageNotFoundError, InputError) as error:
            raise DataError("MOSES is missing; install its package: pip install --no-deps molsets==0.3.1") from error


def inside_wide_domain(mol: Chem.Mol) -> bool:
    """Whether a molecule is neutral, in one piece, and of the elements and sizes that are made here."""
    return (
        HEAVY_ATOMS[0] <= mol.GetNumHeavyAtoms() <= HEAVY_ATOMS[1]
        and all(atom.GetSymbol() in ELEMENTS and not atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
        and Chem.GetFormalCharge(mol) == 0
        and len(Chem.GetMolFrags(mol)) == 1
    )


def _rows(count: int, number: int, seed: int) -> np.ndarray:
    """Rows of a chunk in an order that the seed decides."""
    return np.random.default_rng(seed).permutation(count)[number * CHUNK : (number + 1) * CHUNK]

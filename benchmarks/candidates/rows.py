"""QM9's molecules as rows of ``molecules``, ``conformers`` and the tables of keys."""

from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors
from rdkit.rdBase import BlockLogs

from gapsmith.core.chemistry.sa_score import sa_score
from gapsmith.core.chemistry.substructure import molecule_keys
from gapsmith.core.codec import encode
from gapsmith.core.domain import Molecule
from gapsmith.data import qm9
from gapsmith.store.fingerprints import morgan_keys

_MORGAN = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)


class Row(NamedTuple):
    """A molecule of QM9."""

    number: int  # in QM9
    molecule: tuple[Any, ...]  # inchikey, smiles, formula, heavy_atoms, sa_score, in_qm9, fingerprint
    keys: tuple[str, str, list[int]]  # substructure keys; Morgan fingerprint and the places of its ones
    gap_ev: float
    homo_ev: float
    lumo_ev: float
    dipole_debye: float

    @property
    def result(self) -> dict[str, float]:
        """Its values, named as in a calculation's result."""
        return {name: getattr(self, name) for name in ("gap_ev", "homo_ev", "lumo_ev", "dipole_debye")}


def molecules(most: int, *, seed: int = 0) -> Iterator[Row]:
    """At most so many molecules by chance; those whose InChI RDKit does not read are left out."""
    data = qm9.load()
    lines = qm9.identifiers().read_text().splitlines()
    for number in np.random.default_rng(seed).permutation(len(data))[:most].tolist():
        with BlockLogs():
            mol = Chem.MolFromInchi(lines[number])  # type: ignore[no-untyped-call]  # RDKit has no type here
        if mol is None:
            continue
        Chem.RemoveStereochemistry(mol)
        fingerprint = np.packbits(_MORGAN.GetFingerprintAsNumPy(mol)).tobytes()
        columns = (
            f"QM9-{number}",  # a key for every row, stereoisomers included, saves computing a hundred thousand InChIKeys
            Chem.MolToSmiles(mol),
            rdMolDescriptors.CalcMolFormula(mol),
            mol.GetNumHeavyAtoms(),
            sa_score(mol),
            True,
            fingerprint,
        )
        values = (float(data.properties[name][number]) for name in ("gap_ev", "homo_ev", "lumo_ev", "dipole_debye"))
        yield Row(number, columns, (molecule_keys(mol), *morgan_keys(fingerprint)), *values)


def geometry(data: qm9.QM9, number: int) -> tuple[bytes, ...]:
    """Columns of ``conformers``; without bonds, which QM9 does not have."""
    atoms = data.atoms(number)
    numbers = data.numbers[atoms]
    nothing = np.zeros((0, 3), dtype=np.int16)
    return tuple(encode(Molecule(numbers, data.coordinates[atoms], np.zeros(len(numbers), np.int8), nothing)))


def identifier(kind: int, number: int) -> UUID:
    """An id that looks like chance, as ids of services do."""
    return UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835 + kind * 0x100000001B3) % (1 << 128))

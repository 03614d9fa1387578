"""Which molecule it is, and how alike two molecules are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator, rdinchi, rdMolDescriptors
from rdkit.rdBase import BlockLogs

from gapsmith.core import children
from gapsmith.core.chemistry.sa_score import sa_score
from gapsmith.core.errors import InputError, InvalidMolecule

FINGERPRINT_BITS: Final = 2048
READ_S: Final = 5.0  # for a SMILES that a person wrote
_MORGAN = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=FINGERPRINT_BITS)


@dataclass(frozen=True)
class Identity:
    """Which molecule it is. Stereoisomers are one molecule, and so are tautomers that standard InChI sees as one."""

    inchikey: str  # standard, no stereochemistry
    smiles: str  # canonical, no stereochemistry
    formula: str  # Hill order
    heavy_atoms: int
    sa_score: float  # 1 easy to 10 hard
    fingerprint: bytes  # Morgan, radius 2, 2048 bits


def identify(mol: Chem.Mol) -> Identity:
    """Which molecule a sanitised RDKit molecule is, with explicit hydrogens or without.

    Raises:
        InvalidMolecule: InChI has no identifier for it.
    """
    with BlockLogs():
        flat = _flat(mol)
        inchikey = rdinchi.MolToInchiKey(flat)
    if not inchikey:
        raise InvalidMolecule("sanitisation", "InChI has no identifier for it")
    return Identity(
        inchikey=inchikey,
        smiles=Chem.MolToSmiles(flat),
        formula=rdMolDescriptors.CalcMolFormula(flat),
        heavy_atoms=flat.GetNumHeavyAtoms(),
        sa_score=sa_score(flat),
        fingerprint=_morgan(flat),
    )


def _flat(mol: Chem.Mol) -> Chem.Mol:
    flat = Chem.RemoveHs(mol)
    Chem.RemoveStereochemistry(flat)
    flat.RemoveAllConformers()  # InChI would read the stereochemistry out of the positions again
    return flat


def _morgan(flat: Chem.Mol) -> bytes:
    return np.packbits(_MORGAN.GetFingerprintAsNumPy(flat)).tobytes()


def fingerprint_of(smiles: str, field: str) -> bytes:
    """Fingerprint of a molecule that a person wrote, computed in a child process; raises InputError naming the field."""
    try:
        return bytes.fromhex(children.call(child_fingerprint, smiles, field, seconds=READ_S))
    except children.Overrun as error:
        raise InputError(f"{field}: {smiles!r} cannot be read: {error}") from error


def child_fingerprint(smiles: str, field: str) -> str:
    """The same as hexadecimal digits."""
    with BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    if mol is None or mol.GetNumAtoms() == 0:
        raise InputError(f"{field}: {smiles!r} is not a SMILES of a molecule; for example 'c1ccncc1' is pyridine")
    return _morgan(_flat(mol)).hex()


def unpack_fingerprints(fingerprints: Sequence[bytes]) -> np.ndarray:
    """Fingerprints as an array for ``tanimoto``, (fingerprints, 256) uint8."""
    return np.frombuffer(b"".join(fingerprints), dtype=np.uint8).reshape(-1, FINGERPRINT_BITS // 8)


def tanimoto(one: bytes, many: np.ndarray) -> np.ndarray:
    """Tanimoto similarity of one fingerprint to each of many; of two empty ones it is 1.

    Args:
        one: 256 bytes.
        many: (fingerprints, 256) uint8, of ``unpack_fingerprints``.

    Returns:
        (fingerprints,) float64 within 0 to 1.
    """
    single = np.frombuffer(one, dtype=np.uint8)
    common = np.bitwise_count(many & single).sum(axis=-1, dtype=np.int64)
    union = np.bitwise_count(many | single).sum(axis=-1, dtype=np.int64)
    return np.where(union > 0, common / np.maximum(union, 1), 1.0)

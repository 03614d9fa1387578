"""Which molecule it is, and how alike two molecules are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator, rdinchi, rdMolDescriptors
from rdkit.rdBase import BlockLogs

from gapsmith.core.chemistry.sa_score import sa_score
from gapsmith.core.errors import InvalidMolecule

FINGERPRINT_BITS: Final = 2048
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
        flat = Chem.RemoveHs(mol)
        Chem.RemoveStereochemistry(flat)
        flat.RemoveAllConformers()  # InChI would read the stereochemistry out of the positions again
        inchikey = rdinchi.MolToInchiKey(flat)
    if not inchikey:
        raise InvalidMolecule("sanitisation", "InChI has no identifier for it")
    return Identity(
        inchikey=inchikey,
        smiles=Chem.MolToSmiles(flat),
        formula=rdMolDescriptors.CalcMolFormula(flat),
        heavy_atoms=flat.GetNumHeavyAtoms(),
        sa_score=sa_score(flat),
        fingerprint=np.packbits(_MORGAN.GetFingerprintAsNumPy(flat)).tobytes(),
    )


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

"""Synthetic accessibility score: Ertl & Schuffenhauer, J. Cheminform. 1, 8 (2009), as RDKit computes it.

1 is easy, 10 is hard: how common a molecule's circular fragments are among known compounds, less penalties for size,
stereocentres, spiro and bridgehead atoms and large rings, plus RDKit's correction for symmetric molecules.
The fragments' contributions are the table that RDKit ships.
"""

import gzip
import math
import pickle
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from rdkit import Chem, RDConfig
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors

from gapsmith.core.errors import DataError

UNKNOWN_FRAGMENT: Final = -4.0
RAW_WORST, RAW_BEST = -4.0, 2.5  # ends of the raw scale, which becomes 10 to 1
LARGE_RING: Final = 8
_GENERATOR = rdFingerprintGenerator.GetMorganGenerator(radius=2)


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists and numbers; refuses whatever could run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a table of numbers")


@lru_cache(maxsize=1)
def _fragments() -> tuple[np.ndarray, np.ndarray]:
    """Fragment ids, sorted (fragments,) uint64, and their contributions (fragments,) float64."""
    path = Path(RDConfig.RDContribDir) / "SA_Score" / "fpscores.pkl.gz"
    try:
        with gzip.open(path) as stream:
            rows = _PlainUnpickler(stream).load()
    except (OSError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(
            f"{path}: RDKit's table for the SA score cannot be read ({error}); reinstall: pip install rdkit"
        ) from error
    ids = np.concatenate([np.array(row[1:], dtype=np.uint64) for row in rows])
    scores = np.repeat([float(row[0]) for row in rows], [len(row) - 1 for row in rows])
    order = np.argsort(ids, kind="stable")
    return ids[order], scores[order]


def sa_score(mol: Chem.Mol) -> float:
    """Synthetic accessibility from 1 (easy) to 10 (hard).

    Args:
        mol: sanitised, without explicit hydrogens.
    """
    atoms = mol.GetNumAtoms()
    counts = _GENERATOR.GetSparseCountFingerprint(mol).GetNonzeroElements()
    found = np.fromiter(counts.keys(), dtype=np.uint64, count=len(counts))
    times = np.fromiter(counts.values(), dtype=np.float64, count=len(counts))
    ids, scores = _fragments()
    place = np.minimum(np.searchsorted(ids, found, side="right"), len(ids)) - 1
    contributions = np.where(ids[place] == found, scores[place], UNKNOWN_FRAGMENT)
    raw = float((contributions * times).sum() / times.sum()) - _complexity(mol)
    if atoms > len(counts):
        raw += 0.5 * math.log(atoms / len(counts))
    score = 11.0 - 9.0 * (raw - RAW_WORST + 1.0) / (RAW_BEST - RAW_WORST)
    if score > 8.0:  # the hard end is drawn together; RDKit's own formula falls below 8 again between 8 and 9
        score = max(8.0, 8.0 + math.log(score - 8.0))
    return min(max(score, 1.0), 10.0)


def _complexity(mol: Chem.Mol) -> float:
    """Sum of the penalties."""
    atoms = mol.GetNumAtoms()
    stereocentres = len(Chem.FindMolChiralCenters(mol, includeUnassigned=True))  # type: ignore[no-untyped-call]  # RDKit has none
    large_ring = any(len(ring) > LARGE_RING for ring in mol.GetRingInfo().AtomRings())
    return float(
        (atoms**1.005 - atoms)
        + math.log10(stereocentres + 1)
        + math.log10(rdMolDescriptors.CalcNumSpiroAtoms(mol) + 1)
        + math.log10(rdMolDescriptors.CalcNumBridgeheadAtoms(mol) + 1)
        + (math.log10(2) if large_ring else 0.0)
    )

"""Molecules as sparse count vectors.

A substructure that occurs three times sets the features "at least once", "at least twice" and "at least three times", so
that common features of two molecules count the smaller of their counts, and their Tanimoto similarity is that of counts.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from scipy.sparse import csr_matrix

FEATURES: Final = 1 << 13
MOST_COUNTED: Final = 9  # of one substructure
_MORGAN: Final = rdFingerprintGenerator.GetMorganGenerator(radius=2)


def features(mol: Chem.Mol) -> np.ndarray:
    """Features of a molecule, (features,) int32, sorted: its circular environments up to radius 2, counted and hashed."""
    counts = _MORGAN.GetSparseCountFingerprint(mol).GetNonzeroElements()
    found = {
        hash((substructure, times)) % FEATURES
        for substructure, count in counts.items()
        for times in range(min(count, MOST_COUNTED))
    }
    return np.array(sorted(found), dtype=np.int32)


def matrix(rows: Iterable[np.ndarray]) -> csr_matrix:
    """Molecules by features, (molecules, FEATURES) float32 of ones and zeros; about 0.2 kB a small molecule."""
    held = list(rows)
    ends = np.cumsum([0, *(len(row) for row in held)])
    columns = np.concatenate([np.zeros(0, dtype=np.int32), *held])
    return csr_matrix((np.ones(len(columns), dtype=np.float32), columns, ends), shape=(len(held), FEATURES))


def tanimoto(one: csr_matrix, other: csr_matrix) -> np.ndarray:
    """Similarities of all pairs, (rows of one, rows of other) float32; of two without features it is 0."""
    common = (one @ other.T).toarray()
    union = one.getnnz(axis=1)[:, None] + other.getnnz(axis=1)[None, :] - common
    return np.asarray(common / np.maximum(union, 1), dtype=np.float32)

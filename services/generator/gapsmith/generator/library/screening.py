"""Successive refinement of a library: the next to be scored are those that look best by what was scored before.

As in MolPAL (Graff et al., Chem. Sci. 12, 7866 (2021)), greedily; the model is the mean of a Gaussian process on Tanimoto
similarity (Ralaivola et al., Neural Networks 18, 1093 (2005)), which has no length to fit.
"""

from typing import Final

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_matrix

from gapsmith.generator.library.fingerprints import tanimoto

NOISE: Final = 0.02  # what the graph does not explain, in units of the scores' variance
MOST_KNOWN: Final = 2500  # scores that count, the newest ones: the time grows with their cube
CHUNK: Final = 5000  # molecules that are compared with them at once, which bounds the memory


def expected(known: csr_matrix, scores: np.ndarray, library: csr_matrix) -> np.ndarray:
    """Learn from the molecules that were scored, and expect scores of others.

    Args:
        known: (scored, FEATURES), of ``fingerprints.matrix``, the oldest first.
        scores: (scored,), in any unit.
        library: (molecules, FEATURES).

    Returns:
        (molecules,) in the unit of the scores.
    """
    known, scores = known[-MOST_KNOWN:], np.asarray(scores, dtype=np.float64)[-MOST_KNOWN:]
    mean, scale = float(scores.mean()), float(scores.std()) or 1.0
    covariance = tanimoto(known, known) + NOISE * np.eye(len(scores))
    weights = cho_solve(cho_factor(covariance), (scores - mean) / scale)
    parts = [tanimoto(library[first : first + CHUNK], known) @ weights for first in range(0, library.shape[0], CHUNK)]
    return np.asarray(mean + scale * np.concatenate([np.zeros(0), *parts]))


def choose(library: csr_matrix, scored: np.ndarray, scores: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Choose which molecules of a library are scored next, the best first.

    Args:
        library: (molecules, FEATURES).
        scored: (scored,) numbers of the molecules that were scored, the oldest first; none: the choice is random.
        scores: (scored,) the higher the better.
        count: how many to choose, as far as there are.
        seed: of the random choice.

    Returns:
        (at most count,) numbers of molecules that were not scored.
    """
    left = np.setdiff1d(np.arange(library.shape[0]), scored)
    if not len(scored):
        return np.random.default_rng(seed).permutation(left)[:count]
    guesses = expected(library[scored], scores, library)[left]
    return left[np.argsort(-guesses, kind="stable")[:count]]

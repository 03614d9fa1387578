"""How many of a library's best molecules are found when only a twentieth of it is scored.

The library is 50,000 molecules of QM9, and their GFN2-xTB gaps are the truth; what of it is not cached is computed first,
which takes ten minutes.
"""

import resource
import time
from typing import Any

import numpy as np

MOLECULES, BEST, SHARE, ROUNDS = 50_000, 100, 0.05, 10


def measure() -> dict[str, Any]:
    """Screen for the smallest and for the largest gaps."""
    from rdkit import Chem
    from rdkit.rdBase import BlockLogs

    from gapsmith.core.electronic import NEIGHBOURS
    from gapsmith.data import qm9
    from gapsmith.generator.library import fingerprints
    from gapsmith.surrogate import electronic

    electronic.prepare("qm9", "train", MOLECULES)
    seen = electronic.load("qm9", "train")
    assert seen is not None  # it was prepared
    assert seen.electronic is not None
    levels = seen.electronic.orbital_energies_ev[:MOLECULES]
    gaps = levels[:, NEIGHBOURS] - levels[:, NEIGHBOURS - 1]
    del seen
    inchis = qm9.identifiers().read_text().splitlines()
    numbers = qm9.split(len(inchis))["train"][:MOLECULES]
    started, rows, kept = time.process_time(), [], []
    with BlockLogs():
        for number, gap in zip(numbers, gaps, strict=True):
            mol = Chem.MolFromInchi(inchis[number])  # type: ignore[no-untyped-call]  # RDKit has no type here
            if mol is not None and np.isfinite(gap):
                rows.append(fingerprints.features(mol))
                kept.append(gap)
    library, truth = fingerprints.matrix(rows), np.array(kept, dtype=np.float64)
    read_s = time.process_time() - started
    held = library.data.nbytes + library.indices.nbytes + library.indptr.nbytes
    return {
        "molecules": len(truth),
        "scored": round(SHARE * len(truth)),
        "best": BEST,
        "found_by_chance": BEST * SHARE,
        "smallest_gaps": _screen(library, -truth),
        "largest_gaps": _screen(library, truth),
        "fingerprints_cpu_s": round(read_s, 1),
        "features_of_a_million_mb": round(held / len(truth)),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


def _screen(library: Any, scores: np.ndarray) -> dict[str, float]:
    """Found among the best, by the model and at random."""
    from gapsmith.generator.library.screening import choose

    best = np.argsort(-scores)[:BEST]
    batch = round(SHARE * len(scores)) // ROUNDS
    scored, started = np.zeros(0, dtype=np.int64), time.process_time()
    for _ in range(ROUNDS):
        scored = np.concatenate([scored, choose(library, scored, scores[scored], batch, seed=0)])
    chance = np.random.default_rng(1).permutation(len(scores))[: len(scored)]
    return {
        "found": int(np.isin(best, scored).sum()),
        "found_at_random": int(np.isin(best, chance).sum()),
        "cpu_s": round(time.process_time() - started, 1),
    }

"""What the choices in the level ``single-point`` pay: each undone or replaced alone, in CPU-seconds and in gaps.

Gaps are compared with those of direct SCF on grid 3 (``benchmarks/reference/``, see ``benchmarks.triage``).
"""

import os
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.triage import chosen, reference
from gapsmith.core.levels import LevelOfTheory, shipped
from gapsmith.core.units import HARTREE_TO_EV
from gapsmith.dft_queue.jobs import CalculationInput
from gapsmith.dft_queue.runner import blas_environment

MOLECULES = 4
MEMORY_MB = 4000
LEVELS: dict[str, dict[str, Any]] = {
    "shipped": {},
    "grid 0": {"grid": 0},
    "grid 2": {"grid": 2},
    "grid 3": {"grid": 3},
    "auxiliary basis weigend": {"density_fitting": "weigend"},
    "auxiliary basis cc-pvdz-jkfit": {"density_fitting": "cc-pvdz-jkfit"},
    "auxiliary basis cc-pvtz-jkfit": {"density_fitting": "cc-pvtz-jkfit"},
    "thresholds 1e-5 hartree, 3e-3": {"convergence_hartree": 1e-5, "gradient_convergence": 3e-3},
    "thresholds 1e-9 hartree, 3e-5": {"convergence_hartree": 1e-9, "gradient_convergence": 3e-5},
}
GUESSES = ("atom", "huckel", "sap")  # PySCF's names; shipped is minao
CHEAPER = ("sto-3g", "6-31g")  # bases of a first SCF whose density is projected


def measure() -> dict[str, Any]:
    """Run every variant on the first molecules of the reference."""
    os.environ.update(blas_environment())  # as the workers' children have it; PySCF reads it on import
    from pyscf.dft.numint import NumInt

    from gapsmith.dft_queue import scf

    single_point = shipped()["single-point"]
    variants: dict[str, Callable[[CalculationInput], Any]] = {
        name: partial(_converge, level=single_point.model_copy(update=change)) for name, change in LEVELS.items()
    }
    variants |= {f"first guess {name}": partial(_converge, level=single_point, guess=name) for name in GUESSES}
    variants |= {f"first guess from {name}": partial(_converge, level=single_point, basis=name) for name in CHEAPER}

    def without_kept_values(job: CalculationInput) -> Any:
        with patch.object(scf, "CachedNumInt", NumInt):
            return _converge(job, single_point)

    variants["values on the grid computed anew in every cycle"] = without_kept_values
    known = reference()
    cpu_s = dict.fromkeys(variants, 0.0)
    off_mev: dict[str, float] = dict.fromkeys(variants, 0.0)
    compared = [molecule for molecule in chosen() if (molecule[0], False) in known][:MOLECULES]
    for place, (index, numbers, coordinates, _) in enumerate(compared):
        job = CalculationInput.of(numbers, coordinates, single_point)
        if place == 0:
            variants["shipped"](job)  # what is imported and looked up on first use
        for name, variant in variants.items():
            started = time.process_time()
            with redirect_stdout(StringIO()):  # rungs of the SCF ladder
                field = variant(job)
            cpu_s[name] += time.process_time() - started
            highest, lowest = scf.frontier_ev(field, HARTREE_TO_EV)
            off_mev[name] = max(off_mev[name], 1000 * abs(lowest - highest - known[index, False]["gap_ev"]))
    return {
        "atoms": [len(numbers) for _, numbers, _, _ in compared],
        "shipped_cpu_s": round(cpu_s["shipped"], 1),
        "times_the_shipped_cpu_s": {name: round(total / cpu_s["shipped"], 2) for name, total in cpu_s.items()},
        "largest_gap_difference_to_direct_scf_mev": {name: round(most, 2) for name, most in off_mev.items()},
    }


def _converge(job: CalculationInput, level: LevelOfTheory, guess: str | None = None, basis: str | None = None) -> Any:
    from pyscf.scf.addons import project_dm_nr2nr

    from gapsmith.dft_queue.scf import LADDER, Rung, converge, molecule

    mol = molecule(job, np.asarray(job.positions), memory_mb=level.memory_mb or MEMORY_MB)
    ladder = LADDER if guess is None else (Rung("diis", cycles=40, guess=guess), *LADDER[1:])
    start = None
    if basis is not None:
        small = mol.copy()
        small.build(basis=basis)
        start = project_dm_nr2nr(small, converge(small, level).mean_field.make_rdm1(), mol)
    return converge(mol, level, start=start, ladder=ladder).mean_field

"""CPU-seconds of a triage calculation by size, against the plain PySCF call, and the difference of their gaps."""

import statistics
import time
from typing import Any

import numpy as np
from pyscf import dft, gto

from gapsmith.core.domain import Level
from gapsmith.core.units import HARTREE_TO_EV
from gapsmith.data import qm9
from gapsmith.dft_queue.engine import Limits, run_in_child
from gapsmith.dft_queue.jobs import CalculationInput

SIZES = (3, 5, 7, 9)  # heavy atoms
PER_SIZE = 2
PLAIN_UP_TO = 7  # heavy atoms; larger ones take minutes each


def measure() -> dict[str, Any]:
    """Molecules of QM9's test split at QM9's geometries, whose gaps are known too."""
    data = qm9.load()
    heavy = np.add.reduceat(data.numbers > 1, data.offsets[:-1])
    test = qm9.split(len(data))["test"]
    rows: dict[str, Any] = {}
    for size in SIZES:
        cpu, ratio, against_plain, against_qm9 = [], [], [], []
        for index in test[heavy[test] == size][:PER_SIZE]:
            atoms = data.atoms(int(index))
            numbers, coordinates = data.numbers[atoms], data.coordinates[atoms]
            out = run_in_child(CalculationInput.of(numbers, coordinates, Level.TRIAGE), Limits())
            cpu.append(out.cpu_s)
            against_qm9.append(1000 * abs(out.gap_ev - float(data.properties["gap_ev"][index])))
            if size <= PLAIN_UP_TO:
                gap_ev, seconds = _plain(numbers, coordinates)
                ratio.append(seconds / out.cpu_s)
                against_plain.append(1000 * abs(out.gap_ev - gap_ev))
        rows[f"{size} heavy atoms"] = {
            "cpu_s": round(statistics.mean(cpu), 2),
            "difference_to_qm9_mev": round(max(against_qm9), 2),
        }
        if ratio:
            rows[f"{size} heavy atoms"] |= {
                "times_faster_than_plain": round(statistics.mean(ratio), 1),
                "difference_to_plain_mev": round(max(against_plain), 2),
            }
    return rows


def _plain(numbers: np.ndarray, coordinates: np.ndarray) -> tuple[float, float]:
    """Gap in eV and CPU-seconds of direct SCF on grid 3."""
    started = time.process_time()
    atoms = [(int(number), position) for number, position in zip(numbers, coordinates, strict=True)]
    field = dft.RKS(gto.M(atom=atoms, basis="6-31g(2df,p)", verbose=0))
    field.xc = "b3lypg"
    field.kernel()
    occupied = int(numbers.sum()) // 2
    gap_ev = float(field.mo_energy[occupied] - field.mo_energy[occupied - 1]) * HARTREE_TO_EV
    return gap_ev, time.process_time() - started
